/** Client-Server API, "Web Browser Clients": browsers may call from any origin. */
const NAMESPACES = ['/_matrix/', '/_synapse/', '/.well-known/'];

/** Whether pages of other origins may call this path. */
export const isCrossOriginPath = (path: string): boolean => NAMESPACES.some((namespace) => path.startsWith(namespace));

/** Headers of every response in those namespaces, names and values in turn, errors included: without them a browser hides the error from its page. */
export const CORS_HEADERS: readonly string[] = [
  ...['Access-Control-Allow-Origin', '*'],
  ...['Access-Control-Allow-Methods', 'GET, HEAD, POST, PUT, DELETE, OPTIONS'],
  ...['Access-Control-Allow-Headers', 'X-Requested-With, Content-Type, Authorization, Date'],
  ...['Access-Control-Expose-Headers', 'Content-Disposition, ETag, Retry-After, X-Request-Id'],
];

/** Seconds for which a browser may remember a preflight. */
export const PREFLIGHT_MAX_AGE = '86400';
