import type { Clock } from '#src/kernel/clock.ts';
import type { Random } from '#src/kernel/random.ts';
import type { JobRequest } from '#src/jobs/job-definition.ts';
import type { PduSigner } from '#src/protocol/events/build-pdu.ts';
import { redactionHarm } from '#src/protocol/auth/redactions.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { StickyEvents } from '#src/services/events/sticky/sticky-events.ts';
import { violatesUnique } from '#src/storage/failures.ts';
import { eventsOfTxns } from '#src/storage/commit/transaction-ids.ts';
import type { JobRow } from '#src/storage/events/event-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { EventBuilder } from '#src/services/events/building/event-builder.ts';
import type { EventDraft, Transaction } from '#src/services/events/building/event-draft.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { type NewRoom, RoomFounder } from '#src/services/events/building/new-room.ts';
import type { NotificationClassifier } from '#src/services/events/building/notification-class.ts';
import { sentByOf } from '#src/services/room-model/event/sent-by.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { TransactionIds, transactionKey } from '#src/services/events/building/transaction-ids.ts';
import { type FollowUp, FollowUps, type StateStep } from '#src/services/events/building/follow-ups.ts';
import { BUILD_ATTEMPTS, EventPipeline, type EventPipelineOptions } from './event-pipeline.ts';

export interface EventServiceOptions extends Omit<EventPipelineOptions, 'builder' | 'followUps' | 'sticky'> {
  readonly database: Database;
  readonly interner: Interner;
  /** Jobs that events make necessary. */
  readonly followUps: readonly FollowUp[];
  readonly classifier: NotificationClassifier;
  readonly signer: PduSigner;
  readonly random: Random;
  /** Unexpired sticky events that a sender may have in a room. */
  readonly maxStickyEvents?: number;
}

/** Builds, authorises and stores the events that local users send. */
export class EventService {
  readonly #database: Database;
  readonly #loader: EventLoader;
  readonly #builder: EventBuilder;
  readonly #pipeline: EventPipeline;
  readonly #serverName: string;
  readonly #clock: Clock;
  readonly #founder: RoomFounder;
  readonly #followUps: FollowUps;
  readonly transactions: TransactionIds;
  readonly sticky: StickyEvents;

