import type { Clock } from '#src/kernel/clock.ts';
import { RecentMap } from '#src/kernel/caches/recent-map.ts';
import { isPromise } from '#src/kernel/concurrency/steps.ts';
import { timeForMore } from '#src/kernel/event-loop/work.ts';
import { settleArrivals } from '#src/jobs/definitions.ts';
import { type JobRequest, requestJob } from '#src/jobs/job-definition.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import type { BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import { BuiltOnFailedWriteError, type Writer } from '#src/services/commit/writer.ts';
import type { LoadedEvents } from '#src/services/events/building/building-needs.ts';
import type { EventBuilder, PreparedEvent } from '#src/services/events/building/event-builder.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { FollowUps } from '#src/services/events/building/follow-ups.ts';
import type { NewRoomRows } from '#src/services/events/building/new-room.ts';
import { stepOf, writeOf } from '#src/services/events/building/prepared-write.ts';
import type { PlannedEvents } from '#src/services/events/building/signed-ahead.ts';
import type { PolicyServers } from '#src/services/events/policy/policy-servers.ts';
import type { RoomPolicy } from '#src/services/events/policy/room-policy.ts';
import type { StickyEvents } from '#src/services/events/sticky/sticky-events.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { EventWrite } from '#src/storage/events/event-rows.ts';
import type { RoomEventStream } from './room-event-stream.ts';

/** How often an event is built again when the room's head changed meanwhile. */
export const BUILD_ATTEMPTS = 100;
/** How often a policy server is asked to sign the same when the state of the room changes meanwhile. */
const SIGNING_ATTEMPTS = 10;
const RETRY_AFTER_MS = 1_000;

export interface EventPipelineOptions {
  readonly loader: EventLoader;
  readonly rooms: RoomRegistry;
  readonly writer: Writer;
  readonly stream: RoomEventStream;
  readonly builder: EventBuilder;
  readonly followUps: FollowUps;
  readonly sticky: StickyEvents;
  readonly clock: Clock;
  /** Asks policy servers for their signatures. Left out: no room uses one. */
  readonly policies?: Pick<PolicyServers, 'inLine' | 'mayConcern' | 'policyFor' | 'signed'>;
  /** Redactions that wait for what they redact. */
  readonly onAwaitedRedaction?: (roomNid: number) => void;
}

/** Events that were built before they are written, since a policy server or the moderation tool is asked about them. */
interface PresignedEvents extends PlannedEvents {
  /** The policy server that has signed them, if one had to. */
  readonly policy?: RoomPolicy;
}

/**
 * Takes drafts of local events through the steps to a committed event: checks that others make (moderation tool, policy server), building on the
 * room's head, the write, publishing.
 */
