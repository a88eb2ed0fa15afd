import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { OutboundAnswer, OutboundFailure } from './outbound-result.ts';
import type { OutboundHttp, OutboundTimeouts } from './outbound-http.ts';

/** What requests need to know of an application service. */
export interface AskedAppservice {
  readonly id: string;
  /** Without a slash at the end. */
  readonly url: string;
  /** The token that authenticates this server: `hs_token`. */
  readonly hsToken: string;
}

export interface AppserviceRequest {
  readonly method: 'GET' | 'PUT' | 'POST';
  /** Under `/_matrix/app/v1`, begins with a slash, encoded. */
  readonly path: string;
  /** The whole legacy path, for services that do not know the other one; undefined when there is none. "Legacy routes". */
  readonly legacyPath?: string | undefined;
  readonly query?: URLSearchParams | undefined;
  /** JSON text. */
  readonly body?: string | undefined;
  /** Bytes of the response at most. */
  readonly maxBodyBytes?: number | undefined;
  /** What to do with a longer body: take its first bytes, or fail. */
  readonly overlong?: 'refuse' | 'cut' | undefined;
  readonly timeouts?: Partial<OutboundTimeouts> | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The way in which a service accepts requests. */
interface RequestStyle {
  readonly isLegacyPath: boolean;
  /** It reads the token from the query, as before version 1.4. */
  readonly hasTokenInQuery: boolean;
}

const USUAL: RequestStyle = { isLegacyPath: false, hasTokenInQuery: false };
/** "Homeservers should periodically try again for the newer endpoints because the application service may have been updated." */
const REMEMBERED_MS = 3_600_000;
/** Statuses with which a service answers an endpoint that it does not know. */
const UNKNOWN_ROUTE: ReadonlySet<number> = new Set([404, 405, 501]);
/** Statuses with which a service answers when it found no token. */
const NOT_AUTHORISED: ReadonlySet<number> = new Set([401, 403]);
export const MAX_BODY_BYTES = 65_536;

/**
 * Sends requests to application services. Their URLs are the operator's and may be on this machine or in its network; redirects are not
 * followed. Application Service API, "Homeserver -> Application Service API".
 */
export class ApplicationServicesApi {
  readonly #http: Pick<OutboundHttp, 'request'>;
  /** Services that only accept requests of earlier versions, by id and kind of endpoint. */
  readonly #styles = new LRUCache<string, RequestStyle>({ ...atMost(10_000), ttl: REMEMBERED_MS });

  /** @param http with a guard that allows all addresses the operator configured */
  constructor(http: Pick<OutboundHttp, 'request'>) {
    this.#http = http;
  }

  /** Repeats the request as in earlier versions, when the response suggests that the service knows no others. */
  async request(service: AskedAppservice, request: AppserviceRequest): Promise<OutboundAnswer | OutboundFailure> {
    const key = `${service.id} ${service.url} ${request.path.split('/')[1]}`;
    let style = this.#styles.get(key) ?? USUAL;
    let response = await this.#ask(service, request, style);
    for (;;) {
      const other = otherStyle(response, request, style);
      if (other === undefined) return response;
      const retried = await this.#ask(service, request, other);
      // It is no better: the response to the specification's request is more useful.
      if (!retried.ok || retried.status === (response.ok ? response.status : 0)) return response;
      [response, style] = [retried, other];
      if (response.status >= 200 && response.status < 300) this.#styles.set(key, style);
    }
  }

  #ask(
    { hsToken, url }: AskedAppservice,
    request: AppserviceRequest,
    { hasTokenInQuery, isLegacyPath }: RequestStyle,
  ): Promise<OutboundAnswer | OutboundFailure> {
    const { body, maxBodyBytes = MAX_BODY_BYTES, method, overlong, path, signal, timeouts } = request;
    const query = new URLSearchParams(request.query);
    if (hasTokenInQuery) query.set('access_token', hsToken);
    const target = isLegacyPath && request.legacyPath !== undefined ? request.legacyPath : `/_matrix/app/v1${path}`;
    return this.#http.request({
      method,
      url: `${url}${target}${query.size === 0 ? '' : `?${query}`}`,
      headers: {
        accept: 'application/json',
        authorization: `Bearer ${hsToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      body,
      maxBodyBytes,
      overlong,
      timeouts,
      signal,
      allowHttp: true,
    });
  }
}

/** How to ask again after a response; undefined when this one is final. */
const otherStyle = (
  response: OutboundAnswer | OutboundFailure,
  { legacyPath }: AppserviceRequest,
  style: RequestStyle,
): RequestStyle | undefined => {
  if (!response.ok) return undefined;
  if (NOT_AUTHORISED.has(response.status) && !style.hasTokenInQuery) return { ...style, hasTokenInQuery: true };
  if (UNKNOWN_ROUTE.has(response.status) && legacyPath !== undefined && !style.isLegacyPath)
    return { ...style, isLegacyPath: true };
  return undefined;
};
