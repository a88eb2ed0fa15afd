import { moveToSuccessor, shareDevices } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { referencedIds } from '#src/protocol/events/pdu.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { isServerName } from '#src/protocol/identifiers/server-name.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import { checkAgainst } from '#src/services/events/resolution/state-check.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { MemberChange, RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { eventRow, relationLink } from '#src/services/room-model/event/event-row.ts';
import { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { PartialState } from '#src/services/room-model/room/partial-state.ts';
import { memberRow } from '#src/services/room-model/room/member-row.ts';
import { type Member, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { StateSlot } from '#src/services/room-model/room/current-state.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { deltaRowOf } from '#src/services/room-model/state/delta-row.ts';
import { StateChain, type StateChange } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Database } from '#src/storage/database.ts';
import type { JobRow } from '#src/storage/events/event-rows.ts';
import type { PartialRoomRow } from '#src/storage/events/event-rows.ts';
import { settleOutOfBandEvent, settleUnjoinedRoom } from '#src/storage/federation/unjoined-rooms.ts';
import { positionsById } from '#src/storage/room-model/event-positions.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { Names } from '#src/storage/room-model/names.ts';
import type { JoinAnswer } from './join-answer-reader.ts';
import { BadAnswerError } from './join-answer-splitter.ts';
import type { MemberRowWriter } from './member-row-writer.ts';
import { roomTypeOf } from '#src/services/federation/out-of-band/unjoined-rooms.ts';
import type { AnsweredEntries, AnsweredEvents } from './answered-events.ts';

const CREATE = stateMapKey('m.room.create', '');

export interface RoomImportOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly states: StateStore;
  readonly writer: Writer;
  readonly stream: RoomEventStream;
  readonly events: EventService;
  readonly answered: AnsweredEvents;
  readonly members: MemberRowWriter;
  readonly serverName: string;
  /** How large the state of a room may be beside memberships: it is held in memory, and read as a whole. */
  readonly maxStateBytes: number;
}

/** The state of the response, by position. */
interface ToldState {
  readonly changes: readonly StateChange[];
  readonly slots: ReadonlyMap<string, StateSlot>;
  readonly members: readonly Member[];
}

/**
 * Imports a room from the answer of `send_join`. State and auth chain are stored as outliers first, a few hundred at
 * a time, and so are memberships; they become the room's state in the commit of the join, or not at all. What an interrupted import stored is found by the next one.
 */
export class RoomImport {
  readonly #options: RoomImportOptions;

  constructor(options: RoomImportOptions) {
    this.#options = options;
  }

  /**
   * @param via the server that answered
   * @returns the join; undefined when a user of this server came into the room meanwhile
   * @throws BadAnswerError when the join is not allowed by the state of the answer
   * @throws MatrixError M_RESOURCE_LIMIT_EXCEEDED when the room is too large for this server; M_FORBIDDEN when the user is banned from it
   */
  async import(
    room: Room,
    version: RoomVersion,
    join: IdentifiedPdu,
    answer: JoinAnswer,
    via: string,
  ): Promise<StoredEvent | undefined> {
    const { answered } = this.#options;
    await this.#settleRoom(room, version, answer);
    await answered.store(room, join.eventId, answer.events);
    const told = answer.membersOmitted ? await answered.withClaimed(room, version, join, answer) : answer;
    const entries = await answered.entriesOf(room, join.eventId, told);
    const names = await answered.namesOf(entries, join.pdu.state_key ?? '');
    await this.#settleInvites(room, answer);
    return room.turns.exclusively(async () => {
      while (room.isAhead) await this.#options.writer.nextBatch();
      if (room.isResident) return undefined;
      const missing = answer.membersOmitted ? { via, servers: [...new Set([via, ...answer.servers])] } : undefined;
      return this.#write(room, join, await this.#told(room, entries, names), names, missing);
    });
  }

  /** Sets version, creator and type of the room: an invite may not have had all of them. */
  async #settleRoom(room: Room, version: RoomVersion, { events, state }: JoinAnswer): Promise<void> {
    const { database, interner } = this.#options;
    const create = events.get(state.get(CREATE)?.eventId ?? '');
    if (create === undefined) throw new BadAnswerError('The state has no valid m.room.create.');
    let bytes = 0;
    for (const { eventId, member } of state.values())
      if (member === undefined) bytes += events.get(eventId)?.json.length ?? 0;
    if (bytes > this.#options.maxStateBytes)
      // Other servers would give the same response.
      throw new MatrixError(
        'M_RESOURCE_LIMIT_EXCEEDED',
        `The state of the room has ${bytes} bytes beside memberships: more than this server can show its users.`,
      );
    const { content, sender } = JSON.parse(create.json.toString('utf8')) as Pdu;
    const roomType = roomTypeOf(content['type']);
    await settleUnjoinedRoom(database, room.nid, {
      version: version.id,
      creator: await interner.userNid(sender),
      roomType,
    });
    room.identify(version, roomType ?? undefined);
  }

