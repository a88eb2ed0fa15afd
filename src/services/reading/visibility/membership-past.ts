import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/at-most.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { type Member, type Membership, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** How many member events of a user are looked at before the states at the events are asked instead. */
const STEPS = 6;
/** How many member events are looked at where the states do not help, or are many. */
const JOIN_STEPS = 50;

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

/** Finds a user's past memberships of a room by the chain of their member events. */
export class MembershipPast {
  readonly #loader: EventLoader;
  /** Position of the member event -> until when its user had been joined. Both never change. */
  readonly #joinedUntil = new LRUCache<number, number>(atMost(20_000));

  constructor(loader: EventLoader) {
    this.#loader = loader;
  }

  /** @param reach position back to which the memberships are wanted in any case */
  async of(room: Room, member: Member, reach?: number): Promise<MembershipPeriods> {
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
  async joinedUntil(room: Room, member: Member): Promise<number> {
    if (member.membership === 'join') return Infinity;
    // The resolution of a fork ended it.
    if (member.event < member.since) return member.since;
    const known = this.#joinedUntil.get(member.event);
    if (known !== undefined) return known;
    let until = 0;
    let event = await this.#loader.one(room, member.event);
    for (let step = 0; step < JOIN_STEPS && event?.replaces !== undefined; step++) {
      const before = await this.#before(room, event);
      if (before !== undefined && membershipIn(before.content) === 'join') {
        until = event.nid;
        break;
      }
      event = before;
    }
    this.#joinedUntil.set(member.event, until);
    return until;
  }

  async #before(room: Room, event: StoredEvent): Promise<StoredEvent | undefined> {
    // A companion that was loaded along with its successor does not know what it replaced itself.
    return event.replaces === undefined ? undefined : this.#loader.one(room, event.replaces);
  }
}
