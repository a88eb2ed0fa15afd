/** What a reader of `multipart/mixed` has come across. */
export type MixedToken =
  | { readonly kind: 'part'; readonly headers: ReadonlyMap<string, string> }
  | { readonly kind: 'bytes'; readonly bytes: Buffer }
  | { readonly kind: 'end of part' }
  | { readonly kind: 'end' };

/** The body is no `multipart/mixed` that can be read. */
export class MixedFault extends Error {}

const BOUNDARY = /^[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]$/;
const PARAMETER = /;\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))/i;
/** Bytes of the headers of one part. */
const MAX_HEADER_BYTES = 8_192;
/** Bytes before the first boundary, which say nothing. */
const MAX_PREAMBLE_BYTES = 8_192;
/** White space after a boundary. */
const MAX_PADDING = 64;
const CRLF = Buffer.from('\r\n');
const BLANK_LINE = Buffer.from('\r\n\r\n');

/** The boundary that a `Content-Type: multipart/mixed` names; undefined for another type, or without a valid one. RFC 2046, 5.1.1. */
export const boundaryOf = (contentType: string | undefined): string | undefined => {
  if (contentType === undefined || !/^\s*multipart\/mixed\s*(;|$)/i.test(contentType)) return undefined;
  const [, quoted, token] = PARAMETER.exec(contentType) ?? [];
  const boundary = quoted?.replace(/\\(.)/g, '$1') ?? token;
  return boundary !== undefined && BOUNDARY.test(boundary) ? boundary : undefined;
};

/**
 * Reads a `multipart/mixed` body piece by piece, however it is cut. RFC 2046, 5.1. It holds no more of the body than the headers of one part,
 * or the length of a boundary.
 */
export class MixedReader {
  readonly #delimiter: Buffer;
  /** What is read but not understood yet. The body counts as if a line had ended before it. */
  #rest: Buffer = CRLF;
  #state: 'preamble' | 'headers' | 'content' | 'end' = 'preamble';
  #preamble = 0;

  constructor(boundary: string) {
    this.#delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1');
  }

  /** @throws MixedFault */
  read(chunk: Buffer): MixedToken[] {
    if (this.#state === 'end') return [];
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const tokens: MixedToken[] = [];
    while (this.#step(tokens));
    return tokens;
  }

  /** Says that nothing more comes. @throws MixedFault when something is missing */
  end(): void {
    if (this.#state !== 'end') throw new MixedFault('the body ends before its last boundary');
  }

  #step(tokens: MixedToken[]): boolean {
    if (this.#state === 'end') return false;
    return this.#state === 'headers' ? this.#headers(tokens) : this.#upToDelimiter(tokens);
  }

  /** Passes on what comes before the next delimiter. @returns whether there may be more to understand */
  #upToDelimiter(tokens: MixedToken[]): boolean {
    for (let from = 0; ;) {
      const at = this.#rest.indexOf(this.#delimiter, from);
      // Its beginning may be at the end of what has come.
      if (at === -1) return this.#pass(tokens, Math.max(0, this.#rest.length - this.#delimiter.length + 1));
      const line = this.#delimiterLine(at + this.#delimiter.length);
      if (line === 'more') return this.#pass(tokens, at);
      if (line === undefined) {
        from = at + 1;
        continue;
      }
      this.#pass(tokens, at);
      if (this.#state === 'content') tokens.push({ kind: 'end of part' });
      this.#rest = this.#rest.subarray(line.next - at);
      this.#state = line.isLast ? 'end' : 'headers';
      if (line.isLast) tokens.push({ kind: 'end' });
      return !line.isLast;
    }
  }

  /** What follows a delimiter: `--` after the last one, else white space and the end of the line, which is left for the headers. */
  #delimiterLine(from: number): { readonly next: number; readonly isLast: boolean } | 'more' | undefined {
    const rest = this.#rest;
    if (rest.length < from + 2) return 'more';
    if (rest[from] === 0x2d && rest[from + 1] === 0x2d) return { next: from + 2, isLast: true };
    let at = from;
    while (at < rest.length && at < from + MAX_PADDING && (rest[at] === 0x20 || rest[at] === 0x09)) at += 1;
    if (rest.length < at + 2) return 'more';
    return rest[at] === 0x0d && rest[at + 1] === 0x0a ? { next: at, isLast: false } : undefined;
  }

  #pass(tokens: MixedToken[], length: number): false {
    if (length > 0) {
      const bytes = this.#rest.subarray(0, length);
      this.#rest = this.#rest.subarray(length);
      if (this.#state === 'content') tokens.push({ kind: 'bytes', bytes });
      else if ((this.#preamble += length) > MAX_PREAMBLE_BYTES)
        throw new MixedFault('the body does not begin with its boundary');
    }
    return false;
  }

  /** The headers of a part: from the end of the delimiter's line to the first empty line, or to the next delimiter where nothing follows them. */
  #headers(tokens: MixedToken[]): boolean {
    const delimiter = this.#delimiter;
    const blank = this.#rest.indexOf(BLANK_LINE);
    const next = this.#rest.indexOf(delimiter);
    const isBare = next !== -1 && (blank === -1 || next < blank);
    const end = isBare ? next : blank;
    if (end > MAX_HEADER_BYTES || (end === -1 && this.#rest.length > MAX_HEADER_BYTES))
      throw new MixedFault('a part has too many headers');
    // The end of the empty line may be the beginning of the next delimiter: that much follows in any case.
    if (end === -1 || this.#rest.length < end + 2 + delimiter.length) return false;
    tokens.push({ kind: 'part', headers: headersIn(this.#rest.toString('latin1', 0, end)) });
    const isEmpty = this.#rest.subarray(end + 2, end + 2 + delimiter.length).equals(delimiter);
    this.#rest = this.#rest.subarray(isBare ? end : isEmpty ? end + 2 : end + 4);
    this.#state = 'content';
    return true;
  }
}

/** Names in lower case; of a header that comes twice the first counts. Header lines that cannot be read are passed over. */
const headersIn = (text: string): ReadonlyMap<string, string> => {
  const headers = new Map<string, string>();
  for (const line of text.replace(/\r\n[ \t]+/g, ' ').split('\r\n')) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const name = line.slice(0, colon).trim().toLowerCase();
    if (!headers.has(name)) headers.set(name, line.slice(colon + 1).trim());
  }
  return headers;
};
