import { setImmediate } from 'node:timers/promises';
import { listRoomMembers, settleCompletion } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { type IdentifiedPdu, referencedIds } from '#src/protocol/events/pdu.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import { checkAgainst } from '#src/services/events/resolution/state-check.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { MAX_EXTREMITIES } from '#src/services/room-model/room/building-head.ts';
import { memberRow } from '#src/services/room-model/room/member-row.ts';
import { type Member, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { PartialState } from '#src/services/room-model/room/partial-state.ts';
import type { StateSlot } from '#src/services/room-model/room/current-state.ts';
import type { ResolvedChanges } from '#src/services/room-model/room/resolved-changes.ts';
import { tailRowOf } from '#src/services/room-model/room/tail-row.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Database } from '#src/storage/database.ts';
import type { RebasedDeltaRow } from '#src/storage/events/event-rows.ts';
import { eventsSince, lineageBetween, stateRowsSince } from '#src/storage/federation/partial-rooms.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import type { JoinAnswer } from '#src/services/federation/room-import/join-answer-reader.ts';
import { BadAnswerError } from '#src/services/federation/room-import/join-answer-splitter.ts';
import type { MemberRowWriter } from '#src/services/federation/room-import/member-row-writer.ts';
import type { AnsweredEntries, AnsweredEvents } from '#src/services/federation/room-import/answered-events.ts';
import { StateRebase } from './state-rebase.ts';

/** Events that are judged again, and rows of states that are looked at, without a pause. */
const BATCH_SIZE = 200;
/** Servers that are sent devices because they turned out to be in a room; others get them with the next change. */
const MAX_SENT_TO = 1_000;

export interface RoomCompletionOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly states: StateStore;
  readonly writer: Writer;
  readonly stream: RoomEventStream;
  readonly events: EventService;
  readonly answered: AnsweredEvents;
  readonly members: MemberRowWriter;
}

/** The result of judging again what was accepted since the join. */
interface Judged {
  /** Up to where events have been judged. */
  upTo: number;
  readonly rejected: Set<number>;
  /** State events among them, with what stands in their place; 0 for nothing. */
  readonly replaced: Map<number, number>;
}

/**
 * Completes a partially joined room once its full state is known. All states since the join get the missing memberships, and
 * events that were accepted since by provisional state are judged again. Server-Server API, "Checks performed on receipt of a PDU".
 */
export class RoomCompletion {
  readonly #options: RoomCompletionOptions;

  constructor(options: RoomCompletionOptions) {
    this.#options = options;
  }

  /**
   * @param answer the state before the join
   * @throws BadAnswerError when it contradicts the answer of the join
   */
  async complete(room: Room, join: StoredEvent, answer: JoinAnswer): Promise<void> {
    const { answered, states, writer } = this.#options;
    const { partial } = room;
    if (partial === undefined) return;
    await answered.store(room, join.eventId, answer.events);
    const entries = await answered.entriesOf(room, join.eventId, answer);
    const before = await states.get(partial.state);
    const nids = new Map(entries.map(({ nid, skey }) => [skey, nid]));
    if ([...before.others().keys].some((skey) => !nids.has(skey)))
      throw new BadAnswerError('The state lacks what the state that was told with the join had.');
    const members = await this.#membersOf(room, partial, entries);
    await this.#options.members.write(room, members, (member) => isNews(room, member));
    const memberEvents = new Map(
      entries.flatMap(({ member, nid, skey }) => (member === undefined ? [] : [[skey, nid] as const])),
    );
    const judged: Judged = { upTo: partial.join, rejected: new Set(), replaced: new Map() };
    const base = new StateRebase(before, memberEvents, judged.replaced);
    await this.#judge(room, base, judged);
    await room.turns.exclusively(async () => {
      while (room.isAhead) await writer.nextBatch();
      if (room.partial !== partial) return;
      await this.#judge(room, base, judged);
      await this.#write(room, partial, base, judged, members);
    });
  }

