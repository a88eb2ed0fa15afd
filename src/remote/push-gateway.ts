import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import { isLoopback } from '#src/kernel/network.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import type { OutboundHttp, OutboundTimeouts } from './outbound-http.ts';

/** The outcome of a notification at a push gateway. */
export type GatewayAnswer =
  /** It accepted the notification; these pushkeys were rejected. */
  | { readonly kind: 'taken'; readonly rejected: readonly string[] }
  /** It answers, but refuses this notification. */
  | { readonly kind: 'refused'; readonly reason: string }
  /** It cannot accept it now; try again after so many milliseconds, where it said so. */
  | { readonly kind: 'later'; readonly reason: string; readonly afterMs?: number }
  /** It cannot be reached, or does not answer. */
  | { readonly kind: 'unreachable'; readonly reason: string };

/** Statuses that concern this notification only: the next one may be accepted. */
const ABOUT_THE_BODY: ReadonlySet<number> = new Set([400, 413, 422]);
export const MAX_BODY_BYTES = 65_536;
const TIMEOUTS: OutboundTimeouts = { headersMs: 10_000, bodyMs: 5_000, totalMs: 15_000 };
const MAX_WAIT_MS = DAY_MS;

/** Names of this machine. */

/**
 * Whether this URL of a push gateway is allowed. "MUST be an HTTPS URL with a path of
 * /_matrix/push/v1/notify" (`POST /pushers/set`). Plain HTTP is allowed to this machine itself.
 *
 * @param allowHttp whether plain HTTP is allowed everywhere
 */
export const isGatewayUrl = (url: URL, allowHttp: boolean): boolean =>
  url.pathname === '/_matrix/push/v1/notify' &&
  url.username === '' &&
  url.password === '' &&
  (url.protocol === 'https:' || (url.protocol === 'http:' && (allowHttp || isLoopback(url.hostname))));

/** Sends notifications to push gateways. Push Gateway API, `POST /_matrix/push/v1/notify`. */
export class PushGateways {
  readonly #http: Pick<OutboundHttp, 'request'>;
  readonly #allowHttp: boolean;

  /** @param allowHttp whether plain HTTP is allowed, to addresses that the guard allows */
  constructor(http: Pick<OutboundHttp, 'request'>, allowHttp: boolean) {
    this.#http = http;
    this.#allowHttp = allowHttp;
  }

  /** Sends a notification to the gateway at this URL. Redirects are not followed. */
  async notify(url: string, notification: JsonObject, signal: AbortSignal): Promise<GatewayAnswer> {
    if (!URL.canParse(url) || !isGatewayUrl(new URL(url), this.#allowHttp))
      return { kind: 'unreachable', reason: 'this server does not talk to push gateways under such a URL' };
    const response = await this.#http.request({
      method: 'POST',
      url,
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({ notification }),
      maxBodyBytes: MAX_BODY_BYTES,
      timeouts: TIMEOUTS,
      allowHttp: true,
      signal,
    });
    if (!response.ok) return { kind: 'unreachable', reason: response.reason };
    const { status } = response;
    if (status >= 200 && status < 300) return { kind: 'taken', rejected: rejectedIn(response.body) };
    const reason = `the push gateway answered with ${status}`;
    if (ABOUT_THE_BODY.has(status)) return { kind: 'refused', reason };
    const afterMs = waitIn(response.headers['retry-after']);
    return afterMs === undefined ? { kind: 'later', reason } : { kind: 'later', reason, afterMs };
  }
}

/** Some gateways answer with an empty or invalid body: they have accepted it all the same. */
const rejectedIn = (body: Buffer): string[] => {
  try {
    const parsed = JSON.parse(body.toString()) as JsonValue;
    const rejected = isJsonObject(parsed) ? parsed['rejected'] : undefined;
    return Array.isArray(rejected) ? rejected.filter((pushkey) => typeof pushkey === 'string') : [];
  } catch {
    return [];
  }
};

/** Only seconds are read: a date would need a correct clock. */
const waitIn = (header: string | string[] | undefined): number | undefined => {
  const seconds = typeof header === 'string' && /^\d{1,9}$/.test(header) ? Number(header) : undefined;
  return seconds === undefined ? undefined : Math.min(seconds * 1_000, MAX_WAIT_MS);
};