  constructor(options: EventServiceOptions) {
    this.#database = options.database;
    this.#loader = options.loader;
    this.#clock = options.clock;
    this.transactions = new TransactionIds(options.database, options.clock);
    this.sticky = new StickyEvents({ ...options, maxPerSender: options.maxStickyEvents });
    this.#followUps = new FollowUps([...options.followUps, this.sticky.followUp]);
    this.#serverName = options.signer.serverName;
    this.#builder = new EventBuilder({
      interner: options.interner,
      loader: options.loader,
      writer: options.writer,
      classifier: options.classifier,
      signer: options.signer,
      random: options.random,
    });
    const parts = { ...options, builder: this.#builder, followUps: this.#followUps, sticky: this.sticky };
    this.#pipeline = new EventPipeline(parts);
    this.#founder = new RoomFounder({ ...options, builder: this.#builder, serverName: this.#serverName });
    for (const kind of ['appended', 'completed'] as const)
      options.stream.on(kind, ({ room }) => {
        options.rooms.grown(room);
      });
  }

  /**
   * Sends one event. State that is there already, content and sender alike, is not written again: its event is the answer.
   *
   * @throws MatrixError M_FORBIDDEN when the authorization rules refuse it, M_TOO_LARGE
   */
  async send(room: Room, draft: EventDraft): Promise<StoredEvent> {
    const [event] = await this.#pipeline.create(room, [draft]);
    if (event === undefined) throw new Error('an event was written but is not there');
    return event;
  }

  /** Sends several events that are committed together or not at all. */
  async sendAll(room: Room, drafts: readonly EventDraft[]): Promise<readonly StoredEvent[]> {
    return this.#pipeline.create(room, drafts);
  }

  /** Sends one event under a transaction id. Asked again, it answers with the id of the event that was made the first time. */
  sendOnce(room: Room, draft: EventDraft, txn: Transaction): Promise<string> {
    const key = transactionKey(txn);
    return this.transactions.once(key, async () => {
      const earlier = this.transactions.earlier(key);
      const known = earlier && (await earlier);
      if (known !== undefined) return known;
      try {
        const [event] = await this.#pipeline.create(room, [{ ...draft, sentBy: sentByOf(txn) }], key);
        if (event === undefined) throw new Error('an event was written but is not there');
        return event.eventId;
      } catch (error) {
        const taken = violatesUnique(error, 'txn_pkey')
          ? (await eventsOfTxns(this.#database, [key])).get(key)
          : undefined;
        if (taken === undefined) throw error;
        return taken;
      }
    });
  }

  /**
   * Creates a room: its row, alias and first events in one commit.
   *
   * @throws MatrixError M_FORBIDDEN when an event is refused, M_ROOM_IN_USE when the alias was taken in the meantime
   */
  async createRoom(plan: NewRoom): Promise<Room> {
    const { room, drafts, rows } = await this.#founder.found(plan);
    await plan.admit?.(room.roomId);
    try {
      await this.#pipeline.create(room, drafts, undefined, rows);
    } catch (error) {
      if (violatesUnique(error, 'aliases_pkey')) {
        throw new MatrixError('M_ROOM_IN_USE', `The alias ${plan.alias} is taken: choose another room_alias_name.`);
      }
      throw error;
    }
    return room;
  }

  /** An id for a room that is about to be made. */
  newRoomId(): string {
    return this.#founder.newRoomId();
  }

  /**
   * The template of an event for another server to complete and sign, on the room's present head: a PDU without hashes, signatures and
   * event id. Server-Server API, "Joining Rooms".
   *
   * @throws MatrixError M_FORBIDDEN when the authorization rules would refuse the event
   */
  async template(room: Room, draft: EventDraft): Promise<JsonObject> {
    for (let attempt = 0; attempt < BUILD_ATTEMPTS; attempt++) {
      const loaded = await this.#builder.prepare(room, [draft]);
      const template = this.#builder.template(room, draft, loaded, this.#clock.now());
      if (template !== undefined) return template;
    }
    throw new Error(`the state of ${room.roomId} changes faster than it can be read`);
  }

  /** The jobs that a change of a room's state makes necessary: to be written together with it. */
  jobsAfter(step: StateStep, more?: readonly JobRequest[]): readonly JobRow[] {
    return this.#followUps.jobs(step, this.#clock.now(), more);
  }

  /**
   * Redacts an event. An id that is not known here is redacted when the event comes.
   * Room versions, "Handling redactions": a redaction counts when its sender may redact, or shares the domain of the event's sender.
   *
   * @throws MatrixError M_FORBIDDEN when the sender may neither redact others' events nor sent it, or when the room would be lost by it
   */
  async redact(
    room: Room,
    sender: string,
    target: string,
    content: JsonObject,
    txn?: Transaction,
    more: Pick<EventDraft, 'check' | 'delayId' | 'stickyDurationMs' | 'jobs'> = {},
  ): Promise<string> {
    const event = await this.find(room, target);
    const refusal = event === undefined ? undefined : refusalOf(room, sender, event);
    if (refusal !== undefined) throw refusal;
    const draft: EventDraft = {
      type: 'm.room.redaction',
      sender,
      content,
      redacts: target,
      ...more,
    };
    return txn === undefined ? (await this.send(room, draft)).eventId : this.sendOnce(room, draft, txn);
  }

  /** An event of the room by its id, committed ones only. */
  async find(room: Room, eventId: string): Promise<StoredEvent | undefined> {
    const recent = room.ring.events.findLast((event) => event.eventId === eventId);
    return recent ?? this.#loader.byId(room, eventId);
  }

  /**
   * The positions of events of these rooms by their ids, in the same order: committed ones only. One statement for those that are not among the
   * newest of their rooms; undefined for what is not in its room.
   */
  async positions(
    wanted: readonly { readonly room: Room; readonly eventId: string }[],
  ): Promise<readonly (number | undefined)[]> {
    const recent = wanted.map(({ eventId, room }) => room.ring.events.findLast((event) => event.eventId === eventId));
    const missing = wanted.filter((_, index) => recent[index] === undefined);
    const read = (await this.#loader.positions(missing)).values();
    return recent.map((event) => (event === undefined ? read.next().value : event.nid));
  }

  /** The clock by which events are created, for computing their age. */
  get clock(): Clock {
    return this.#clock;
  }

  /** Whether a user belongs to this server. */
  isLocal(userId: string): boolean {
    return domainOf(userId) === this.#serverName;
  }
}

/** Why a user may not redact an event; undefined when they may. */
const refusalOf = (room: Room, sender: string, event: StoredEvent): MatrixError | undefined => {
  const levels = room.powerLevels();
  if (event.sender !== sender && levels.userLevel(sender) < levels.redact)
    return new MatrixError('M_FORBIDDEN', 'Only those with the power level to redact may redact the events of others.');
  const harm = redactionHarm(room.version, event.pdu);
  return harm === undefined ? undefined : new MatrixError('M_FORBIDDEN', `This event cannot be redacted. ${harm}`);
};