  /** All members in the full state, and provisional members who are not in it. */
  async #membersOf(room: Room, { join }: PartialState, entries: AnsweredEntries): Promise<readonly Member[]> {
    const { answered, events } = this.#options;
    const names = await answered.namesOf(entries);
    const inState = new Set(entries.map(({ member }) => member?.userId));
    const believed = [...room.members.values()].filter(
      ({ event, local, userId }) => event !== 0 && event < join && !local && !inState.has(userId),
    );
    const members = entries.flatMap(({ member, nid }): Member[] => {
      if (member === undefined) return [];
      const { membership, userId } = member;
      const local = events.isLocal(userId);
      const forgotten = room.member(userId)?.forgotten === true;
      return [{ userId, user: names.user(userId), membership, event: nid, since: 0, local, forgotten }];
    });
    return [...members, ...believed.map((member): Member => ({ ...member, membership: 'leave', event: 0 }))];
  }

  /** Judges the events since the join by the full state before it. */
  async #judge(room: Room, base: StateRebase, judged: Judged): Promise<void> {
    const { database, loader, states } = this.#options;
    for (;;) {
      const nids = await eventsSince(database, room.nid, judged.upTo, BATCH_SIZE);
      if (nids.length === 0) return;
      const events = await loader.load(nids.map((nid) => ({ room, nid })));
      const chains = await states.load([...events.values()].map(({ state }) => state));
      for (const nid of nids) {
        const event = events.get(nid);
        const chain = event === undefined ? undefined : chains.get(event.state);
        if (event !== undefined && chain !== undefined) {
          await this.#judgeOne(room, event, (skey) => base.entry(chain, skey), judged);
        }
        judged.upTo = nid;
      }
      await setImmediate();
    }
  }

  async #judgeOne(
    room: Room,
    event: StoredEvent,
    entry: (skey: number) => number | undefined,
    judged: Judged,
  ): Promise<void> {
    const { interner, loader } = this.#options;
    const incoming: IdentifiedPdu = { eventId: event.eventId, pdu: event.pdu };
    const isByRejected = await this.#isByRejected(room, event, judged);
    const verdict = isByRejected ? { ok: false } : await checkAgainst({ interner, loader }, room, incoming, entry);
    if (verdict.ok) return;
    judged.rejected.add(event.nid);
    const { stateKey, type } = event;
    if (stateKey === undefined || (event.flags & EVENT_FLAGS.state) === 0) return;
    const skey = (await interner.find({ stateKeys: [{ type, stateKey }] })).stateKey(type, stateKey);
    judged.replaced.set(event.nid, entry(skey) ?? 0);
  }

  /** "An event with a rejected auth event is itself rejected." */
  async #isByRejected(room: Room, { pdu }: StoredEvent, { rejected }: Judged): Promise<boolean> {
    if (rejected.size === 0) return false;
    const { loader } = this.#options;
    const ids = new Set(referencedIds(pdu.auth_events));
    const events = await loader.load([...rejected].map((nid) => ({ room, nid })));
    return [...events.values()].some(({ eventId }) => ids.has(eventId));
  }

  /** Writes all of it in one commit. What has to be read is read first: positions are given out and queued in one turn. */
  async #write(
    room: Room,
    partial: PartialState,
    rebase: StateRebase,
    judged: Judged,
    members: readonly Member[],
  ): Promise<void> {
    const { events, loader, states, stream, writer } = this.#options;
    const { rebased, stateIds } = await this.#rows(room, partial, rebase);
    const extremities = await this.#extremities(room, partial, judged.rejected);
    const head = { extremities, chain: rebase.chain(room.head.chain) };
    const changes = await this.#changes(room, judged);
    const joined = members.filter(({ membership }) => membership === 'join');
    const heard = new Set(room.remoteServers());
    const unheard = new Set([
      ...serversOf(joined).filter((server) => !partial.servers.has(server)),
      // Users who were kicked or banned by an event that is rejected now.
      ...serversOf(changes.members.filter(({ membership }) => membership === 'join')).filter(
        (server) => !heard.has(server),
      ),
    ]);
    const position = writer.allocate(room.shard);
    const lost = changes.members.map((member) => ({ ...member, since: position }));
    await writer.append({
      positions: [position],
      events: {
        events: [],
        rebased,
        rejections: [...judged.rejected].map((nid) => ({ room: room.nid, nid })),
        members: lost.map((member) => memberRow(room, member)),
        jobs: events.jobsAfter(
          {
            room,
            state: [...changes.state.values()].flatMap((slot) => slot?.event ?? []),
            members: lost.map(({ userId, local, membership: after }) => {
              return { userId, local, before: room.member(userId)?.membership, after };
            }),
            redacted: [],
          },
          [
            requestJob(listRoomMembers, { room: room.nid }),
            requestJob(settleCompletion, {
              room: room.nid,
              after: partial.join,
              servers: [...unheard].slice(0, MAX_SENT_TO),
            }),
          ],
        ),
        partials: [
          {
            room: room.nid,
            state: null,
            join: partial.join,
            via: partial.via,
            servers: '[]',
            before: '[]',
            fullPos: position,
          },
        ],
        tails: [tailRowOf(room, head, room.headDepth, position)],
      },
      publish: () => {
        states.forget(stateIds);
        states.remember(head.chain);
        for (const nid of judged.rejected) loader.peek(nid)?.reject();
        room.applyFull(position, head, { ...changes, members: lost }, judged.rejected);
        const servers = [...unheard].filter((server) => room.hasServer(server));
        stream.publish({ kind: 'completed', room, servers, join: partial.join });
      },
    });
  }

  /**
   * The forward extremities without those that are rejected now: in their place their prev events, where nothing else comes after them. Other
   * servers do not get rejected events, and could not receive an event that is built on one.
   */
  async #extremities(
    room: Room,
    { join }: PartialState,
    rejected: ReadonlySet<number>,
  ): Promise<readonly StoredEvent[]> {
    const { database, loader } = this.#options;
    const { extremities } = room.head;
    if (!extremities.some(({ nid }) => rejected.has(nid))) return extremities;
    const newest: number[] = [];
    const superseded = new Set<number>();
    for (let before = Number.MAX_SAFE_INTEGER; ;) {
      const rows = await lineageBetween(database, room.nid, { from: join, before, limit: BATCH_SIZE });
      for (const { flags, nid, prev } of rows) {
        const isHidden = rejected.has(nid) || (flags & (EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed)) !== 0;
        if (!isHidden && !superseded.has(nid)) newest.push(nid);
        // An event after a rejected one gets the prev_events of that one instead.
        if (!isHidden || superseded.has(nid)) for (const earlier of prev) superseded.add(earlier);
      }
      if (rows.length < BATCH_SIZE) break;
      before = rows.at(-1)?.nid ?? 0;
      await setImmediate();
    }
    const events = await loader.load(newest.slice(0, MAX_EXTREMITIES).map((nid) => ({ room, nid })));
    return [...events.values()];
  }

  async #rows(
    room: Room,
    { state: from }: PartialState,
    rebase: StateRebase,
  ): Promise<{ readonly rebased: readonly RebasedDeltaRow[]; readonly stateIds: readonly number[] }> {
    const rebased: RebasedDeltaRow[] = [];
    const stateIds: number[] = [];
    for (let after = 0; ;) {
      const rows = await stateRowsSince(this.#options.database, room.nid, { from, after, limit: BATCH_SIZE });
      for (const row of rows) {
        stateIds.push(row.nid);
        const changed = rebase.row(row);
        if (changed !== undefined) rebased.push(changed);
      }
      if (rows.length < BATCH_SIZE) return { rebased, stateIds };
      after = rows.at(-1)?.nid ?? 0;
      await setImmediate();
    }
  }

  /** The entries of the present state that rejected events set: they become again what they were before. */
  async #changes(room: Room, { replaced }: Judged): Promise<ResolvedChanges> {
    const { events, interner, loader } = this.#options;
    const state = new Map<string, StateSlot | undefined>();
    const members: Member[] = [];
    const lost = await loader.load([...replaced.keys()].map((nid) => ({ room, nid })));
    for (const { nid, stateKey = '', type } of lost.values()) {
      let now = nid;
      for (let next = replaced.get(now); next !== undefined; next = replaced.get(now)) now = next;
      const event = now === 0 ? undefined : await loader.one(room, now);
      const key = stateMapKey(type, stateKey);
      if (type !== MEMBER && room.state.get(key)?.event.nid === nid) {
        const skey = room.state.get(key)?.skey ?? 0;
        state.set(key, event === undefined ? undefined : { skey, event });
      }
      const member = type === MEMBER ? room.member(stateKey) : undefined;
      if (member?.event !== nid) continue;
      const names = await interner.ensure({ users: [stateKey] });
      members.push({
        userId: stateKey,
        user: names.user(stateKey),
        membership: event === undefined ? 'leave' : membershipIn(event.content),
        event: event?.nid ?? 0,
        since: 0,
        local: events.isLocal(stateKey),
        forgotten: false,
      });
    }
    return { state, members };
  }
}

/** The other servers of members. */
const serversOf = (members: readonly Member[]): readonly string[] =>
  members.flatMap(({ local, userId }) => (local ? [] : (domainOf(userId) ?? [])));

/** Whether no event since the join has set a user's membership. */
const isNews = (room: Room, { event, userId }: Member): boolean => {
  const known = room.headState(MEMBER, userId)?.nid ?? 0;
  return known < (room.partial?.join ?? 0) && known !== event;
};
