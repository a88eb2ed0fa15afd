import { promisify } from 'node:util';
import { brotliDecompress, gunzip, inflate, constants } from 'node:zlib';
import type { OutboundHttp, OutboundTimeouts } from '#src/remote/outbound-http.ts';
import type { RobotsRules } from './robots-rules.ts';
import type { UrlRules } from './url-rules.ts';

/** A fetched document. */
export interface Fetched {
  /** Where it came from, after redirects. */
  readonly url: URL;
  /** Without its parameters, in small letters; empty where nothing is said. */
  readonly type: string;
  /** `Content-Type` as it came. */
  readonly contentType: string | undefined;
  readonly bytes: Buffer;
  readonly isCut: boolean;
}

/** Why nothing was fetched. */
export type FetchRefusal = 'denied' | 'timeout' | 'busy' | 'nothing';

export interface PageFetcherOptions {
  readonly outbound: OutboundHttp;
  readonly rules: UrlRules;
  /** Undefined: robots.txt is not asked for. */
  readonly robots: RobotsRules | undefined;
  readonly userAgent: string;
  readonly acceptLanguage: string;
  readonly maxRedirects: number;
  /** Milliseconds for one document, redirects included. */
  readonly timeoutMs: number;
}

/** How much of a document is wanted. */
export interface FetchLimits {
  readonly accept: string;
  /** Bytes by the type that is said: without parameters, in small letters. */
  readonly maxBytes: (type: string) => number;
  /** Whether the beginning of a longer one is of use. */
  readonly cuts: boolean;
}

const DECODERS: Readonly<Record<string, (bytes: Buffer, maxOutputLength: number) => Promise<Buffer>>> = {
  gzip: (bytes, maxOutputLength) =>
    promisify<Buffer, object, Buffer>(gunzip)(bytes, { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH }),
  deflate: (bytes, maxOutputLength) =>
    promisify<Buffer, object, Buffer>(inflate)(bytes, { maxOutputLength, finishFlush: constants.Z_SYNC_FLUSH }),
  br: (bytes, maxOutputLength) =>
    promisify<Buffer, object, Buffer>(brotliDecompress)(bytes, {
      maxOutputLength,
      finishFlush: constants.BROTLI_OPERATION_FLUSH,
    }),
};

/** Fetches documents of the web for previews: where the rules allow it, as much as is wanted, and never from inside this server's network. */
export class PageFetcher {
  readonly #options: PageFetcherOptions;

  constructor(options: PageFetcherOptions) {
    this.#options = options;
  }

  async fetch(url: URL, { accept, cuts, maxBytes }: FetchLimits): Promise<Fetched | FetchRefusal> {
    const { acceptLanguage, maxRedirects, outbound, timeoutMs, userAgent } = this.#options;
    if (!(await this.#mayAsk(url))) return 'denied';
    const timeouts: OutboundTimeouts = { headersMs: timeoutMs, bodyMs: timeoutMs, totalMs: timeoutMs };
    const answer = await outbound.request({
      method: 'GET',
      url: url.href,
      headers: { accept, 'accept-language': acceptLanguage, 'user-agent': userAgent },
      maxBodyBytes: (contentType) => maxBytes(typeOf(contentType)),
      overlong: cuts ? 'cut' : 'refuse',
      timeouts,
      maxRedirects,
      mayFollow: (next) => this.#mayAsk(next),
      allowHttp: true,
    });
    if (!answer.ok) return REFUSALS[answer.kind] ?? 'nothing';
    if (answer.status < 200 || answer.status >= 300) return 'nothing';
    const header = (name: string): string | undefined => {
      const value = answer.headers[name];
      return Array.isArray(value) ? value.at(-1) : value;
    };
    const contentType = header('content-type');
    const type = typeOf(contentType);
    const bytes = await decoded(answer.body, header('content-encoding'), maxBytes(type));
    if (bytes === undefined) return 'nothing';
    return { url: new URL(answer.url), type, contentType, bytes, isCut: answer.isCut };
  }

  async #mayAsk(url: URL): Promise<boolean> {
    const { robots, rules } = this.#options;
    return rules.mayAsk(url) && ((await robots?.mayAsk(url)) ?? true);
  }
}

const REFUSALS: Readonly<Record<string, FetchRefusal>> = {
  refused_redirect: 'denied',
  timeout: 'timeout',
  busy: 'busy',
};

const typeOf = (contentType: string | undefined): string => contentType?.split(';')[0]?.trim().toLowerCase() ?? '';

/** The decoded body. Compression was not asked for; it is decoded nevertheless, within the limit. */
const decoded = async (bytes: Buffer, encoding: string | undefined, maxBytes: number): Promise<Buffer | undefined> => {
  const name = encoding?.trim().toLowerCase() ?? 'identity';
  if (name === 'identity' || name === '') return bytes;
  const decode = Object.hasOwn(DECODERS, name) ? DECODERS[name] : undefined;
  return maxBytes === 0 ? bytes : decode?.(bytes, maxBytes).catch(() => undefined);
};
