import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

const MAX_LINK_LENGTH = 2_048;

/** Where the browser is sent after the confirmation of an address. */
export interface NextLink {
  readonly url: string;
  /** Of the URL: how a Content-Security-Policy names it. */
  readonly origin: string;
  /** As it is shown. */
  readonly host: string;
  /** Whether the browser may be sent there at once. Else it is a link that shows where it leads. */
  readonly isTrusted: boolean;
}

/** The rules for `next_link`: a client that has a mail sent to a stranger must not choose where its link leads. */
export class NextLinks {
  readonly #hosts: readonly string[] | null;

  /** @param hosts `email.next_link_hosts`; null for any */
  constructor(hosts: readonly string[] | null) {
    this.#hosts = hosts?.map((host) => host.toLowerCase()) ?? null;
  }

  /** @throws MatrixError M_INVALID_PARAM */
  check(link: string | undefined): string | null {
    if (link === undefined || link === '') return null;
    const url = link.length <= MAX_LINK_LENGTH && URL.canParse(link) ? new URL(link) : undefined;
    const isWeb = url?.protocol === 'https:' || url?.protocol === 'http:';
    if (url === undefined || !isWeb || url.username !== '' || url.password !== '')
      throw new MatrixError('M_INVALID_PARAM', 'next_link must be an https:// or http:// URL without a user name.');
    if (this.#hosts !== null && !this.#isListed(url))
      throw new MatrixError('M_INVALID_PARAM', 'next_link leads to a host that this server does not send people to.');
    return url.href;
  }

  /** A link that was checked when it came in, by the rules of now. */
  read(link: string | null): NextLink | undefined {
    if (link === null || !URL.canParse(link)) return undefined;
    const url = new URL(link);
    const isTrusted = this.#isListed(url);
    return isTrusted || this.#hosts === null
      ? { url: url.href, origin: url.origin, host: url.host, isTrusted }
      : undefined;
  }

  #isListed({ host, hostname }: URL): boolean {
    return this.#hosts?.some((listed) => listed === host || listed === hostname) ?? false;
  }
}
