import type { Member } from './membership.ts';

/** Changes that are remembered, for those who keep something of many members. */
const REMEMBERED_CHANGES = 64;

/** Everybody who is or was a member of a room, as committed. */
export class MemberTable {
  readonly #members: Map<string, Member>;
  /** Who changed, the latest last. */
  #changed: string[] = [];
  #version = 0;
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

  /** Counts the changes. */
  get version(): number {
    return this.#version;
  }

  /** Who changed after a version; undefined when that is too long ago to say. */
  changedSince(version: number): readonly string[] | undefined {
    const count = this.#version - version;
    if (count > this.#changed.length) return undefined;
    return count === 0 ? [] : this.#changed.slice(-count);
  }

  get(userId: string): Member | undefined {
    return this.#members.get(userId);
  }

  set(member: Member): void {
    const before = this.#members.get(member.userId);
    if (before !== undefined) this.#count(before, -1);
    this.#members.set(member.userId, member);
    this.#count(member, 1);
    this.#version += 1;
    this.#changed.push(member.userId);
    if (this.#changed.length >= 2 * REMEMBERED_CHANGES) this.#changed = this.#changed.slice(-REMEMBERED_CHANGES);
  }

  #count(member: Member, by: 1 | -1): void {
    if (member.membership === 'join') this.#joined += by;
    else if (member.membership === 'invite') this.#invited += by;
  }
}
