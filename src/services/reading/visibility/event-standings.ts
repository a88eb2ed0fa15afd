import { HISTORY_VISIBILITY, MEMBER } from '#src/protocol/events/event-types.ts';
import { type HistoryVisibility, parseHistoryVisibility } from '#src/protocol/visibility/history-visibility.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { type Membership, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { MembershipPast } from './membership-past.ts';

/** What decides whether a user may see an event, but for what the event itself changes. */
export interface Standing {
  /** Both in the state before the event. */
  readonly visibility: HistoryVisibility;
  readonly membership: Membership | undefined;
  readonly joinedLater: boolean;
}

/** Reads what the states before events say of the room's history visibility, and of a user's membership: of many events at once. */
export class EventStandings {
  readonly #interner: Interner;
  readonly #loader: EventLoader;
  readonly #states: StateStore;
  readonly #past: MembershipPast;

  constructor(interner: Interner, loader: EventLoader, states: StateStore, past: MembershipPast) {
    this.#interner = interner;
    this.#loader = loader;
    this.#states = states;
    this.#past = past;
  }

  /** In the order of the events. */
  async of(
    room: Room,
    userId: string,
    events: readonly { readonly nid: number; readonly state: number }[],
  ): Promise<readonly Standing[]> {
    const member = room.member(userId);
    const joinedUntil = member === undefined ? 0 : await this.#past.joinedUntil(room, member);
    const names = await this.#interner.find({
      stateKeys: [
        { type: HISTORY_VISIBILITY, stateKey: '' },
        { type: MEMBER, stateKey: userId },
      ],
    });
    const visibilityKey = names.peekStateKey(HISTORY_VISIBILITY, '');
    const memberKey = member === undefined ? undefined : names.peekStateKey(MEMBER, userId);
    const chains = await this.#chainsAt(
      room,
      events.map(({ state }) => state),
    );
    const places = events.map(({ nid: position, state }) => {
      const chain = chains.get(state);
      const visibility = visibilityKey === undefined ? undefined : chain?.get(visibilityKey);
      const own = memberKey === undefined ? undefined : chain?.get(memberKey);
      // An event that came back out of an archive may stand in a later state than its own, which is gone.
      const isLater = (nid: number | undefined): boolean => position > 0 && nid !== undefined && nid > position;
      return {
        visibility,
        isVisibilityLater: isLater(visibility),
        member: isLater(own) ? undefined : own,
      };
    });
    const nids = new Set(places.flatMap((place) => [place.visibility ?? [], place.member ?? []].flat()));
    const loaded = await this.#loader.load([...nids].map((nid) => ({ room, nid })));
    const at = (nid: number | undefined): StoredEvent | undefined => (nid === undefined ? undefined : loaded.get(nid));
    return places.map(({ visibility, isVisibilityLater, member: own }, index) => {
      const before = at(own);
      return {
        visibility: isVisibilityLater ? 'joined' : parseHistoryVisibility(at(visibility)?.content),
        membership: before === undefined ? undefined : membershipIn(before.content),
        joinedLater: (events[index]?.nid ?? Infinity) < joinedUntil,
      };
    });
  }

  async #chainsAt(room: Room, ids: readonly number[]): Promise<Map<number, StateChain>> {
    const current = room.stateChain;
    const found = await this.#states.load(ids.filter((id) => id !== current.nid));
    return new Map(found).set(current.nid, current);
  }
}
