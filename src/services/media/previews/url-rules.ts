import { domainToASCII } from 'node:url';
import { type Glob, globMatches, parseGlob } from '#src/protocol/matching/glob.ts';

export interface UrlRulesOptions {
  /** Patterns with `*` and `?`: of hosts, or of hosts with a path where they hold a slash. Null: all. */
  readonly allow: readonly string[] | null;
  readonly deny: readonly string[];
}

interface Pattern {
  readonly glob: Glob;
  readonly hasPath: boolean;
}

export const MAX_URL_LENGTH = 2_048;

/** Decides which URLs are previewed. A denied or allowed host is that host alone; `*.example.org` means those below it. */
export class UrlRules {
  readonly #allow: readonly Pattern[] | undefined;
  readonly #deny: readonly Pattern[];

  constructor({ allow, deny }: UrlRulesOptions) {
    this.#allow = allow?.map(patternOf);
    this.#deny = deny.map(patternOf);
  }

  /** The page that a request asks about, without what follows `#`; undefined when it is no URL of the web, or a strange one. */
  parse(text: string): URL | undefined {
    if (text.length > MAX_URL_LENGTH || !URL.canParse(text)) return undefined;
    const url = new URL(text);
    const isOfTheWeb = url.protocol === 'https:' || url.protocol === 'http:';
    if (!isOfTheWeb || url.username !== '' || url.password !== '' || url.hostname === '') return undefined;
    url.hash = '';
    return url.href.length > MAX_URL_LENGTH ? undefined : url;
  }

  mayAsk(url: URL): boolean {
    // A name may end in the dot of the root: it is the same name.
    const host = url.hostname.replace(/\.$/, '');
    const matches = ({ glob, hasPath }: Pattern): boolean =>
      globMatches(glob, hasPath ? `${host}${url.pathname}${url.search}` : host);
    return !this.#deny.some(matches) && (this.#allow?.some(matches) ?? true);
  }
}

const patternOf = (text: string): Pattern => {
  const [host = '', ...path] = text.split('/');
  return { glob: parseGlob([asciiOf(host), ...path].join('/')), hasPath: path.length > 0 };
};

/** A host as URLs have it: names in other scripts are written in ASCII there. */
const asciiOf = (host: string): string =>
  host
    .split('.')
    .map((label) => (/^[\x20-\x7e]*$/.test(label) ? label.toLowerCase() : domainToASCII(label)))
    .join('.');
