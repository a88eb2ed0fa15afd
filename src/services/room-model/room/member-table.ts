import { JoinedServers } from './joined-servers.ts';
import { RecentChanges } from '#src/kernel/caches/recent-changes.ts';
import type { Member } from './membership.ts';

/** Changes that are remembered, for caches of many members. */
const REMEMBERED_CHANGES = 64;

/** The committed memberships of a room, past ones included. */
export class MemberTable {
  readonly #members: Map<string, Member>;
  /** Users whose membership changed, the latest last. */
  readonly #changes = new RecentChanges<string>(REMEMBERED_CHANGES);
  /** Made when it is first asked for, and kept up from then on: most rooms are nobody else's. */
  #servers: JoinedServers | undefined;
  #joined = 0;
  #invited = 0;
  #localJoined = 0;
  #remote = 0;

  constructor(members: Map<string, Member>) {
    this.#members = members;
    for (const member of members.values()) {
      this.#count(member, 1);
      if (!member.local) this.#remote += 1;
    }
  }

  get all(): ReadonlyMap<string, Member> {
    return this.#members;
  }
  get joined(): number {
    return this.#joined;
  }
  get invited(): number {
    return this.#invited;
  }
  /** Users of this server who are in the room. */
  get localJoined(): number {
    return this.#localJoined;
  }

  /** Users of other servers who are or were members. */
  get remote(): number {
    return this.#remote;
  }

  /** The servers whose users are joined. */
  get servers(): JoinedServers {
    this.#servers ??= new JoinedServers(this.#members.values());
    return this.#servers;
  }

  /** Counts the changes. */
  get version(): number {
    return this.#changes.version;
  }

  /** Users whose membership changed after a version; undefined when that is too long ago. */
  changedSince(version: number): readonly string[] | undefined {
    return this.#changes.since(version);
  }

  get(userId: string): Member | undefined {
    return this.#members.get(userId);
  }

  set(member: Member): void {
    const before = this.#members.get(member.userId);
    if (before !== undefined) this.#count(before, -1);
    else if (!member.local) this.#remote += 1;
    this.#members.set(member.userId, member);
    this.#count(member, 1);
    this.#servers?.replace(before, member);
    this.#changes.note(member.userId);
  }

  /** Removes all memberships. */
  clear(): void {
    this.#servers = undefined;
    this.#joined = this.#invited = this.#localJoined = this.#remote = 0;
    for (const userId of this.#members.keys()) this.#changes.note(userId);
    this.#members.clear();
  }

  #count(member: Member, by: 1 | -1): void {
    if (member.membership === 'join') {
      this.#joined += by;
      if (member.local) this.#localJoined += by;
    } else if (member.membership === 'invite') this.#invited += by;
  }
}
