import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { OutboundTimeouts } from '../outbound-http.ts';
import type { HeldAnswers } from './answer-bytes.ts';

/** Where a request goes, and how long it is waited for. */
export interface FederationRequestOptions {
  /** Its server name. */
  readonly destination: string;
  readonly method: 'GET' | 'POST' | 'PUT';
  /** Of the response; 1 MiB by default. */
  readonly maxBodyBytes?: number | undefined;
  readonly timeouts?: Partial<FederationTimeouts> | undefined;
  readonly signal?: AbortSignal | undefined;
  /** A client waits for the response: a server that could not be reached is tried again sooner. */
  readonly isUrgent?: boolean | undefined;
  /** What counts the bytes of the response for as long as its owner holds them; when left out, they are counted until the response is parsed. */
  readonly held?: HeldAnswers | undefined;
  /** False where few such answers are asked for at once, which may be larger than what may be counted. */
  readonly isCounted?: false | undefined;
  /** Whether the request is signed. It is unless said otherwise. */
  readonly isSigned?: boolean | undefined;
}

/** The path, query and content of a request. */
export interface FederationRequestContent {
  /** Percent-encoded: `/_matrix/federation/v1/...`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | readonly string[] | undefined>> | undefined;
  readonly content?: JsonObject | undefined;
  /** The content in Canonical JSON, for those who have it as text. */
  readonly body?: string | undefined;
}

export interface FederationRequest extends FederationRequestOptions, FederationRequestContent {}

/** A request that is put together when there is a connection to make it over: one that cannot be made costs nothing of it. */
export interface ComposedRequest extends FederationRequestOptions {
  /**
   * Called once at most. Undefined: there is nothing to ask, and no request is made; the response is `{}` then.
   *
   * @param signal aborted when the request is given up, which does not wait for what is still put together
   */
  readonly compose: (signal: AbortSignal) => Promise<FederationRequestContent | undefined>;
}

export interface FederationTimeouts extends OutboundTimeouts {
  /** Until the connection is accepted, at each place; TLS has its own. */
  readonly acceptMs: number;
}

/** A response whose body is read bit by bit. */
export interface FederationStream {
  readonly ok: true;
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Ends with an error when the body is longer than `maxBodyBytes`, or breaks off. What is not read has to be given back: `return()`. */
  readonly body: AsyncIterableIterator<Buffer>;
}

/** The query as it is signed and sent; lists as the same name several times. */
export const queryOf = (query: FederationRequestContent['query']): string => {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (typeof value === 'string') parameters.append(name, value);
    else for (const one of value ?? []) parameters.append(name, one);
  }
  const text = parameters.toString();
  return text === '' ? '' : `?${text}`;
};
