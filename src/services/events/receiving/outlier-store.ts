import { setImmediate } from 'node:timers/promises';
import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import { checkAuthEventsSelection } from '#src/protocol/auth/auth-events.ts';
import type { AuthVerdict } from '#src/protocol/auth/verdict.ts';
import { causalOrder } from '#src/protocol/events/causal-order.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { createEventIdOf, type IdentifiedPdu, referencedIds } from '#src/protocol/events/pdu.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { identified } from '#src/services/room-model/event/identified-event.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { eventRow } from '#src/services/room-model/event/event-row.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import type { EventRow } from '#src/storage/events/event-rows.ts';
import { writeOutliers } from '#src/storage/events/past-writes.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Reception } from './reception.ts';
import { BackfillPositions } from './backfill-positions.ts';
import { foreignAuth } from './received-verdict.ts';
import { ReceivingTurn, type ReceivingTurnOptions } from './receiving-turn.ts';
import { withoutUnsigned } from '#src/services/room-model/event/stored-json.ts';

/** Outliers that are judged and written together. */
const SLICE = 500;

export interface OutlierStoreOptions extends ReceivingTurnOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly stream: Pick<RoomEventStream, 'publish'>;
}

/** Stores events without their ancestors, judged by their auth events. */
export class OutlierStore {
  readonly #options: OutlierStoreOptions;
  readonly #positions: BackfillPositions;

  constructor(options: OutlierStoreOptions) {
    this.#options = options;
    this.#positions = new BackfillPositions(options.database);
  }

  /** @returns what became of each, by its id */
  async store(room: Room, events: readonly IdentifiedPdu[]): Promise<ReadonlyMap<string, Reception>> {
    const receptions = new Map<string, Reception>();
    // Since v12 no event names m.room.create, and each stands on it.
    const ordered = causalOrder(events, 'auth_events').toSorted((a, b) => Number(isCreate(b)) - Number(isCreate(a)));
    for (let at = 0; at < ordered.length; at += SLICE) {
      if (at > 0) await setImmediate();
      const slice = ordered.slice(at, at + SLICE);
      // What is named by position must not be stored by another caller meanwhile.
      await room.turns.besidesHead(() => this.#storeSlice(room, slice, receptions));
    }
    return receptions;
  }

  async #storeSlice(room: Room, events: readonly IdentifiedPdu[], receptions: Map<string, Reception>): Promise<void> {
    const { interner } = this.#options;
    const turn = new ReceivingTurn(this.#options, room);
    const createId = room.version.roomIdIsCreateHash ? createEventIdOf(room.roomId) : undefined;
    await turn.lookUp([
      ...events.flatMap(({ eventId, pdu }) => [eventId, ...referencedIds(pdu.auth_events)]),
      ...(createId === undefined ? [] : [createId]),
    ]);
    const own = new Set(events.map(({ eventId }) => eventId));
    const named = [...new Set(events.flatMap(({ pdu }) => referencedIds(pdu.auth_events))), createId ?? ''];
    const here = named.flatMap((id) => (own.has(id) ? [] : (turn.place(id)?.nid ?? [])));
    const judged = new Map<string, IdentifiedPdu>();
    for (const event of await turn.events(here)) judged.set(event.eventId, identified(event));
    for (const event of await turn.events(events.flatMap(({ eventId }) => turn.place(eventId)?.nid ?? [])))
      judged.set(event.eventId, identified(event));
    const fresh: { readonly event: IdentifiedPdu; readonly verdict: AuthVerdict }[] = [];
    for (const event of events) {
      if (turn.place(event.eventId) !== undefined) {
        receptions.set(event.eventId, { outcome: 'known' });
        continue;
      }
      if (receptions.has(event.eventId)) continue;
      const missing = referencedIds(event.pdu.auth_events).filter((id) => !judged.has(id) && !turn.isInOtherRoom(id));
      if (missing.length > 0) {
        receptions.set(event.eventId, { outcome: 'missing', ids: missing });
        continue;
      }
      const verdict = foreignAuth(turn, event) ?? judgeOutlier(room, event, judged, createId);
      judged.set(event.eventId, { ...event, rejected: !verdict.ok });
      fresh.push({ event, verdict });
    }
    if (fresh.length === 0) return;
    const names = await interner.ensure({
      types: fresh.map(({ event: { pdu } }) => pdu.type),
      users: fresh.map(({ event: { pdu } }) => pdu.sender),
      stateKeys: fresh.flatMap(({ event: { pdu } }) =>
        pdu.state_key === undefined ? [] : [{ type: pdu.type, stateKey: pdu.state_key }],
      ),
    });
    const nids = await this.#positions.take(room.shard, fresh.length);
    const nidOf = new Map(fresh.map(({ event }, index) => [event.eventId, nids[index] ?? 0]));
    const rows: EventRow[] = [];
    for (const { event, verdict } of fresh) {
      const { eventId, pdu } = event;
      const parts = {
        room,
        nid: nidOf.get(eventId) ?? 0,
        topo: pdu.depth,
        eventId,
        state: 0,
        flags: EVENT_FLAGS.outlier | (verdict.ok ? 0 : EVENT_FLAGS.rejected),
        replaces: undefined,
        json: canonicalJson(withoutUnsigned(pdu), 'lenient'),
        pdu,
      };
      const auth = referencedIds(pdu.auth_events).flatMap((id) => nidOf.get(id) ?? turn.place(id)?.nid ?? []);
      rows.push(eventRow(names, parts, { prev: [], auth, relation: { rel: undefined, relType: undefined } }));
      const stored = new StoredEvent(parts);
      receptions.set(
        eventId,
        verdict.ok
          ? { outcome: 'accepted', event: stored }
          : { outcome: 'rejected', event: stored, reason: verdict.reason },
      );
    }
    await writeOutliers(this.#options.database, rows);
    this.#options.stream.publish({ kind: 'stored', room, eventIds: fresh.map(({ event }) => event.eventId) });
  }
}

const isCreate = ({ pdu }: IdentifiedPdu): boolean => pdu.type === 'm.room.create' && pdu.state_key === '';

/** "Passes authorization rules based on the event's auth events, otherwise it is rejected." */
const judgeOutlier = (
  room: Room,
  event: IdentifiedPdu,
  known: ReadonlyMap<string, IdentifiedPdu>,
  createId: string | undefined,
): AuthVerdict => {
  const { version } = room;
  const auth = referencedIds(event.pdu.auth_events).flatMap((id) => known.get(id) ?? []);
  const selection = checkAuthEventsSelection(version, event, auth);
  if (!selection.ok) return selection;
  return checkAuth(version, event, (type, stateKey) => {
    const named = auth.find(({ pdu }) => pdu.type === type && pdu.state_key === stateKey);
    // Since v12 the room's id stands for its m.room.create.
    const implied = type === 'm.room.create' && createId !== undefined ? known.get(createId) : undefined;
    return named ?? implied;
  });
};
