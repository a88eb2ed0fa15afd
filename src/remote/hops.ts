/** One step of a request: the first one, or a redirect. */
export interface Hop {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Uint8Array | undefined;
}

const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
/** Headers for the first origin only. */
const CREDENTIALS: ReadonlySet<string> = new Set(['authorization', 'cookie', 'proxy-authorization']);

const parseUrl = (text: string, base?: URL): URL | undefined =>
  URL.canParse(text, base?.href) ? new URL(text, base) : undefined;

/** The request itself; undefined when its URL is invalid. */
export const firstHop = (
  method: Hop['method'],
  url: string,
  headers: Hop['headers'] = {},
  body?: Hop['body'],
): Hop | undefined => {
  const parsed = parseUrl(url);
  return parsed === undefined ? undefined : { method, url: parsed, headers, body };
};

/** Where a response redirects to, if it does. */
export const redirectOf = (status: number, location: string | string[] | undefined): string | undefined =>
  REDIRECTS.has(status) && typeof location === 'string' ? location : undefined;

/** Fetch Standard, "HTTP-redirect fetch": what becomes a GET loses its body, what leaves the origin loses its credentials. */
export const nextHop = (hop: Hop, status: number, location: string): Hop | undefined => {
  const url = parseUrl(location, hop.url);
  if (url === undefined) return undefined;
  const becomesGet =
    (status === 303 && hop.method !== 'GET' && hop.method !== 'HEAD') ||
    ((status === 301 || status === 302) && hop.method === 'POST');
  const headers = Object.entries(hop.headers).filter(([name]) => {
    const lower = name.toLowerCase();
    return !(becomesGet && lower.startsWith('content-')) && !(url.origin !== hop.url.origin && CREDENTIALS.has(lower));
  });
  return {
    method: becomesGet ? 'GET' : hop.method,
    url,
    headers: Object.fromEntries(headers),
    body: becomesGet ? undefined : hop.body,
  };
};
