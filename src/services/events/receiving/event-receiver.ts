import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '#src/kernel/clock.ts';
import { type IdentifiedPdu, redactionTarget, referencedIds } from '#src/protocol/events/pdu.ts';
import { stickyUntil } from '#src/protocol/events/sticky.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChange } from '#src/services/room-model/state/state-chain.ts';
import type { StateMerger } from '#src/services/events/resolution/state-merger.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import { positionsById } from '#src/storage/room-model/event-reads.ts';
import type { Interner, Names } from '#src/storage/room-model/interner.ts';
import { eventIdBytes, eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { NotificationClassifier } from '#src/services/events/building/notification-class.ts';
import { MOST_EXTREMITIES, OWN_EVENT, type ReceivedPlan, writeReceived } from './received-plan.ts';
import { ReceivedStates, type StateBefore } from './received-state.ts';
import { judgeReceived, type Verdict } from './received-verdict.ts';
import { prepareRedaction } from '#src/services/events/building/redacting.ts';
import { relationOf, type StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** What became of an event that was not made here. */
export type Reception =
  | { readonly outcome: 'accepted'; readonly event: StoredEvent }
  | { readonly outcome: 'soft-failed' | 'rejected'; readonly event: StoredEvent; readonly reason: string }
  | { readonly outcome: 'known' }
  /** The room's server ACL denies the server that sent it. Nothing was stored. */
  | { readonly outcome: 'denied'; readonly reason: string }
  /**
   * Events that it names are not here, or the state at one that it comes after is not: they have to be fetched first. Nothing was
   * stored.
   */
  | { readonly outcome: 'missing'; readonly ids: readonly string[] };

export interface EventReceiverOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly states: StateStore;
  readonly merger: StateMerger;
  readonly writer: Writer;
  readonly stream: RoomEventStream;
  readonly classifier: NotificationClassifier;
  readonly events: EventService;
  readonly clock: Clock;
}

/**
 * Accepts remote events: they may lie on forks of the room's history. Format, hashes and signatures have been
 * checked by then. Server-Server API, "Checks performed on receipt of a PDU".
 */
export class EventReceiver {
  readonly #options: EventReceiverOptions;
  readonly #around: ReceivedStates;

  constructor(options: EventReceiverOptions) {
    this.#options = options;
    this.#around = new ReceivedStates(options);
  }

  /**
   * Accepts one event. Meanwhile nothing is built on the room's head.
   *
   * @param origin the server that sent it of its own accord (not always the one where it was made): "ACLs MUST be applied to all PDUs on a
   *   per-PDU basis". Server-Server API, "Server Access Control Lists". Undefined for what was asked for.
   */
  receive(room: Room, incoming: IdentifiedPdu, origin?: string): Promise<Reception> {
    return room.turns.exclusively(async () => {
      while (room.isAhead) await this.#options.writer.nextBatch();
      if (origin !== undefined && !room.allowsServer(origin)) {
        return { outcome: 'denied', reason: `The server ACL of the room denies ${origin}.` };
      }
      return this.#receive(room, incoming);
    });
  }

  async #receive(room: Room, incoming: IdentifiedPdu): Promise<Reception> {
    const { pdu } = incoming;
    const prevIds = referencedIds(pdu.prev_events);
    const authIds = referencedIds(pdu.auth_events);
    const relation = relationOf(pdu.content);
    const root = relation?.relType === 'm.thread' ? relation.eventId : undefined;
    const places = await this.#places([
      incoming.eventId,
      ...prevIds,
      ...authIds,
      ...(root === undefined ? [] : [root]),
    ]);
    const positions = positionsIn(room, places);
    if (positions.has(incoming.eventId)) return { outcome: 'known' };
    const missing = [...new Set([...prevIds, ...authIds])].filter((id) => !positions.has(id));
    if (missing.length > 0) return { outcome: 'missing', ids: missing };
    const prev = await this.#load(
      room,
      prevIds.map((id) => positions.get(id) ?? 0),
    );
    // The state at an outlier is not known here, and without it none after it: the history before it is gone, or never came.
    const outliers = prev.filter((event) => (event.flags & EVENT_FLAGS.outlier) !== 0);
    if (outliers.length > 0) return { outcome: 'missing', ids: outliers.map((event) => event.eventId) };
    const auth = await this.#load(
      room,
      authIds.map((id) => positions.get(id) ?? 0),
    );
    const names = await this.#names(incoming);

    const before = await this.#around.before(room, prev);
    const verdict = await judgeReceived(this.#options, room, incoming, auth, before);
    const isThreaded = root !== undefined && !isElsewhere(room, places, root);
    const plan = await this.#plan(room, { incoming, names, prev, auth, before, verdict, isThreaded });
    const event = await writeReceived(this.#options, room, plan);
    return verdict.kind === 'accepted'
      ? { outcome: 'accepted', event }
      : { outcome: verdict.kind, event, reason: verdict.reason };
  }

  /** Works out what the event does to the room. Everything that has to be read is read here. */
  async #plan(room: Room, { incoming, names, prev, auth, before, verdict, isThreaded }: Judged): Promise<ReceivedPlan> {
    const { classifier, interner, loader } = this.#options;
    const { pdu } = incoming;
    const isAccepted = verdict.kind === 'accepted';
    const own: StateChange | undefined =
      pdu.state_key === undefined || verdict.kind === 'rejected'
        ? undefined
        : {
            skey: names.stateKey(pdu.type, pdu.state_key),
            event: OWN_EVENT,
            isMember: pdu.type === 'm.room.member',
          };
    const superseded = isAccepted ? await this.#superseded(room, prev) : new Set<number>();
    const others = room.head.extremities.filter((event) => !superseded.has(event.nid)).slice(1 - MOST_EXTREMITIES);
    const { changes, isAfterEvent } = isAccepted
      ? await this.#around.afterwards(room, { incoming, auth, before, own }, others)
      : { changes: [], isAfterEvent: false };
    const replacedNid = own === undefined ? undefined : before.get(own.skey);
    const loaded = await this.#stateEvents(room, [...changes.map((change) => change.event), replacedNid ?? 0]);
    const targetId = isAccepted && pdu.type === 'm.room.redaction' ? redactionTarget(room.version, pdu) : undefined;
    const target = targetId === undefined ? undefined : await loader.byId(room, targetId);
    names.with(await interner.named({ stateKeys: changes.map((change) => change.skey) }));
    const members = changes.filter((change) => change.isMember);
    names.with(await interner.ensure({ users: members.map(({ skey }) => names.stateKeyNames(skey).stateKey) }));
    await classifier.prepare(room, isAccepted ? [pdu] : []);
    let flags = own === undefined ? 0 : EVENT_FLAGS.state;
    if (verdict.kind === 'rejected') flags |= EVENT_FLAGS.rejected;
    if (verdict.kind === 'soft-failed') flags |= EVENT_FLAGS.softFailed;
    if (isThreaded) flags |= EVENT_FLAGS.threaded;
    return {
      incoming,
      names,
      json: canonicalJson(withoutUnsigned(pdu), 'lenient'),
      flags,
      isAccepted,
      prev,
      auth,
      replaced: replacedNid === undefined ? undefined : loaded.get(replacedNid),
      branch: before.branch,
      toBefore: before.toBefore,
      own,
      others,
      changes,
      isAfterEvent,
      stateEvent: (nid) => loaded.get(nid),
      redaction: (event) => prepareRedaction(room, event, target, room.powerLevels()),
      stickyUntil: await this.#stickyUntil(room, pdu, verdict),
    };
  }

  /** When the event stops being sticky, if it is now. Of one sender only so many stick in a room: what comes beyond is an ordinary event. */
  async #stickyUntil(room: Room, pdu: IdentifiedPdu['pdu'], verdict: Verdict): Promise<number | undefined> {
    const now = this.#options.clock.now();
    const until = stickyUntil(pdu, now);
    if (until === undefined || until <= now || verdict.kind === 'rejected') return undefined;
    // State that is soft-failed gets its chance by state resolution.
    if (verdict.kind === 'soft-failed' && pdu.state_key !== undefined) return undefined;
    return (await this.#options.events.sticky.isFull(room, pdu.sender)) ? undefined : until;
  }

  async #positions(room: Room, ids: readonly string[]): Promise<Map<string, number>> {
    return positionsIn(room, await this.#places(ids));
  }

  #places(ids: readonly string[]): Promise<readonly Place[]> {
    return positionsById(this.#options.database, ids.map(eventIdBytes));
  }

  async #load(room: Room, nids: readonly number[]): Promise<StoredEvent[]> {
    const head = new Map(room.head.extremities.map((event) => [event.nid, event]));
    const loaded = await this.#options.loader.load(nids.map((nid) => ({ room, nid })));
    return nids.map((nid) => head.get(nid) ?? loaded.get(nid)).filter((event) => event !== undefined);
  }

  /**
   * The forward extremities that an event with these prev_events takes the place of. Soft-failed and rejected events are none
   * themselves: what comes after one comes after what that one was built on.
   */
  async #superseded(room: Room, prev: readonly StoredEvent[]): Promise<ReadonlySet<number>> {
    const found = new Set(prev.map((event) => event.nid));
    let hidden = prev.filter(isHidden);
    for (let step = 0; step < HIDDEN_STEPS && hidden.length > 0; step++) {
      const positions = await this.#positions(
        room,
        hidden.flatMap((event) => referencedIds(event.pdu.prev_events)),
      );
      const earlier = await this.#load(
        room,
        [...positions.values()].filter((nid) => !found.has(nid)),
      );
      for (const event of earlier) found.add(event.nid);
      hidden = earlier.filter(isHidden);
    }
    return found;
  }

  /** State events, read and parsed a few at a time: a large fork must not hold other requests up. */
  async #stateEvents(room: Room, nids: readonly number[]): Promise<Map<number, StoredEvent>> {
    const found = new Map<number, StoredEvent>();
    const stored = nids.filter((nid) => nid !== OWN_EVENT && nid !== 0);
    for (let at = 0; at < stored.length; at += SLICE) {
      if (at > 0) await setImmediate();
      const places = stored.slice(at, at + SLICE).map((nid) => ({ room, nid }));
      for (const [nid, event] of await this.#options.loader.load(places))
        if (event.pdu !== undefined) found.set(nid, event);
    }
    return found;
  }

  #names({ pdu: { content, sender, state_key: stateKey, type } }: IdentifiedPdu): Promise<Names> {
    const relation = relationOf(content);
    return this.#options.interner.ensure({
      types: relation === undefined ? [type] : [type, relation.relType],
      users: [sender],
      stateKeys: stateKey === undefined ? [] : [{ type, stateKey }],
    });
  }
}

