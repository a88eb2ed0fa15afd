import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventRoom, StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { type Member, type Membership, membershipIn } from '#src/services/room-model/room/membership.ts';

/** How many member events of a user are looked at before the states at the events are asked instead. */
const STEPS = 6;
/** How many member events are looked at where the states do not help, or are many. */
const JOIN_STEPS = 50;
/** How many members are looked at together. */
const MAX_TOGETHER = 1_000;

/** A user's memberships of a room, newest first, as far back as they were looked at. */
class MembershipPeriods {
  readonly #periods: readonly { readonly from: number; readonly membership: Membership }[];
  readonly #isComplete: boolean;

  constructor(periods: readonly { readonly from: number; readonly membership: Membership }[], isComplete: boolean) {
    this.#periods = periods;
    this.#isComplete = isComplete;
  }

  /** The membership at a position; undefined when that lies further back than was looked. */
  at(position: number): Membership | undefined {
    const period = this.#periods.find(({ from }) => position >= from);
    return period?.membership ?? (this.#isComplete ? 'leave' : undefined);
  }
}

/** A member of a room. */
export interface MemberPlace {
  readonly room: EventRoom;
  readonly member: Member;
}

/** The way back through the member events of a user. */
interface Walk {
  /** Of the place in question. */
  readonly index: number;
  readonly room: EventRoom;
  /** Position of the event that it began at. */
  readonly first: number;
  /** Position of the event that was looked at last. */
  readonly at: number;
  /** Position of the event that it replaced. */
  readonly nid: number;
}

/** Finds a user's past memberships of a room by the chain of their member events. */
export class MembershipPast {
  readonly #loader: EventLoader;
  /** Position of the member event -> until when its user had been joined. Both never change. */
  readonly #joinedUntil = new LRUCache<number, number>(atMost(20_000));

  constructor(loader: EventLoader) {
    this.#loader = loader;
  }

  /** @param reach position back to which the memberships are wanted in any case */
  async of(room: EventRoom, member: Member, reach?: number): Promise<MembershipPeriods> {
    const periods: { from: number; membership: Membership }[] = [{ from: member.since, membership: member.membership }];
    const first = await this.#loader.one(room, member.since);
    // State resolution changes memberships without a new event: then the chain of events does not tell.
    let event = first?.type === 'm.room.member' && first.stateKey === member.userId ? first : undefined;
    const goesOn = (step: number, at: number): boolean =>
      step < STEPS || (reach !== undefined && at > reach && step < JOIN_STEPS);
    for (let step = 0; event?.replaces !== undefined && goesOn(step, event.nid); step++) {
      event = await this.#before(room, event);
      if (event !== undefined) periods.push({ from: event.nid, membership: membershipIn(event.content) });
    }
    return new MembershipPeriods(periods, event !== undefined && event.replaces === undefined);
  }

  /**
   * The position at which a user was joined for the last time: Infinity while they are, that of the event that ended it
   * afterwards, 0 when they never were.
   */
  async joinedUntil(room: EventRoom, member: Member): Promise<number> {
    return this.#knownUntil(member) ?? (await this.joinedUntilOf([{ room, member }]))[0] ?? 0;
  }

  /** The same for many members, in the same order: their events are read together, and so are those that they replaced. */
  async joinedUntilOf(places: readonly MemberPlace[]): Promise<number[]> {
    const untils: number[] = [];
    for (let from = 0; from < places.length; from += MAX_TOGETHER) {
      // One part after the other: no more is in memory than one of them.
      // oxlint-disable-next-line eslint/no-await-in-loop
      untils.push(...(await this.#joinedUntilTogether(places.slice(from, from + MAX_TOGETHER))));
    }
    return untils;
  }

  async #joinedUntilTogether(places: readonly MemberPlace[]): Promise<number[]> {
    const untils: number[] = Array.from({ length: places.length }, () => 0);
    let walks: Walk[] = [];
    for (const [index, { room, member }] of places.entries()) {
      const known = this.#knownUntil(member);
      if (known !== undefined) untils[index] = known;
      else walks.push({ index, room, first: member.event, at: member.event, nid: member.event });
    }
    const done = (walk: Walk, until: number): void => {
      untils[walk.index] = until;
      this.#joinedUntil.set(walk.first, until);
    };
    for (let step = 0; walks.length > 0; step++) {
      // One after the other: the next ones are known by these.
      // oxlint-disable-next-line eslint/no-await-in-loop
      const events = await this.#loader.load(walks);
      const further: Walk[] = [];
      for (const walk of walks) {
        const event = events.get(walk.nid);
        if (step > 0 && event !== undefined && membershipIn(event.content) === 'join') done(walk, walk.at);
        else if (event?.replaces === undefined || step === JOIN_STEPS) done(walk, 0);
        else further.push({ ...walk, at: event.nid, nid: event.replaces });
      }
      walks = further;
    }
    return untils;
  }

  #knownUntil(member: Member): number | undefined {
    if (member.membership === 'join') return Infinity;
    // The resolution of a fork ended it.
    return member.event < member.since ? member.since : this.#joinedUntil.get(member.event);
  }

  async #before(room: EventRoom, event: StoredEvent): Promise<StoredEvent | undefined> {
    // A companion that was loaded along with its successor does not know what it replaced itself.
    return event.replaces === undefined ? undefined : this.#loader.one(room, event.replaces);
  }
}