export class EventPipeline {
  readonly #loader: EventLoader;
  readonly #rooms: RoomRegistry;
  readonly #writer: Writer;
  readonly #stream: RoomEventStream;
  readonly #builder: EventBuilder;
  readonly #followUps: FollowUps;
  readonly #sticky: StickyEvents;
  readonly #clock: Clock;
  readonly #policies: EventPipelineOptions['policies'];
  readonly #onAwaitedRedaction: ((roomNid: number) => void) | undefined;
  /** Where events made lately are, by their ids: what a relation may point at before it can be read from the database. */
  readonly #positions = new RecentMap<string, { readonly room: number; readonly nid: number }>(
    'event_positions',
    20_000,
  );

  constructor(options: EventPipelineOptions) {
    this.#loader = options.loader;
    this.#rooms = options.rooms;
    this.#writer = options.writer;
    this.#stream = options.stream;
    this.#builder = options.builder;
    this.#followUps = options.followUps;
    this.#sticky = options.sticky;
    this.#clock = options.clock;
    this.#policies = options.policies;
    this.#onAwaitedRedaction = options.onAwaitedRedaction;
  }

  /**
   * Makes events of drafts, all of them in one commit or none.
   *
   * @param transaction the key of the transaction id under which they are sent
   * @param extra rows that are written with them, for a new room
   */
  create(
    room: Room,
    drafts: readonly EventDraft[],
    transaction?: string,
    extra?: NewRoomRows,
  ): Promise<readonly StoredEvent[]> {
    this.#writer.assertAccepting();
    return drafts.some(({ stickyDurationMs }) => stickyDurationMs !== undefined)
      ? this.#createSticky(room, drafts, transaction, extra)
      : this.#createAdmitted(room, drafts, transaction, extra);
  }

  async #createSticky(
    room: Room,
    drafts: readonly EventDraft[],
    transaction: string | undefined,
    extra: NewRoomRows | undefined,
  ): Promise<readonly StoredEvent[]> {
    const release = await this.#sticky.admit(room, drafts);
    try {
      return await this.#createAdmitted(room, drafts, transaction, extra);
    } finally {
      release();
    }
  }

  #createAdmitted(
    room: Room,
    drafts: readonly EventDraft[],
    transaction: string | undefined,
    extra: NewRoomRows | undefined,
  ): Promise<readonly StoredEvent[]> {
    const policies = this.#policies;
    return policies?.mayConcern(room) === true
      ? policies.inLine(room, () => this.#createInLine(room, drafts, transaction, extra))
      : this.#createInLine(room, drafts, transaction, extra);
  }

  async #createInLine(
    room: Room,
    wanted: readonly EventDraft[],
    transaction: string | undefined,
    extra: NewRoomRows | undefined,
  ): Promise<readonly StoredEvent[]> {
    let drafts = wanted;
    for (let attempt = 0; ; attempt++) {
      const policy = this.#policyFor(room, drafts);
      if (policy !== undefined && attempt >= SIGNING_ATTEMPTS)
        throw limitExceeded(
          'policy server',
          RETRY_AFTER_MS,
          'The state of the room changes faster than its policy server signs.',
        );
      const hasChecks = drafts.some(isUnchecked);
      const planned = policy === undefined && !hasChecks ? undefined : await this.#planAhead(room, drafts);
      if (planned !== undefined && hasChecks) {
        await Promise.all(drafts.map(({ check }, index) => this.#check(room, check, planned.events[index])));
        drafts = drafts.map((draft) => ({ ...draft, check: undefined }));
      }
      const ahead =
        planned === undefined || policy === undefined ? planned : await this.#signAhead(room, policy, planned);
      // While remote events are accepted, all senders wait in line.
      const queued = room.turns.isTaken
        ? await room.turns.exclusively(() => this.#queue(room, drafts, true, transaction, extra, ahead))
        : await this.#queue(room, drafts, false, transaction, extra, ahead);
      if (queued === undefined) {
        if (attempt >= BUILD_ATTEMPTS)
          throw new Error(`the state of ${room.roomId} changes faster than it can be read`);
        continue;
      }
      try {
        const events = await queued.written;
        if (events !== undefined) return events;
      } catch (error) {
        if (!(error instanceof BuiltOnFailedWriteError) || attempt >= BUILD_ATTEMPTS) throw error;
      }
    }
  }

  /** The policy server that has to sign one of these. Rooms without one pay a look into their state. */
  #policyFor(room: Room, drafts: readonly EventDraft[]): RoomPolicy | undefined {
    const policies = this.#policies;
    return policies?.mayConcern(room) === true ? policies.policyFor(room, drafts) : undefined;
  }

  /**
   * Builds the events before they are written, so that others can be asked about them. The room is not locked meanwhile.
   *
   * @returns undefined when the room's head changed, or when they are state that is there already
   */
  async #planAhead(room: Room, drafts: readonly EventDraft[]): Promise<PlannedEvents | undefined> {
    const plan = async (): Promise<PlannedEvents | undefined> => {
      const loaded = await this.#builder.prepare(room, drafts);
      if (drafts.length === 1 && this.#builder.unchangedState(room, drafts[0], loaded) !== undefined) return undefined;
      return this.#builder.plan(room, drafts, loaded, this.#clock.now());
    };
    return room.turns.isTaken ? room.turns.exclusively(plan) : plan();
  }

  async #check(room: Room, check: EventDraft['check'], event: BuiltPdu | undefined): Promise<void> {
    if (event !== undefined) await check?.(event, room.roomId);
  }

  /** Has the room's policy server sign the events, before they are sent to any server. */
  async #signAhead(
    room: Room,
    policy: RoomPolicy,
    { events: planned, basis }: PlannedEvents,
  ): Promise<PresignedEvents> {
    const events: BuiltPdu[] = [];
    for (const event of planned) events.push((await this.#policies?.signed(room, event)) ?? event);
    return { basis, events, policy };
  }

  /**
   * Builds the events on the room's head and queues them for writing. What has to be read first is read before: building itself
   * is one turn of the event loop, so that nothing comes between an event and the head that it is built on.
   *
   * @param isInLine whether the caller has the room for itself
   * @param ahead the events, where they were built before, and as the room's policy server has signed them
   * @returns undefined when the room's head changed meanwhile; otherwise what resolves to the events once they are written, or to
   *   undefined when another request has just written the same
   */
  async #queue(
    room: Room,
    drafts: readonly EventDraft[],
    isInLine: boolean,
    transaction: string | undefined,
    extra: NewRoomRows | undefined,
    ahead: PresignedEvents | undefined,
  ): Promise<{ readonly written: Promise<readonly StoredEvent[] | undefined> } | undefined> {
    const preparing = this.#builder.prepare(room, drafts);
    let loaded: LoadedEvents;
    if (isPromise(preparing)) {
      loaded = await preparing;
      // All who need the same resume at once when it has been read.
      const turn = timeForMore();
      if (turn !== undefined) await turn;
    } else loaded = preparing;
    const unchanged = drafts.length === 1 ? this.#builder.unchangedState(room, drafts[0], loaded) : undefined;
    if (unchanged !== undefined) {
      const isWritten = unchanged.nid <= this.#writer.committedIn(room.shard);
      // Another request is just writing it. It is there when it is committed, and not before.
      return { written: isWritten ? Promise.resolve([unchanged]) : this.#writer.nextBatch().then(() => undefined) };
    }
    if ((room.turns.isTaken && !isInLine) || drafts.some(isUnchecked)) return undefined;
    // Another policy server than the one that was asked, if one was, has to sign them now.
    if (this.#policyFor(room, drafts)?.id !== ahead?.policy?.id) return undefined;
    const positionOf = (id: string): number | undefined => {
      const known = this.#positions.get(id);
      return known?.room === room.nid ? known.nid : undefined;
    };
    const prepared = this.#builder.build(room, drafts, loaded, this.#clock.now(), positionOf, ahead);
    if (prepared === undefined) return undefined;
    const jobs = drafts.flatMap((draft) => draft.jobs ?? []);
    return { written: this.#write(room, prepared, jobs, transaction, extra) };
  }

  async #write(
    room: Room,
    prepared: readonly PreparedEvent[],
    jobs: readonly JobRequest[],
    transaction: string | undefined,
    extra: NewRoomRows | undefined,
  ): Promise<readonly StoredEvent[]> {
    const { generation } = room;
    const events = prepared.map((one) => one.event);
    const last = prepared.at(-1);
    if (last === undefined) return [];
    for (const { eventId, nid } of events) this.#positions.set(eventId, { room: room.nid, nid });
    const write: EventWrite = {
      ...extra,
      ...writeOf(room, prepared, last, transaction, this.#clock.now()),
      jobs: this.#followUps.jobs(stepOf(room, prepared), this.#clock.now(), [
        ...jobs,
        ...this.#awaiting(room, prepared),
      ]),
    };
    const isNew = extra?.rooms !== undefined;
    if (isNew) this.#rooms.announce(room);
    await this.#writer.append({
      positions: events.map((event) => event.nid),
      events: write,
      isStale: () => room.generation !== generation,
      publish: () => this.#publish(room, prepared, isNew),
      revert: () => {
        room.dropHead();
        if (isNew) this.#rooms.discard(room);
      },
    });
    return events;
  }

  /** The target of a redaction may arrive while the redaction is written: the job finds that the two belong together. */
  #awaiting(room: Room, prepared: readonly PreparedEvent[]): readonly JobRequest[] {
    const events = prepared.flatMap(({ awaited, event }) => (awaited === undefined ? [] : event.nid));
    return events.length === 0 ? [] : [requestJob(settleArrivals, { room: room.nid, events })];
  }

  #publish(room: Room, prepared: readonly PreparedEvent[], isNew: boolean): void {
    if (isNew) this.#rooms.add(room);
    const committed = prepared.map(
      ({ awaited, event, head, change, member, mentions, redaction, stickyUntil: until }) => {
        const before = member === undefined ? undefined : room.member(member.userId);
        room.apply(event, head, change === undefined ? undefined : { ...change, member });
        this.#loader.remember(event);
        redaction?.apply();
        if (awaited !== undefined) this.#onAwaitedRedaction?.(room.nid);
        if (until !== undefined) this.#sticky.committed(room, { event, pos: event.nid, until });
        return { event, member: member === undefined ? undefined : { before, after: member }, mentions };
      },
    );
    this.#stream.publish({ kind: 'appended', room, events: committed });
  }
}

const isUnchecked = ({ check }: EventDraft): boolean => check !== undefined;
