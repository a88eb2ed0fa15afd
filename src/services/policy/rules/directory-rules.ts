import { type Glob, globMatches, parseGlob } from '#src/protocol/matching/glob.ts';

/** A rule as it is configured. What it leaves out matches everything. */
export interface DirectoryRule {
  readonly action: 'allow' | 'deny';
  readonly userId?: string | undefined;
  readonly roomId?: string | undefined;
  readonly alias?: string | undefined;
}

interface Parsed {
  readonly isAllowed: boolean;
  readonly user: Glob;
  readonly room: Glob;
  /** Undefined for every alias, and for none. */
  readonly alias: Glob | undefined;
}

/**
 * Rules for the names and the publication of rooms, in order: the first one that matches decides, and what none matches is denied. The
 * same as Synapse's `alias_creation_rules` and `room_list_publication_rules`.
 */
export class DirectoryRules {
  readonly #rules: readonly Parsed[];

  constructor(rules: readonly DirectoryRule[]) {
    this.#rules = rules.map(({ action, alias = '*', roomId = '*', userId = '*' }) => ({
      isAllowed: action === 'allow',
      user: parseGlob(userId),
      room: parseGlob(roomId),
      alias: alias === '*' ? undefined : parseGlob(alias),
    }));
  }

  /** @param aliases of the room: one of them has to match a rule that names aliases */
  allows(userId: string, roomId: string, aliases: readonly string[]): boolean {
    const rule = this.#rules.find(
      ({ alias, room, user }) =>
        globMatches(user, userId) &&
        globMatches(room, roomId) &&
        (alias === undefined || aliases.some((one) => globMatches(alias, one))),
    );
    return rule?.isAllowed ?? false;
  }
}
