import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';

export type RequestId = string | number;

/** A request of a client, taken apart but not judged yet. */
export interface RequestFrame {
  /** Absent only in `auth`, which need not be answered. */
  readonly id: RequestId | undefined;
  readonly method: unknown;
  readonly params: unknown;
  readonly text: string;
}

const MAX_ID_LENGTH = 255;
/** Deeper nesting than this serves nobody, and would exhaust the stack of whatever walks the value later. */
export const MAX_DEPTH = 256;

const isRequestId = (id: unknown): id is RequestId =>
  (typeof id === 'string' && id.length <= MAX_ID_LENGTH && id.isWellFormed()) ||
  (typeof id === 'number' && Number.isSafeInteger(id));

const isDeeper = (value: unknown, depth: number): boolean => {
  if (typeof value !== 'object' || value === null) return false;
  if (depth === 0) return true;
  for (const name in value) if (isDeeper((value as Record<string, unknown>)[name], depth - 1)) return true;
  return false;
};

/** Parses a frame; undefined when it is no request: then there is no id that an error could be sent to. */
export const parseFrame = (text: string): RequestFrame | undefined => {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isJsonObject(value)) return undefined;
  const { id, method, params } = value;
  if (text.length > MAX_DEPTH && isDeeper(params, MAX_DEPTH)) return undefined;
  if (!(id === undefined ? method === 'auth' : isRequestId(id))) return undefined;
  return { id: id as RequestId | undefined, method, params: params ?? {}, text };
};

/** A result that is JSON text already: pages of events are concatenations and are never parsed again. */
export class RawResult {
  readonly json: string;
  constructor(json: string) {
    this.json = json;
  }
}

export const resultFrame = (id: RequestId, result: JsonObject | RawResult): string =>
  `{"id":${JSON.stringify(id)},"result":${result instanceof RawResult ? result.json : JSON.stringify(result)}}`;

export const errorFrame = (id: RequestId | undefined, error: MatrixError): string =>
  JSON.stringify({ ...(id === undefined ? {} : { id }), error: error.toBody() });
