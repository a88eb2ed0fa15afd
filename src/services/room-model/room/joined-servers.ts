import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { Member } from './membership.ts';

/** The servers in a room: those that have a joined member. Updated by each change, without looking at the other members. */
export class JoinedServers {
  /** How many members of each server are joined. */
  readonly #counts = new Map<string, number>();
  #own: string | undefined;
  #remote: readonly string[] | undefined;

  constructor(members: Iterable<Member>) {
    for (const member of members) this.#count(member, 1);
  }

  get counts(): ReadonlyMap<string, number> {
    return this.#counts;
  }

  /** All but this one. The same array as long as no server joins or leaves. */
  get remote(): readonly string[] {
    this.#remote ??= [...this.#counts.keys()].filter((serverName) => serverName !== this.#own);
    return this.#remote;
  }

  /** Replaces a user's earlier membership. */
  replace(before: Member | undefined, after: Member): void {
    if (before?.membership === 'join' && after.membership === 'join') return;
    if (before !== undefined) this.#count(before, -1);
    this.#count(after, 1);
  }

  #count(member: Member, by: 1 | -1): void {
    if (member.membership !== 'join') return;
    const serverName = domainOf(member.userId);
    if (serverName === undefined) return;
    if (member.local) this.#own = serverName;
    const before = this.#counts.get(serverName) ?? 0;
    const after = before + by;
    if (after > 0) this.#counts.set(serverName, after);
    else this.#counts.delete(serverName);
    if (!member.local && (before === 0 || after <= 0)) this.#remote = undefined;
  }
}
