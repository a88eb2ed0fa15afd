export interface OutboundAnswer {
  readonly ok: true;
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** As it came: what is compressed stays so. Nothing is asked to be. */
  readonly body: Buffer;
  /** The body is longer than was wanted of it. */
  readonly isCut: boolean;
  /** Where the answer came from, after redirects. */
  readonly url: string;
}

/** Why there is no answer. */
export type OutboundFailureKind =
  /** The URL or a header cannot be used: malformed, another scheme, with credentials in it. */
  | 'refused_url'
  /** A redirect leads to where the caller does not want to go. */
  | 'refused_redirect'
  /** The host is at an address to which this server must not talk. */
  | 'refused_address'
  | 'unresolved'
  /** Nobody answers there, or not with a certificate that is believed. */
  | 'unreachable'
  | 'timeout'
  | 'too_large'
  | 'too_many_redirects'
  /** The answer ended early, or is no HTTP. */
  | 'broken'
  /** Too many requests of ours wait already. */
  | 'busy'
  | 'aborted';

export interface OutboundFailure {
  readonly ok: false;
  readonly kind: OutboundFailureKind;
  /** For people. Names hosts, never paths, headers or bodies. */
  readonly reason: string;
}

/** An answer whose body is read bit by bit. */
export interface OutboundStream extends Pick<OutboundAnswer, 'ok' | 'status' | 'headers'> {
  /** Throws when the body is longer than was wanted, takes too long or breaks off. What is not read has to be given back: `return()`. */
  readonly body: AsyncIterableIterator<Buffer>;
}

export type OutboundResult = OutboundAnswer | OutboundFailure;

export const failure = (kind: OutboundFailureKind, reason: string): OutboundFailure => ({ ok: false, kind, reason });
