import type { JobRequest } from '#src/jobs/job-definition.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import type { StrippedStateEvent } from '#src/protocol/events/stripped-state.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import { flagsOfVerdict, type NotificationClassifier } from '#src/services/events/building/notification-class.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { eventRow, relationLink } from '#src/services/room-model/event/event-row.ts';
import { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { memberRow } from '#src/services/room-model/room/member-row.ts';
import { tailRow } from '#src/services/room-model/room/tail-row.ts';
import { isPending, type Member, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { receivedRoomStateKey } from '#src/services/rooms/membership/stripped-room.ts';
import type { Database } from '#src/storage/database.ts';
import { positionsById } from '#src/storage/room-model/event-positions.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { UnjoinedRooms } from './unjoined-rooms.ts';

/** An out-of-band membership: of a local user in a room that this server is not in. */
export interface OutOfBandMembership {
  readonly roomId: string;
  readonly version: RoomVersion;
  readonly event: IdentifiedPdu;
  /** Stripped state of the room; empty for a leave. */
  readonly state: readonly StrippedStateEvent[];
  /** Jobs that are committed with it. */
  readonly jobs?: readonly JobRequest[];
}

export interface OutOfBandMembershipsOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly unjoinedRooms: UnjoinedRooms;
  readonly writer: Writer;
  readonly stream: RoomEventStream;
  readonly events: EventService;
  readonly classifier: NotificationClassifier;
}

/**
 * Stores out-of-band memberships: invites to, knocks at, and the end of both in rooms that this server is not in. Their events are outliers,
 * each with the stripped state that came with it; sync shows them to the user. Whether the room's history has accepted them is known once
 * the server joins the room.
 */
export class OutOfBandMemberships {
  readonly #options: OutOfBandMembershipsOptions;

  constructor(options: OutOfBandMembershipsOptions) {
    this.#options = options;
  }

  /**
   * Stores a membership and shows it to its user. The same event once more changes nothing.
   *
   * @returns undefined when this server has joined the room meanwhile: the event comes with its history
   */
  async store(membership: OutOfBandMembership): Promise<StoredEvent | undefined> {
    const room = await this.#room(membership);
    return room.turns.exclusively(async () => {
      while (room.isAhead) await this.#options.writer.nextBatch();
      return room.isResident ? undefined : this.#write(room, membership);
    });
  }

  /** The sender of a present membership. */
  async senderOf(room: Room, member: Member): Promise<string | undefined> {
    return (await this.eventOf(room, member))?.sender;
  }

  /** The event of a membership, with its stripped state. */
  async eventOf(room: Room, member: Member): Promise<StoredEvent | undefined> {
    return member.event === 0 ? undefined : this.#options.loader.one(room, member.event);
  }

  #room({ roomId, version, event, state }: OutOfBandMembership): Promise<Room> {
    const create = state.find(({ type, state_key: key }) => type === 'm.room.create' && key === '');
    return this.#options.unjoinedRooms.ensure({
      roomId,
      version,
      creator: create?.sender ?? event.pdu.sender,
      roomType: create?.content['type'],
    });
  }

  async #write(room: Room, { event: incoming, state, jobs }: OutOfBandMembership): Promise<StoredEvent> {
    const { classifier, database, events, interner, loader, stream, writer } = this.#options;
    const { pdu, eventId } = incoming;
    const userId = pdu.state_key ?? '';
    const before = room.member(userId);
    const known = (await positionsById(database, [eventIdBytes(eventId)])).find((place) => place.room === room.nid);
    const present = known === undefined ? undefined : await loader.one(room, known.nid);
    if (present !== undefined && before?.event === present.nid) return present;
    const previous = before === undefined ? undefined : await loader.one(room, before.event);
    const names = await interner.ensure({
      types: [pdu.type],
      users: [pdu.sender, userId],
      stateKeys: [{ type: pdu.type, stateKey: userId }],
    });
    await classifier.prepare(room, [pdu]);
    const pos = writer.allocate(room.shard);
    const notification = classifier.classify(room, pdu);
    const parts = {
      room,
      nid: pos,
      topo: pdu.depth,
      eventId,
      state: 0,
      flags: EVENT_FLAGS.outlier | EVENT_FLAGS.outOfBand | flagsOfVerdict(notification),
      replaces: previous?.nid,
      json: canonicalJson(withStrippedState(pdu, state), 'lenient'),
      pdu: withStrippedState(pdu, state),
    };
    const event = present ?? new StoredEvent(parts);
    if (present === undefined) event.previous = previous;
    const membership = membershipIn(pdu.content);
    const after: Member = {
      userId,
      user: names.user(userId),
      membership,
      event: event.nid,
      since: before?.membership === membership ? before.since : pos,
      local: true,
      forgotten: false,
    };
    const mentions = notification.exceptions.map(({ userId: concerned, kind }) => ({
      user: room.member(concerned)?.user ?? names.user(concerned),
      room: room.nid,
      pos: event.nid,
      thread: null,
      kind,
    }));
    await writer.append({
      positions: [pos],
      events: {
        isReceived: true,
        events:
          present === undefined
            ? [eventRow(names, parts, { prev: [], auth: [], relation: relationLink({ content: {} }) })]
            : [],
        members: [memberRow(room, after)],
        mentions: present === undefined ? mentions : [],
        jobs: events.jobsAfter(
          {
            room,
            state: [],
            members: [{ userId, local: true, before: before?.membership, after: membership }],
            redacted: [],
          },
          jobs,
        ),
        tails: [tailRow(room, pos)],
      },
      publish: () => {
        room.applyOutOfBand(pos, after);
        loader.remember(event);
        stream.publish({ kind: 'appended', room, events: [{ event, member: { before, after }, mentions }] });
      },
    });
    return event;
  }
}

/** The event with the stripped state in `unsigned`, as clients get it. Nothing else of its `unsigned` is kept. */
const withStrippedState = (pdu: Pdu, state: readonly StrippedStateEvent[]): Pdu => {
  const { unsigned: _unsigned, ...rest } = pdu;
  const membership = membershipIn(pdu.content);
  return (isPending(membership) ? { ...rest, unsigned: { [receivedRoomStateKey(membership)]: state } } : rest) as Pdu;
};
