import type { Member } from './membership.ts';

/** Everybody who is or was a member of a room, as committed. */
export class MemberTable {
  readonly #members: Map<string, Member>;
  #joined = 0;
  #invited = 0;

  constructor(members: Map<string, Member>) {
    this.#members = members;
    for (const member of members.values()) this.#count(member, 1);
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

  get(userId: string): Member | undefined {
    return this.#members.get(userId);
  }

  set(member: Member): void {
    const before = this.#members.get(member.userId);
    if (before !== undefined) this.#count(before, -1);
    this.#members.set(member.userId, member);
    this.#count(member, 1);
  }

  #count(member: Member, by: 1 | -1): void {
    if (member.membership === 'join') this.#joined += by;
    else if (member.membership === 'invite') this.#invited += by;
  }
}