/** State events that are accepted without a pause. */
const SLICE = 250;

/** How far back a run of soft-failed and rejected events is followed. */
const HIDDEN_STEPS = 20;

type Place = Awaited<ReturnType<typeof positionsById>>[number];

/** Events of other rooms are as good as unknown: naming them is an error, and they are never served from here. */
const positionsIn = (room: Room, places: readonly Place[]): Map<string, number> => {
  const own = places.filter((place) => place.room === room.nid);
  return new Map(own.map((place) => [eventIdText(room.version, place.event_id), place.nid]));
};

/** Whether an event is known to be in another room. What is in no room yet may come to this one. */
const isElsewhere = (room: Room, places: readonly Place[], eventId: string): boolean => {
  const id = eventIdBytes(eventId);
  return places.some((place) => place.room !== room.nid && place.event_id.equals(id));
};

const isHidden = (event: StoredEvent): boolean => (event.flags & (EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed)) !== 0;

interface Judged {
  readonly incoming: IdentifiedPdu;
  readonly names: Names;
  readonly prev: readonly StoredEvent[];
  readonly auth: readonly StoredEvent[];
  readonly before: StateBefore;
  readonly verdict: Verdict;
  /** It is a reply in a thread of this room, as far as is known. */
  readonly isThreaded: boolean;
}

const withoutUnsigned = (pdu: IdentifiedPdu['pdu']): IdentifiedPdu['pdu'] => {
  const { unsigned: _unsigned, ...rest } = pdu;
  return rest as IdentifiedPdu['pdu'];
};
