import type { Readable } from 'node:stream';
import { textStream } from './text-stream.ts';

/** The body of a response: one of `body`, `json`, `content` and `stream`, or none. */
export interface ReplyParts {
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** A value, to be written as JSON. */
  readonly body?: unknown;
  /** JSON text. It is sent as it stands: sync bodies are concatenations and are never parsed again. A long one may come in pieces. */
  readonly json?: string | Buffer | readonly string[];
  /** Text or bytes of another type. */
  readonly content?: string | Buffer;
  /** Bytes that are read as the client takes them. Destroyed when the client goes away. */
  readonly stream?: Readable;
  /** Length of `stream`, where it is known; without one, of the body that a HEAD asks about. */
  readonly length?: number;
  /** The Content-Type; JSON when left out. */
  readonly contentType?: string;
}

/** A response other than a JSON value with status 200: another status (UIA's 401), headers, JSON text, other content, or a stream. */
export class Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly content: string | Buffer | undefined;
  readonly stream: Readable | undefined;
  readonly length: number | undefined;
  /** Bytes that are in memory until the stream has been read, roughly. */
  readonly streamMemory: number;
  readonly contentType: string;

  constructor(parts: ReplyParts) {
    this.status = parts.status ?? 200;
    this.headers = parts.headers ?? {};
    this.body = parts.body;
    const pieces = isInPieces(parts.json) ? parts.json : undefined;
    this.content = isInPieces(parts.json) ? undefined : (parts.json ?? parts.content);
    this.stream = pieces === undefined ? parts.stream : textStream(pieces);
    this.streamMemory = pieces?.reduce((sum, { length }) => sum + length, 0) ?? 0;
    this.length = parts.length;
    this.contentType = parts.contentType ?? 'application/json';
  }
}

const isInPieces = (json: ReplyParts['json']): json is readonly string[] => Array.isArray(json);
