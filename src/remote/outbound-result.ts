export interface OutboundAnswer {
  readonly ok: true;
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** As received: not decompressed. No compression is requested. */
  readonly body: Buffer;
  /** The body is longer than the limit. */
  readonly isCut: boolean;
  /** Where the response came from, after redirects. */
  readonly url: string;
}

/** Why there is no response. */
export type OutboundFailureKind =
  /** The URL or a header cannot be used: malformed, another scheme, with credentials in it. */
  | 'refused_url'
  /** The caller does not accept the target of a redirect. */
  | 'refused_redirect'
  /** The guard denies the address of the host. */
  | 'refused_address'
  | 'unresolved'
  /** No connection could be made, or the certificate is not trusted. */
  | 'unreachable'
  | 'timeout'
  | 'too_large'
  | 'too_many_redirects'
  /** The response ended early, or is no HTTP. */
  | 'broken'
  /** Too many requests of ours wait already. */
  | 'busy'
  | 'aborted';

export interface OutboundFailure {
  readonly ok: false;
  readonly kind: OutboundFailureKind;
  /** A sentence for people. It names hosts, never paths, headers or bodies. */
  readonly reason: string;
}

/** A response whose body is streamed. */
export interface OutboundStream extends Pick<OutboundAnswer, 'ok' | 'status' | 'headers'> {
  /** Throws when the body is too long, takes too long or is incomplete. If it is not read to its end, `return()` must be called. */
  readonly body: AsyncIterableIterator<Buffer>;
}

export type OutboundResult = OutboundAnswer | OutboundFailure;

export const failure = (kind: OutboundFailureKind, reason: string): OutboundFailure => ({ ok: false, kind, reason });
