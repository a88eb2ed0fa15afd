import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isServerName } from '#src/protocol/identifiers/server-name.ts';
import { type Glob, globMatches, parseGlob } from '#src/protocol/matching/glob.ts';

export interface ServerPolicyOptions {
  /** Whether this server federates at all. */
  readonly enabled: boolean;
  /** Servers to federate with, `*` as wildcard; null: all. */
  readonly allow: readonly string[] | null;
  /** Servers never to federate with, `*` as wildcard. */
  readonly deny: readonly string[];
}

/** Whether this server federates with another one. */
export type ServerVerdict = 'allowed' | 'denied' | 'disabled';

/** Decides which servers this one federates with, in either direction. */
export class ServerPolicy {
  readonly #enabled: boolean;
  readonly #allow: readonly Glob[] | undefined;
  readonly #deny: readonly Glob[];

  constructor({ allow, deny, enabled }: ServerPolicyOptions) {
    this.#enabled = enabled;
    this.#allow = allow?.map((pattern) => parseGlob(fold(pattern)));
    this.#deny = deny.map((pattern) => parseGlob(fold(pattern)));
  }

  /** Whether this server federates with that one. Invalid server names are denied. */
  verdictOn(serverName: string): ServerVerdict {
    if (!this.#enabled) return 'disabled';
    if (!isServerName(serverName)) return 'denied';
    if (this.#allow === undefined && this.#deny.length === 0) return 'allowed';
    const name = fold(serverName);
    const host = name.replace(/:\d+$/, '');
    const isIn = (globs: readonly Glob[]): boolean =>
      globs.some((glob) => globMatches(glob, name) || globMatches(glob, host));
    if (isIn(this.#deny)) return 'denied';
    return this.#allow === undefined || isIn(this.#allow) ? 'allowed' : 'denied';
  }

  /** @throws MatrixError M_FORBIDDEN while this server does not federate */
  assertOpen(): void {
    if (!this.#enabled) throw new MatrixError('M_FORBIDDEN', 'This server does not federate.');
  }

  allows(serverName: string): boolean {
    return this.verdictOn(serverName) === 'allowed';
  }
}

const fold = (text: string): string => text.toLowerCase();
