import { type Glob, globMatches, parseGlob } from '#src/protocol/matching/glob.ts';

/** A list of server names with wildcards. */
export class ServerList {
  readonly #allowed: readonly Glob[] | undefined;
  readonly #denied: readonly Glob[];

  /** @param allowed null for all */
  constructor(allowed: readonly string[] | null, denied: readonly string[]) {
    this.#allowed = allowed?.map((text) => parseGlob(text.toLowerCase()));
    this.#denied = denied.map((text) => parseGlob(text.toLowerCase()));
  }

  allows(server: string): boolean {
    // A rule is about a host.
    const host = server.replace(/:\d{1,5}$/, '').toLowerCase();
    const isIn = (globs: readonly Glob[]): boolean => globs.some((glob) => globMatches(glob, host));
    return !isIn(this.#denied) && (this.#allowed === undefined || isIn(this.#allowed));
  }
}
