import type { PositionVector } from '#src/protocol/wire/position.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventRoom } from '#src/services/room-model/event/stored-event.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';

import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { PastStates } from './past-states.ts';
import type { PlannedRoom } from './room-plan.ts';

/** Finds out what a client already knows of rooms that its user has left or rejoined. */
export class RejoinedRooms {
  readonly #loader: EventLoader;
  readonly #interner: Interner;
  readonly #states: PastStates;

  constructor(options: { readonly loader: EventLoader; readonly interner: Interner; readonly states: PastStates }) {
    this.#loader = options.loader;
    this.#interner = options.interner;
    this.#states = options.states;
  }

  /** Whether a user is joined in a state. */
  async isJoinedIn(room: EventRoom, userId: string, state: StateChain | undefined): Promise<boolean> {
    const key = { type: 'm.room.member', stateKey: userId };
    const skey = (await this.#interner.find({ stateKeys: [key] })).peekStateKey(key.type, key.stateKey);
    const nid = skey === undefined ? undefined : state?.get(skey);
    const event = nid === undefined ? undefined : await this.#loader.one(room, nid);
    return event !== undefined && membershipIn(event.content) === 'join';
  }

  /** For rooms that a user left and rejoined since then: the response continues from what the client knows, instead of starting anew. */
  async resumed(
    userId: string,
    joined: readonly PlannedRoom[],
    since: PositionVector,
  ): Promise<readonly PlannedRoom[]> {
    const returned: PlannedRoom[] = [];
    for (const one of joined) {
      if (one.after > 0) continue;
      const join = await this.#loader.one(one.room, one.member.since);
      if (join?.replaces !== undefined) returned.push(one);
    }
    if (returned.length === 0) return joined;
    const afterOf = (one: PlannedRoom): number => since[one.room.shard] ?? 0;
    const known = await this.#states.at(returned.map((one) => ({ room: one.room.nid, upTo: afterOf(one) })));
    const resumed = new Set<PlannedRoom>();
    for (const one of returned) {
      if (await this.isJoinedIn(one.room, userId, known.get(one.room.nid))) resumed.add(one);
    }
    return joined.map((one) => (resumed.has(one) ? { ...one, isNew: false, after: afterOf(one) } : one));
  }
}
