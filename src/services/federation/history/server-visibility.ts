import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import {
  type HistoryVisibility,
  mayServerSee,
  parseHistoryVisibility,
} from '#src/protocol/visibility/history-visibility.ts';
import { HISTORY_VISIBILITY, MEMBER } from '#src/protocol/events/event-types.ts';
import type { ErasedSenders } from '#src/services/reading/visibility/erased-senders.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';

export interface ServerVisibilityOptions {
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly states: StateStore;
  readonly erased: ErasedSenders;
}

/** Users of a server whose memberships are looked at: those who are joined now come first. */
export const MAX_USERS = 500;

/** Decides which events other servers may see. Server-Server API, "Backfilling and retrieving missing events"; Client-Server API, "Room History Visibility". */
export class ServerVisibility {
  readonly #options: ServerVisibilityOptions;

  constructor(options: ServerVisibilityOptions) {
    this.#options = options;
  }

  /** The PDUs of events as a server of the room gets them, as JSON text: what it may not see as redacted copies. */
  async texts(room: Room, serverName: string, events: readonly StoredEvent[]): Promise<string[]> {
    const hidden = await this.#hidden(room, serverName, events);
    return events.map((event) => (hidden.has(event.nid) ? event.redactedCopy().json : event.json));
  }

  /** Whether a server may see an event. */
  async maySee(room: Room, serverName: string, event: StoredEvent): Promise<boolean> {
    return (await this.#hidden(room, serverName, [event])).size === 0;
  }

  /** Positions of those events that the server may not see. */
  async #hidden(room: Room, serverName: string, events: readonly StoredEvent[]): Promise<ReadonlySet<number>> {
    const { erased, interner, loader, states } = this.#options;
    const names = await interner.find({ stateKeys: [{ type: HISTORY_VISIBILITY, stateKey: '' }] });
    const visibilityKey = names.peekStateKey(HISTORY_VISIBILITY, '');
    const chains = await states.load(events.flatMap(({ state, stateAfter }) => [state, stateAfter]));
    const entryOf = (chain: StateChain | undefined): number | undefined =>
      visibilityKey === undefined ? undefined : chain?.get(visibilityKey);
    const around = events.map((event) => [chains.get(event.state), chains.get(event.stateAfter)] as const);
    const rules = await loader.load(
      around.flatMap((both) => both.flatMap((chain) => entryOf(chain) ?? [])).map((nid) => ({ room, nid })),
    );
    const visibilityIn = (chain: StateChain | undefined): HistoryVisibility =>
      parseHistoryVisibility(rules.get(entryOf(chain) ?? Number.NaN)?.content);
    const questions = events.map((event, index) => {
      const visibilities = (around[index] ?? []).map(visibilityIn);
      const isErased = erased.has(event.sender) && event.stateKey === undefined;
      return { event, chains: around[index] ?? [], visibilities: isErased ? ['joined' as const] : visibilities };
    });
    const unsure = questions.filter(({ visibilities }) => !mayServerSee({ visibilities, memberships: [] }));
    if (unsure.length === 0) return new Set();
    const memberships = await this.#memberships(
      room,
      serverName,
      unsure.flatMap((one) => one.chains),
    );
    const hidden = new Set<number>();
    const { partial } = room;
    for (const { event, chains: both, visibilities } of unsure) {
      // It has been in the room since before the join: of its users nothing is known yet.
      if (partial?.servers.has(serverName) === true && event.nid >= partial.join) continue;
      const held = both.flatMap((chain) => memberships.get(chain) ?? []);
      if (!mayServerSee({ visibilities, memberships: held })) hidden.add(event.nid);
    }
    return hidden;
  }

  /** The memberships of a server's users in states. */
  async #memberships(
    room: Room,
    serverName: string,
    chains: readonly (StateChain | undefined)[],
  ): Promise<ReadonlyMap<StateChain | undefined, readonly string[]>> {
    const { interner, loader } = this.#options;
    const users = [...room.members.values()]
      .filter(({ userId }) => domainOf(userId) === serverName)
      .sort((a, b) => Number(b.membership === 'join') - Number(a.membership === 'join'))
      .slice(0, MAX_USERS);
    const names = await interner.find({ stateKeys: users.map(({ userId }) => ({ type: MEMBER, stateKey: userId })) });
    const keys = users.flatMap(({ userId }) => names.peekStateKey(MEMBER, userId) ?? []);
    const entries = new Map(
      [...new Set(chains)].map((chain) => [chain, keys.flatMap((key) => chain?.get(key) ?? [])] as const),
    );
    const events = await loader.load([...new Set([...entries.values()].flat())].map((nid) => ({ room, nid })));
    return new Map(
      [...entries].map(([chain, nids]) => [
        chain,
        nids.flatMap((nid) => {
          const event = events.get(nid);
          return event === undefined ? [] : [membershipIn(event.content)];
        }),
      ]),
    );
  }
}
