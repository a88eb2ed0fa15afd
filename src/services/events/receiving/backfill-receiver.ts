import { settleArrivals } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { causalOrder } from '#src/protocol/events/causal-order.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { type IdentifiedPdu, redactionTarget, referencedIds } from '#src/protocol/events/pdu.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { identified } from '#src/services/room-model/event/identified-event.ts';
import type { StateEntries } from '#src/services/events/resolution/state-entries.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import { eventRow, relationLink } from '#src/services/room-model/event/event-row.ts';
import { type EventStanding, relationOf, StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { deltaRowOf } from '#src/services/room-model/state/delta-row.ts';
import type { StateChain, StateChange } from '#src/services/room-model/state/state-chain.ts';
import type { AwaitedRedactionRow, EventRow, MissingPrevRow, StateDeltaRow } from '#src/storage/events/event-rows.ts';
import { writePast } from '#src/storage/events/past-writes.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { LateRedactions } from './late-redactions.ts';
import { BackfillPositions } from './backfill-positions.ts';
import { foreignAuth, judgePast } from './received-verdict.ts';
import { type HeldBack, heldBackRedaction } from './redaction-verdict.ts';
import { isReplaceable, ReceivingTurn, type ReceivingTurnOptions } from './receiving-turn.ts';
import { withoutUnsigned } from '#src/services/room-model/event/stored-json.ts';

export interface BackfillReceiverOptions extends ReceivingTurnOptions {
  readonly interner: Interner;
  readonly stream: RoomEventStream;
  readonly lateRedactions: Pick<LateRedactions, 'await'>;
  readonly clock: Clock;
}

/** What is about to be written. */
interface Batch {
  readonly rows: EventRow[];
  readonly eventIds: string[];
  readonly deltas: StateDeltaRow[];
  readonly chains: StateChain[];
  readonly missing: MissingPrevRow[];
  readonly awaitedRedactions: AwaitedRedactionRow[];
  readonly standings: Map<number, EventStanding>;
  readonly written: PromiseWithResolvers<void>;
}

/**
 * Accepts backfilled events: those from before a room's live history. They are judged by their auth events and by the state before them,
 * get positions before everything that is live, and do not change the room's current state.
 */
export class BackfillReceiver {
  readonly #options: BackfillReceiverOptions;
  readonly #positions: BackfillPositions;

  constructor(options: BackfillReceiverOptions) {
    this.#options = options;
    this.#positions = new BackfillPositions(options.database);
  }

  /**
   * Accepts events. Those whose prev_events are not all here need the state before them to be told; without it they are left out, and so is
   * what comes after them.
   *
   * @param told ids of the state before events; all of them have to be here
   * @returns how many are new in the room's history
   */
  async receive(
    room: Room,
    events: readonly IdentifiedPdu[],
    told: ReadonlyMap<string, readonly string[]>,
  ): Promise<number> {
    const ordered = causalOrder(events, 'prev_events');
    const positions = await this.#positions.take(room.shard, 2 * ordered.length);
    const count = await room.turns.besidesHead(() => this.#receive(room, ordered, told, positions));
    if (count > 0) this.#options.stream.publish({ kind: 'restored', room });
    return count;
  }

  async #receive(
    room: Room,
    events: readonly IdentifiedPdu[],
    told: ReadonlyMap<string, readonly string[]>,
    positions: readonly number[],
  ): Promise<number> {
    let batch = newBatch();
    let count = 0;
    const flush = (): void => {
      const full = batch;
      batch = newBatch();
      count += full.rows.length;
      this.#write(room, full).then(full.written.resolve, full.written.reject);
    };
    const turn = new ReceivingTurn(this.#options, room, flush);
    await turn.lookUp(
      events.flatMap(({ eventId, pdu }) => [
        eventId,
        ...referencedIds(pdu.prev_events),
        ...referencedIds(pdu.auth_events),
        ...(relationOf(pdu.content) === undefined ? [] : [relationOf(pdu.content)?.eventId ?? '']),
        ...(pdu.type === 'm.room.redaction' ? [redactionTarget(room.version, pdu) ?? ''] : []),
      ]),
    );
    for (const [index, event] of events.entries()) {
      const [before = 0, own = 0] = positions.slice(2 * index, 2 * index + 2);
      await this.#accept(turn, event, told.get(event.eventId), { before, own }, () => batch);
    }
    await turn.settle();
    return count;
  }

  async #accept(
    turn: ReceivingTurn,
    incoming: IdentifiedPdu,
    told: readonly string[] | undefined,
    positions: { readonly before: number; readonly own: number },
    batchNow: () => Batch,
  ): Promise<void> {
    const { interner } = this.#options;
    const { room } = turn;
    const { eventId, pdu } = incoming;
    const known = turn.place(eventId);
    if (known !== undefined && !isReplaceable(known)) return;
    const prevIds = referencedIds(pdu.prev_events);
    const authIds = referencedIds(pdu.auth_events);
    const missingPrev = prevIds.filter((id) => {
      const place = turn.place(id);
      return place === undefined || (place.flags & EVENT_FLAGS.outlier) !== 0;
    });
    const isMissing = (id: string): boolean => turn.place(id) === undefined && !turn.isInOtherRoom(id);
    if (authIds.some(isMissing) || (missingPrev.length > 0 && told === undefined)) return;
    const nidsOf = (ids: readonly string[]): number[] => ids.flatMap((id) => turn.place(id)?.nid ?? []);
    const prev = await turn.events(nidsOf(prevIds.filter((id) => !missingPrev.includes(id))));
    const auth = await turn.events(nidsOf(authIds));
    const entries: StateEntries[] = missingPrev.length > 0 && told !== undefined ? [await turn.entriesOf(told)] : [];
    const state = await turn.around.before(room, prev, entries);
    const verdict =
      foreignAuth(turn, incoming) ??
      (await judgePast({ interner, loader: turn.loader }, room, incoming, auth, state, await turn.create()));
    // What others stand on must not fall by a state that another server tells.
    if (known !== undefined && (known.flags & EVENT_FLAGS.rejected) === 0 && !verdict.ok) return;
    const heldBack = verdict.ok && pdu.type === 'm.room.redaction' ? await heldBackIn(turn, incoming) : undefined;
    const relation = relationOf(pdu.content);
    const names = await interner.ensure({
      types: relation === undefined ? [pdu.type] : [pdu.type, relation.relType],
      users: [pdu.sender],
      stateKeys: pdu.state_key === undefined ? [] : [{ type: pdu.type, stateKey: pdu.state_key }],
    });
    // From here on nothing waits: what is added is written together.
    const batch = batchNow();
    const chains: StateChain[] = [];
    const after = (chain: StateChain, nid: number, changes: readonly StateChange[]): StateChain => {
      const next = chain.append(nid, changes);
      chains.push(next);
      batch.deltas.push(deltaRowOf(room.nid, next));
      return next;
    };
    const before = state.toBefore.length === 0 ? state.branch : after(state.branch, positions.before, state.toBefore);
    const nid = known?.nid ?? positions.own;
    const isState = pdu.state_key !== undefined && verdict.ok;
    const skey = pdu.state_key === undefined ? undefined : names.stateKey(pdu.type, pdu.state_key);
    if (isState && skey !== undefined)
      after(before, nid, [{ skey, event: nid, isMember: pdu.type === 'm.room.member' }]);
    const isThreaded = relation?.relType === 'm.thread';
    const flags =
      (isState ? EVENT_FLAGS.state : 0) |
      (verdict.ok ? 0 : EVENT_FLAGS.rejected) |
      (heldBack === undefined ? 0 : EVENT_FLAGS.softFailed) |
      (isThreaded ? EVENT_FLAGS.threaded : 0);
    const parts = {
      room,
      nid,
      topo: pdu.depth,
      eventId,
      state: before.nid,
      flags,
      replaces: isState && skey !== undefined ? before.get(skey) : undefined,
      json: canonicalJson(withoutUnsigned(pdu), 'lenient'),
      pdu,
    };
    batch.eventIds.push(eventId);
    batch.rows.push(
      eventRow(names, parts, {
        prev: prev.map((one) => one.nid),
        auth: auth.map((one) => one.nid),
        relation: relationLink(pdu, (id) => turn.place(id)?.nid),
      }),
    );
    batch.missing.push(...missingPrev.map((id) => ({ room: room.nid, eventId: eventIdBytes(id), referrer: nid })));
    batch.chains.push(...chains);
    const redacted = pdu.type === 'm.room.redaction' && verdict.ok ? redactionTarget(room.version, pdu) : undefined;
    if (redacted !== undefined && turn.place(redacted) === undefined && !turn.isInOtherRoom(redacted))
      batch.awaitedRedactions.push({ room: room.nid, target: eventIdBytes(redacted), redaction: nid });
    const event = new StoredEvent(parts);
    if (known !== undefined) batch.standings.set(nid, { state: before.nid, flags, currentState: undefined });
    turn.queued({ event, chains, members: [], changesMore: false, written: batch.written.promise });
  }

  async #write(room: Room, batch: Batch): Promise<void> {
    const { database, loader, states } = this.#options;
    if (batch.rows.length === 0) return;
    const { awaitedRedactions, deltas, missing, rows } = batch;
    const arrived = { room: room.nid, events: rows.map(({ nid }) => nid) };
    const jobs = [{ ...requestJob(settleArrivals, arrived), createdTs: this.#options.clock.now() }];
    await writePast(database, { events: rows, deltas, missing, awaitedRedactions, jobs });
    if (awaitedRedactions.length > 0) this.#options.lateRedactions.await(room.nid);
    for (const chain of batch.chains) states.remember(chain);
    this.#options.stream.publish({ kind: 'stored', room, eventIds: batch.eventIds });
    if (batch.standings.size === 0) return;
    loader.attachRestored(batch.standings);
    room.attachRestored(batch.standings);
  }
}

/** Whether a redaction is not shown yet. What it names may be on its way as well. */
const heldBackIn = async (turn: ReceivingTurn, incoming: IdentifiedPdu): Promise<HeldBack | undefined> => {
  const { room } = turn;
  const id = redactionTarget(room.version, incoming.pdu);
  const place = id === undefined ? undefined : turn.place(id);
  const [target] = place === undefined ? [] : await turn.events([place.nid]);
  const isInOtherRoom = id !== undefined && turn.isInOtherRoom(id);
  return heldBackRedaction(room, incoming, target === undefined ? undefined : identified(target), isInOtherRoom);
};

const newBatch = (): Batch => ({
  rows: [],
  eventIds: [],
  deltas: [],
  chains: [],
  missing: [],
  awaitedRedactions: [],
  standings: new Map(),
  written: Promise.withResolvers(),
});