  /** Invites that were stored out of band are events of the room from now on. */
  async #settleInvites(room: Room, { events }: JoinAnswer): Promise<void> {
    const { database, loader } = this.#options;
    const local = [...room.members.values()].filter((member) => member.local && member.event > 0);
    const stored = await loader.load(local.map(({ event: nid }) => ({ room, nid })));
    for (const { eventId, flags, nid } of stored.values()) {
      const told = (flags & EVENT_FLAGS.outOfBand) === 0 ? undefined : events.get(eventId);
      if (told === undefined) continue;
      const json = canonicalJson(JSON.parse(told.json.toString('utf8')), 'lenient');
      await settleOutOfBandEvent(database, { room: room.nid, nid, json, auth: told.auth.map(eventIdBytes) });
      loader.removePurged(new Set([nid]), new Set());
    }
  }

  async #told(room: Room, entries: AnsweredEntries, names: Names): Promise<ToldState> {
    const { events, loader } = this.#options;
    const slots = new Map<string, StateSlot>();
    const others = entries.filter(({ member }) => member === undefined);
    const loaded = await loader.load(others.map(({ nid }) => ({ room, nid })));
    for (const { nid, skey } of others) {
      const event = loaded.get(nid);
      const { type, stateKey } = names.stateKeyNames(skey);
      if (event !== undefined) slots.set(stateMapKey(type, stateKey), { skey, event });
    }
    const members: Member[] = [];
    const isTold = new Set<string>();
    for (const { member, nid } of entries) {
      if (member === undefined) continue;
      const { membership, userId } = member;
      isTold.add(userId);
      const before = room.member(userId);
      const local = events.isLocal(userId);
      members.push({
        userId,
        user: names.user(userId),
        membership,
        event: nid,
        since: 0,
        local,
        forgotten: before?.membership === membership && before.forgotten,
      });
    }
    // Users with a membership in what this server had of the room, and none in what it is now.
    for (const member of room.members.values())
      if (!isTold.has(member.userId) && member.event !== 0)
        members.push({ ...member, membership: 'leave', event: 0, since: 0 });
    const changes = entries.map(({ member, nid, skey }) => ({ skey, event: nid, isMember: member !== undefined }));
    return { changes, slots, members };
  }

  /** Writes the join together with the room's state. What has to be read is read first: positions are given out and queued in one turn. */
  async #write(
    room: Room,
    join: IdentifiedPdu,
    told: ToldState,
    names: Names,
    missing: { readonly via: string; readonly servers: readonly string[] } | undefined,
  ): Promise<StoredEvent> {
    const { database, loader, members: ahead, states, stream, writer } = this.#options;
    const { eventId, pdu } = join;
    const userId = pdu.state_key ?? '';
    const entries = new Map(told.changes.map(({ skey, event }) => [skey, event]));
    const skey = names.stateKey(MEMBER, userId);
    const previous = await this.#replacedBy(room, join, entries, skey);
    const places = await positionsById(database, referencedIds(pdu.auth_events).map(eventIdBytes));
    const auth = places.filter((place) => place.room === room.nid).map((place) => place.nid);
    const [ours, others] = [true, false].map((wanted) => told.members.filter(({ local }) => local === wanted));
    // They are not visible before the room is here. In one statement with the join, so many would hold up all other writes.
    await ahead.write(room, others ?? []);

    const statePos = writer.allocate(room.shard);
    const nid = writer.allocate(room.shard);
    const before = StateChain.EMPTY.append(statePos, told.changes);
    const after = before.append(nid, [{ skey, event: nid, isMember: true }]);
    const parts = {
      room,
      nid,
      topo: pdu.depth,
      eventId,
      state: statePos,
      flags: EVENT_FLAGS.state | EVENT_FLAGS.afterGap,
      replaces: entries.get(skey),
      json: canonicalJson(withoutUnsigned(pdu), 'lenient'),
      pdu,
    };
    const event = new StoredEvent(parts);
    event.previous = previous;
    const joined: Member = {
      userId,
      user: names.user(userId),
      membership: membershipIn(pdu.content),
      event: nid,
      since: nid,
      local: true,
      forgotten: false,
    };
    const members = (ours ?? [])
      .filter((member) => member.userId !== userId)
      .map((member) => ({ ...member, since: nid }));
    const change: MemberChange = { before: room.member(userId), after: joined };
    const changes = members.map((member): MemberChange => ({ before: room.member(member.userId), after: member }));
    const prevIds = referencedIds(pdu.prev_events);
    const partial = missing && {
      state: statePos,
      join: nid,
      via: missing.via,
      servers: this.#serversIn(missing.servers),
      before: new Set(prevIds),
    };
    const head = { extremities: [event], chain: after };
    await writer.append({
      positions: [statePos, nid],
      events: {
        isReceived: true,
        events: [eventRow(names, parts, { prev: [], auth, relation: relationLink({ content: {} }) })],
        deltas: [deltaRowOf(room.nid, before), deltaRowOf(room.nid, after)],
        members: [...members, joined].map((member) => memberRow(room, member)),
        missing: prevIds.map((id) => ({
          room: room.nid,
          eventId: eventIdBytes(id),
          referrer: nid,
        })),
        jobs: this.#jobsAfter(room, userId, [change, ...changes], told),
        partials: partialRowsOf(room, partial),
        tails: [{ room: room.nid, extremities: [nid], state: after.nid, depth: pdu.depth, lastPos: nid }],
      },
      publish: () => {
        states.remember(before);
        states.remember(after);
        room.applyImport(event, head, told.slots, [...members, joined], partial);
        loader.remember(event);
        stream.publish({
          kind: 'appended',
          room,
          events: [{ event, member: change, mentions: [] }],
          resolvedMembers: changes,
        });
      },
    });
    return event;
  }

  /**
   * The membership that the join replaces.
   *
   * @throws BadAnswerError when the state that was told does not allow the join
   * @throws MatrixError M_FORBIDDEN when the user is banned
   */
  async #replacedBy(
    room: Room,
    join: IdentifiedPdu,
    entries: ReadonlyMap<number, number>,
    skey: number,
  ): Promise<StoredEvent | undefined> {
    const verdict = await checkAgainst(this.#options, room, join, (key) => entries.get(key));
    const replaced = entries.get(skey);
    const previous = replaced === undefined ? undefined : await this.#options.loader.one(room, replaced);
    if (verdict.ok) return previous;
    // The server that answered does not know of the ban, but the user gets the reason.
    if (previous !== undefined && membershipIn(previous.content) === 'ban')
      throw new MatrixError('M_FORBIDDEN', 'You are banned from this room.');
    throw new BadAnswerError(`The join is not allowed by the state that was told: ${verdict.reason}.`);
  }

  #jobsAfter(room: Room, userId: string, changes: readonly MemberChange[], told: ToldState): readonly JobRow[] {
    return this.#options.events.jobsAfter(
      {
        room,
        // Unchanged membership: no reactions.
        state: [],
        members: changes.map(({ before, after: { local, membership, userId: whose } }) => {
          return { userId: whose, local, before: before?.membership, after: membership };
        }),
        redacted: [],
      },
      [
        // Where members are known before the join is, it is asked for by what follows the join.
        ...(room.remoteServers().length === 0 ? [requestJob(shareDevices, { room: room.nid, userId })] : []),
        ...(hasPredecessor(told) ? [requestJob(moveToSuccessor, { room: room.nid, userId })] : []),
      ],
    );
  }

  #serversIn(told: readonly string[]): ReadonlySet<string> {
    const { serverName } = this.#options;
    return new Set(told.filter((server) => server !== serverName && isServerName(server)).slice(0, MAX_SERVERS));
  }
}

/** Servers that an answer may name. */
export const MAX_SERVERS = 20_000;

/** Whether the room says that it is the successor of another one: the user's settings for that one are carried over to this one. */
const hasPredecessor = ({ slots }: ToldState): boolean => isJsonObject(slots.get(CREATE)?.event.content['predecessor']);

/** The rows of a partial state, also of an earlier one of the room. */
const partialRowsOf = (room: Room, partial: PartialState | undefined): readonly PartialRoomRow[] => {
  if (partial !== undefined) return [partialRowOf(room.nid, partial)];
  const wasPartial = room.partial !== undefined || room.fullSince > 0;
  return wasPartial ? [{ room: room.nid, state: null, join: 0, via: '', servers: '[]', before: '[]', fullPos: 0 }] : [];
};

const partialRowOf = (room: number, { before, join, servers, state, via }: PartialState): PartialRoomRow => ({
  room,
  state,
  join,
  via,
  servers: JSON.stringify([...servers]),
  before: JSON.stringify([...before]),
  fullPos: 0,
});

const withoutUnsigned = (pdu: Pdu): Pdu => {
  const { unsigned: _unsigned, ...rest } = pdu;
  return rest as Pdu;
};
