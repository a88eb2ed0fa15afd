import { setImmediate } from 'node:timers/promises';
import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { createEventIdOf, referencedIds } from '#src/protocol/events/pdu.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import { eventIdBytes, eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { stateEntriesById } from '#src/storage/room-model/state-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Names } from '#src/storage/room-model/names.ts';
import type { AnsweredEvent, AnsweredState, JoinAnswer } from './join-answer-reader.ts';

/** Outliers that are parsed and stored together. */
const OUTLIERS_AT_ONCE = 500;
/** Names and positions that are asked for in one statement. */
const NAMES_AT_ONCE = 5_000;

/** The position of a state event of the answer, and the user whose membership it is. */
export interface AnsweredEntry {
  readonly nid: number;
  readonly skey: number;
  readonly member: AnsweredState['member'];
}
export type AnsweredEntries = readonly AnsweredEntry[];

export interface AnsweredEventsOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly receiver: EventReceiver;
}

/**
 * Events that another server's answer consists of, once they are here: stores them as outliers, a few hundred at a time, and finds the
 * positions and names of the state that the answer tells.
 */
export class AnsweredEvents {
  readonly #options: AnsweredEventsOptions;

  constructor(options: AnsweredEventsOptions) {
    this.#options = options;
  }

  /** Stores what an answer consists of, in an order in which each event comes after those that authorise it. */
  async store(room: Room, joinId: string, events: ReadonlyMap<string, AnsweredEvent>): Promise<void> {
    const create = room.version.roomIdIsCreateHash ? events.get(createEventIdOf(room.roomId)) : undefined;
    // Since v12 no event names m.room.create, and each stands on it.
    const ordered = authFirst(create === undefined ? events : new Map([[create.eventId, create], ...events])).filter(
      ({ eventId }) => eventId !== joinId,
    );
    for (let at = 0; at < ordered.length; at += OUTLIERS_AT_ONCE) {
      const slice = ordered.slice(at, at + OUTLIERS_AT_ONCE).map(({ eventId, json }): IdentifiedPdu => {
        return { eventId, pdu: JSON.parse(json.toString('utf8')) as Pdu };
      });
      await this.#options.receiver.storeOutliers(room, slice);
      await setImmediate();
    }
  }

  /** Positions of the accepted state of the answer: what its auth events do not allow is left out. */
  async entriesOf(room: Room, joinId: string, { state }: Pick<JoinAnswer, 'state'>): Promise<AnsweredEntries> {
    const told = new Map<string, AnsweredState>();
    for (const one of state.values()) if (one.eventId !== joinId) told.set(one.eventId, one);
    const entries: AnsweredEntry[] = [];
    const ids = [...told.keys()];
    for (let at = 0; at < ids.length; at += NAMES_AT_ONCE) {
      const bytes = ids.slice(at, at + NAMES_AT_ONCE).map(eventIdBytes);
      for (const { event_id: id, nid, skey } of await stateEntriesById(this.#options.database, room.nid, bytes)) {
        const member = told.get(eventIdText(room.version, id))?.member;
        entries.push({ nid, skey, member });
      }
    }
    return entries;
  }

  /**
   * Of memberships that were left out, those on which the join stands are what it names as such: its user's invite, or ban, and who authorised
   * it. Omitted events may already be stored here.
   */
  async withClaimed(
    room: Room,
    version: RoomVersion,
    { pdu }: IdentifiedPdu,
    { events, state }: JoinAnswer,
  ): Promise<Pick<JoinAnswer, 'state'>> {
    const { loader } = this.#options;
    const wanted = new Set(
      authEventKeysFor(version, pdu).flatMap(([type, stateKey]) => (type === MEMBER ? [stateKey] : [])),
    );
    const claimed = new Map(state);
    for (const eventId of referencedIds(pdu.auth_events)) {
      const event = events.get(eventId);
      const named =
        event === undefined
          ? (await loader.byId(room, eventId))?.pdu
          : (JSON.parse(event.json.toString('utf8')) as Pdu);
      const { content, state_key: userId, type } = named ?? ({} as Partial<Pdu>);
      if (type !== MEMBER || content === undefined || userId === undefined || !wanted.has(userId)) continue;
      const key = stateMapKey(type, userId);
      if (!claimed.has(key)) claimed.set(key, { eventId, member: { userId, membership: membershipIn(content) } });
    }
    return { state: claimed };
  }

  /** The names in some entries, and that of a user who joins. */
  async namesOf(entries: AnsweredEntries, joining?: string): Promise<Names> {
    const { interner } = this.#options;
    const users = joining === undefined ? [] : [joining];
    const stateKeys = users.map((stateKey) => ({ type: MEMBER, stateKey }));
    const names = await interner.ensure({ types: [MEMBER], users, stateKeys });
    for (let at = 0; at < entries.length; at += NAMES_AT_ONCE) {
      const some = entries.slice(at, at + NAMES_AT_ONCE).flatMap(({ member }) => member?.userId ?? []);
      names.with(await interner.ensure({ users: some }));
    }
    const others = entries.filter(({ member }) => member === undefined).map(({ skey }) => skey);
    return names.with(await interner.named({ stateKeys: others }));
  }
}

/** Events in an order in which each comes after its auth events. Those that name each other in a circle come last. */
const authFirst = (events: ReadonlyMap<string, AnsweredEvent>): readonly AnsweredEvent[] => {
  const ordered = new Map<string, AnsweredEvent>();
  const begun = new Set<string>();
  for (const first of events.keys()) {
    const path = [first];
    while (path.length > 0) {
      const id = path.at(-1) ?? '';
      const event = events.get(id);
      const before = event === undefined || begun.has(id) ? [] : event.auth.filter((one) => !begun.has(one));
      begun.add(id);
      const known = before.filter((one) => events.has(one));
      if (known.length > 0) path.push(...known);
      else {
        path.pop();
        if (event !== undefined) ordered.set(id, event);
      }
    }
  }
  return [...ordered.values()];
};
