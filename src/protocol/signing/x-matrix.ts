/** What an `Authorization` header of the scheme X-Matrix says. */
export interface XMatrix {
  readonly origin: string;
  /** Left out by servers that are older than v1.3 of the specification. */
  readonly destination: string | undefined;
  readonly keyId: string;
  /** Base64. */
  readonly signature: string;
}

/** Longer ones name nothing that exists: two server names, a key id and a signature take less. */
const MAX_LENGTH = 4_096;
const SCHEME = /^X-Matrix +/i;
/** RFC 9110, 11.2 and 5.6.2; in values that are not quoted, colons too, and what older servers leave unquoted in base64 and IPv6. */
const PARAMETER =
  /[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\[^])*)"|([!#$%&'*+.^_`|~0-9A-Za-z:/=[\]-]+))[ \t]*(?=,|$)/y;
const COMMA = /[ \t]*,[ \t]*/y;

/** Whether an `Authorization` header is of this scheme. */
export const isXMatrix = (header: string): boolean => SCHEME.test(header);

/**
 * Reads the header. Server-Server API, "Request Authentication"; RFC 9110, 11.4.
 *
 * @returns undefined for what is not of that form: a parameter that is missing, or is there twice
 */
export const parseXMatrix = (header: string): XMatrix | undefined => {
  if (header.length > MAX_LENGTH) return undefined;
  const scheme = SCHEME.exec(header);
  if (scheme === null) return undefined;
  const parameters = parametersOf(header, scheme[0].length);
  const origin = parameters?.get('origin');
  const keyId = parameters?.get('key');
  const signature = parameters?.get('sig');
  if (origin === undefined || keyId === undefined || signature === undefined) return undefined;
  return { origin, destination: parameters?.get('destination'), keyId, signature };
};

/** Names are lower case here, "unknown parameters are ignored". Undefined where something else stands between them, or one is there twice. */
const parametersOf = (header: string, from: number): ReadonlyMap<string, string> | undefined => {
  const found = new Map<string, string>();
  let at = from;
  while (at < header.length) {
    PARAMETER.lastIndex = at;
    const match = PARAMETER.exec(header);
    if (match !== null) {
      const [whole, name = '', quoted, token] = match;
      const lower = name.toLowerCase();
      if (found.has(lower)) return undefined;
      found.set(lower, quoted?.replace(/\\([^])/g, '$1') ?? token ?? '');
      at += whole.length;
    }
    if (at >= header.length) break;
    // Empty elements of lists are passed over (RFC 9110, 5.6.1.2).
    COMMA.lastIndex = at;
    const comma = COMMA.exec(header);
    if (comma === null) return undefined;
    at += comma[0].length;
  }
  return found;
};
