import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Random } from '#src/kernel/random.ts';
import type { Eventually } from '#src/kernel/concurrency/steps.ts';
import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import type { PowerLevels } from '#src/protocol/auth/power-levels.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { buildPdu, type BuiltPdu, type PduSigner } from '#src/protocol/events/build-pdu.ts';
import { stickyUntil } from '#src/protocol/events/sticky.ts';
import { eventReference } from '#src/protocol/events/event-hashes.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { type Member, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { RoomHead } from '#src/services/room-model/room/building-head.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChange } from '#src/services/room-model/state/state-chain.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { EventRow, MemberRow, MentionRow, StateDeltaRow } from '#src/storage/events/event-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Names } from '#src/storage/room-model/names.ts';
import { BuildingNeeds, type LoadedEvents, subjectOf } from './building-needs.ts';
import { deltaRowOf } from '#src/services/room-model/state/delta-row.ts';
import type { EventDraft } from './event-draft.ts';
import { eventRow, relationLink } from '#src/services/room-model/event/event-row.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { basisOf, isStill, newcomers, type PlannedEvents } from './signed-ahead.ts';
import { memberRow } from '#src/services/room-model/room/member-row.ts';
import { flagsOfVerdict, type NotificationClassifier } from './notification-class.ts';
import { type PreparedRedaction, prepareRedaction } from './redacting.ts';
import { relationOf, StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** An event that is ready to be written, and what it changes in the room. */
export interface PreparedEvent {
  readonly event: StoredEvent;
  readonly row: EventRow;
  readonly head: RoomHead;
  readonly change: StateChange | undefined;
  readonly delta: StateDeltaRow | undefined;
  readonly member: Member | undefined;
  readonly memberRow: MemberRow | undefined;
  readonly mentions: readonly MentionRow[];
  readonly redaction: PreparedRedaction | undefined;
  /** Id of the event that it redacts and that is not here yet. */
  readonly awaited: string | undefined;
  /** When it stops being sticky, in milliseconds since the epoch; undefined when it is not sticky, or not any more. */
  readonly stickyUntil: number | undefined;
}

export interface EventBuilderOptions {
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly writer: Writer;
  readonly classifier: NotificationClassifier;
  readonly signer: PduSigner;
  readonly random: Random;
}

/** Thrown inside when something that is needed was not read before: the room moved on in the meantime. */
class NotLoadedError extends Error {}

/** Builds events on a room's head: chooses what they refer to, authorises, hashes, signs, and works out what follows from them. */
export class EventBuilder {
  readonly #needs: BuildingNeeds;
  readonly #writer: Writer;
  readonly #classifier: NotificationClassifier;
  readonly #signer: PduSigner;
  readonly #random: Random;
  #levels: { readonly room: number; readonly from: StoredEvent | undefined; readonly levels: PowerLevels } | undefined;

  constructor(options: EventBuilderOptions) {
    this.#needs = new BuildingNeeds(options);
    this.#writer = options.writer;
    this.#classifier = options.classifier;
    this.#signer = options.signer;
    this.#random = options.random;
  }

  /** Reads what building these events will need. In a room that is in use it is all in memory, and nothing is read. */
  prepare(room: Room, drafts: readonly EventDraft[]): Eventually<LoadedEvents> {
    return this.#needs.read(room, drafts);
  }

  #headEvent(room: Room, type: string, stateKey: string, loaded: LoadedEvents): StoredEvent | undefined {
    const slot = room.headState(type, stateKey);
    if (slot === undefined) return undefined;
    const event = slot.event ?? loaded.byNid.get(slot.nid);
    if (event === undefined) throw new NotLoadedError();
    return event;
  }

  /** The state event that is there already and says the same, by the same sender; undefined when the draft would change something. */
  unchangedState(room: Room, draft: EventDraft | undefined, loaded: LoadedEvents): StoredEvent | undefined {
    if (draft?.stateKey === undefined) return undefined;
    const slot = room.headState(draft.type, draft.stateKey);
    const event = slot?.event ?? (slot === undefined ? undefined : loaded.byNid.get(slot.nid));
    if (event === undefined || event.sender !== draft.sender) return undefined;
    return canonicalJson(event.content, 'lenient') === canonicalJson(draft.content, 'lenient') ? event : undefined;
  }

  /**
   * Builds all the events, or none: on an error the room's head is as it was.
   *
   * @param planned the same events, where they were built before to be signed by another server as well
   * @returns undefined when the room moved on since `prepare`, or so far that the planned events have another place
   * @throws MatrixError M_FORBIDDEN, M_TOO_LARGE, M_BAD_JSON
   */
  build(
    room: Room,
    drafts: readonly EventDraft[],
    loaded: LoadedEvents,
    now: number,
    positionOfEvent: (eventId: string) => number | undefined,
    planned?: PlannedEvents,
  ): readonly PreparedEvent[] | undefined {
    if (planned !== undefined && !isStill(room, planned.basis)) return undefined;
    const restore = room.saveHead();
    const { head, headDepth } = room;
    try {
      if (planned !== undefined) room.moveHead(planned.basis.head, planned.basis.depth);
      const prepared = drafts.map((draft, index) => {
        draft.recheck?.(room);
        const at = planned?.basis.now ?? now;
        return this.#buildOne(room, draft, loaded, at, positionOfEvent, planned?.events[index]);
      });
      return planned === undefined ? prepared : besideOthers(room, prepared, planned, { head, headDepth });
    } catch (error) {
      restore();
      if (error instanceof NotLoadedError) return undefined;
      throw error;
    }
  }

  /**
   * Builds events as `build` will build them, for another server to sign them as well. The room's head is as it was.
   *
   * @returns undefined when the room moved on since `prepare`
   * @throws MatrixError as `build` does
   */
  plan(room: Room, drafts: readonly EventDraft[], loaded: LoadedEvents, now: number): PlannedEvents | undefined {
    const basis = basisOf(room, now);
    const restore = room.saveHead();
    const prepared = this.build(room, drafts, loaded, now, () => undefined);
    restore();
    const events = prepared?.map(({ event, row }) => ({ eventId: event.eventId, pdu: event.pdu, json: row.json }));
    return events === undefined ? undefined : { basis, events };
  }

  #buildOne(
    room: Room,
    draft: EventDraft,
    loaded: LoadedEvents,
    now: number,
    positionOfEvent: (eventId: string) => number | undefined,
    planned?: BuiltPdu,
  ): PreparedEvent {
    const { version } = room;
    const { names } = loaded;
    const subject = subjectOf(draft);
    const authEvents: StoredEvent[] = [];
    for (const [type, stateKey] of authEventKeysFor(version, subject)) {
      const event = this.#headEvent(room, type, stateKey, loaded);
      if (event !== undefined) authEvents.push(event);
    }
    const prevEvents = room.head.extremities.slice(0, 20);
    // Other servers may send any depth: integers end somewhere.
    const topo = Math.min(room.headDepth + 1, Number.MAX_SAFE_INTEGER);
    const own = this.sign(
      version,
      { ...draft, originServerTs: draft.originServerTs ?? now },
      room.roomId,
      prevEvents,
      authEvents,
      topo,
      planned?.eventId,
    );
    // Built on other auth events than those that were read the first time.
    if (planned !== undefined && planned.eventId !== own.eventId) throw new NotLoadedError();
    const built = planned ?? own;
    const levels = draft.type === 'm.room.create' ? undefined : this.#powerLevels(room, loaded);
    const verdict = checkAuth(
      version,
      built,
      (type, stateKey) => this.#headEvent(room, type, stateKey, loaded),
      levels,
    );
    if (!verdict.ok) throw new MatrixError('M_FORBIDDEN', `The room does not allow this event: ${verdict.reason}.`);

    const replaced =
      draft.stateKey === undefined ? undefined : this.#headEvent(room, draft.type, draft.stateKey, loaded);
    const notification = this.#classifier.classify(room, subject);
    const relation = relationOf(draft.content);
    let flags = draft.stateKey === undefined ? 0 : EVENT_FLAGS.state;
    flags |= flagsOfVerdict(notification);
    if (relation?.relType === 'm.thread') flags |= EVENT_FLAGS.threaded;
    // The sender is a remote user: a third-party invite, signed by an identity server, that is redeemed here.
    if (domainOf(draft.sender) !== this.#signer.serverName) flags |= EVENT_FLAGS.sentOn;
    const state = room.head.chain.nid;
    const nid = this.#writer.allocate(room.shard);
    const parts = {
      room,
      nid,
      topo,
      eventId: built.eventId,
      state,
      flags,
      replaces: replaced?.nid,
      delayId: draft.delayId,
      sentBy: draft.sentBy,
      json: built.json,
      pdu: built.pdu,
    };
    const event = new StoredEvent(parts);
    event.previous = replaced;
    const change: StateChange | undefined =
      draft.stateKey === undefined
        ? undefined
        : { skey: names.stateKey(draft.type, draft.stateKey), event: nid, isMember: draft.type === 'm.room.member' };
    room.advanceHead(event, change);
    const row = eventRow(names, parts, {
      prev: prevEvents.map((prev) => prev.nid),
      auth: authEvents.map((auth) => auth.nid),
      relation: relationLink(built.pdu, positionOfEvent),
    });
    const threadRoot = relation?.relType === 'm.thread' && typeof row.rel === 'number' ? row.rel : null;
    const member = this.#memberAfter(room, event, replaced, names);
    const until = stickyUntil(built.pdu, now);
    return {
      event,
      row,
      head: room.head,
      change,
      delta: change === undefined ? undefined : deltaRowOf(room.nid, room.head.chain),
      member,
      memberRow: member === undefined ? undefined : memberRow(room, member),
      mentions: notification.exceptions.map(({ userId, kind }) => ({
        // A state key that has no member yet is the user that the event is about.
        user: room.member(userId)?.user ?? names.user(userId),
        room: room.nid,
        pos: nid,
        thread: threadRoot,
        kind,
      })),
      redaction:
        draft.redacts === undefined
          ? undefined
          : prepareRedaction(room, event, loaded.targets.get(draft.redacts), levels),
      awaited: draft.redacts === undefined || loaded.targets.has(draft.redacts) ? undefined : draft.redacts,
      stickyUntil: until !== undefined && until > now ? until : undefined,
    };
  }

  /**
   * An event on the room's head for another server to complete and sign. Nothing is put on the head.
   *
   * @returns undefined when the room moved on since `prepare`
   * @throws MatrixError M_FORBIDDEN when the authorization rules would refuse it
   */
  template(room: Room, draft: EventDraft, loaded: LoadedEvents, now: number): JsonObject | undefined {
    const { version } = room;
    const subject = subjectOf(draft);
    try {
      const authEvents = authEventKeysFor(version, subject).flatMap(
        ([type, stateKey]) => this.#headEvent(room, type, stateKey, loaded) ?? [],
      );
      const reference = (event: StoredEvent): ReturnType<typeof eventReference> =>
        eventReference(version, event.eventId, event.pdu);
      const pdu = {
        ...subject,
        room_id: room.roomId,
        origin_server_ts: now,
        depth: Math.min(room.headDepth + 1, Number.MAX_SAFE_INTEGER),
        prev_events: room.head.extremities.slice(0, 20).map(reference),
        auth_events: authEvents.map(reference),
      };
      const verdict = checkAuth(
        version,
        { eventId: '', pdu: { ...pdu, hashes: {}, signatures: {} } },
        (type, stateKey) => this.#headEvent(room, type, stateKey, loaded),
        this.#powerLevels(room, loaded),
      );
      if (!verdict.ok) throw new MatrixError('M_FORBIDDEN', `The room does not allow this event: ${verdict.reason}.`);
      return pdu;
    } catch (error) {
      if (error instanceof NotLoadedError) return undefined;
      throw error;
    }
  }

  /** Hashes and signs one event. @param eventId the one that it was given before, in the versions in which it is given one */
  sign(
    version: RoomVersion,
    draft: EventDraft & { readonly originServerTs?: number },
    roomId: string | undefined,
    prevEvents: readonly StoredEvent[],
    authEvents: readonly StoredEvent[],
    depth: number,
    eventId?: string,
  ): BuiltPdu {
    const isCreate = draft.type === 'm.room.create';
    const reference = (event: StoredEvent): ReturnType<typeof eventReference> =>
      eventReference(version, event.eventId, event.pdu);
    return buildPdu(
      version,
      {
        type: draft.type,
        sender: draft.sender,
        content: draft.content,
        originServerTs: draft.originServerTs ?? 0,
        depth,
        prevEvents: prevEvents.map(reference),
        authEvents: authEvents.map(reference),
        ...(roomId === undefined || (isCreate && version.roomIdIsCreateHash) ? {} : { roomId }),
        ...(draft.stateKey === undefined ? {} : { stateKey: draft.stateKey }),
        ...(draft.redacts === undefined ? {} : { redacts: draft.redacts }),
        ...(draft.stickyDurationMs === undefined ? {} : { stickyDurationMs: draft.stickyDurationMs }),
        ...(version.eventIdFormat === 'assigned'
          ? { eventId: eventId ?? `$${this.#random.string(24)}:${this.#signer.serverName}` }
          : {}),
      },
      this.#signer,
    );
  }

  /** Power levels of the head, parsed once for as long as they stay the same. */
  #powerLevels(room: Room, loaded: LoadedEvents): PowerLevels {
    const from = this.#headEvent(room, 'm.room.power_levels', '', loaded);
    if (from === room.stateEvent('m.room.power_levels')) return room.powerLevels();
    if (this.#levels?.room !== room.nid || this.#levels.from !== from)
      this.#levels = { room: room.nid, from, levels: room.parseLevels(from) };
    return this.#levels.levels;
  }

  #memberAfter(room: Room, event: StoredEvent, replaced: StoredEvent | undefined, names: Names): Member | undefined {
    if (event.type !== 'm.room.member' || event.stateKey === undefined) return undefined;
    const userId = event.stateKey;
    const membership = membershipIn(event.content);
    const goesOn = replaced !== undefined && membershipIn(replaced.content) === membership;
    const before = room.member(userId);
    const since = goesOn ? (before?.event === replaced.nid ? before.since : replaced.nid) : event.nid;
    return {
      userId,
      user: names.user(userId),
      membership,
      event: event.nid,
      since,
      local: domainOf(userId) === this.#signer.serverName,
      forgotten: false,
    };
  }
}

/** Events that were planned some time ago, beside the events that have come to the room's head since then. */
const besideOthers = (
  room: Room,
  prepared: readonly PreparedEvent[],
  { basis }: PlannedEvents,
  now: { readonly head: RoomHead; readonly headDepth: number },
): readonly PreparedEvent[] => {
  const last = prepared.at(-1);
  if (last === undefined || now.head === basis.head) return prepared;
  const extremities = [...newcomers(now.head, basis), ...room.head.extremities];
  room.moveHead({ extremities, chain: room.head.chain }, Math.max(room.headDepth, now.headDepth));
  return [...prepared.slice(0, -1), { ...last, head: room.head }];
};
