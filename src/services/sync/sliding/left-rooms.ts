import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { MembershipPast } from '#src/services/reading/visibility/membership-past.ts';
import type { PastStates } from '../engine/past-states.ts';
import type { RoomPlan } from '../engine/room-plan.ts';
import type { SentRoom } from './connection.ts';
import type { StateWanted } from './required-state.ts';
import type { ListedRoom } from './room-lists.ts';

export interface LeftRoomsOptions {
  readonly loader: EventLoader;
  readonly past: MembershipPast;
  readonly states: Pick<PastStates, 'at'>;
}

/** Rooms that a user has left, as they were at the leave: nothing that came later is visible to them. */
export class LeftRooms {
  readonly #options: LeftRoomsOptions;

  constructor(options: LeftRoomsOptions) {
    this.#options = options;
  }

  /** The stretch of a room to send: up to the leave, or nothing but the leave for a user who was not joined. */
  async plan({ room, member }: ListedRoom<Room>, sent: SentRoom | undefined): Promise<RoomPlan> {
    const upTo = Math.max(member.event, member.since);
    const common = { room, member, section: 'leave' as const, isNew: false, end: room.stateChain };
    const wasKnown = sent?.membership === 'join';
    const until = sent === undefined || wasKnown ? await this.#options.past.joinedUntil(room, member) : 0;
    if (until > 0 && member.forgotten !== true) {
      const after = wasKnown ? (sent.vector[room.shard] ?? 0) : 0;
      return { ...common, isFull: !wasKnown, after, upTo: until, onlyLeave: false };
    }
    return { ...common, isFull: false, after: upTo - 1, upTo, onlyLeave: true };
  }

  /** The state of rooms at their ends, as far as it is wanted: two statements for all of them. */
  async states(
    wanted: readonly { readonly plan: RoomPlan; readonly state: StateWanted }[],
  ): Promise<ReadonlyMap<RoomPlan, readonly StoredEvent[]>> {
    if (wanted.length === 0) return new Map();
    const { loader, states } = this.#options;
    const ends = await states.at(wanted.map(({ plan: { room, upTo } }) => ({ room: room.nid, upTo })));
    const places = wanted.flatMap(({ plan, state }) => {
      const end = ends.get(plan.room.nid);
      return end === undefined ? [] : nidsOf(end, state).map((nid) => ({ plan, room: plan.room, nid }));
    });
    const events = await loader.load(places);
    const found = new Map<RoomPlan, StoredEvent[]>();
    for (const { plan, nid } of places) {
      const event = events.get(nid);
      if (event === undefined) continue;
      const known = found.get(plan);
      if (known === undefined) found.set(plan, [event]);
      else known.push(event);
    }
    return found;
  }
}

/** Positions of the state; of members, only if all of them are wanted. */
const nidsOf = (end: StateChain, { namedMembers }: StateWanted): readonly number[] => [
  ...end.others().events,
  ...(namedMembers === undefined ? end.members().events : []),
];
