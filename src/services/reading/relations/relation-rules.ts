import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { EventDraft, Transaction } from '#src/services/events/building/event-draft.ts';
import { annotationOf } from '#src/services/room-model/event/annotation.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { relationOf, type StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { transactionKey } from '#src/services/events/building/transaction-ids.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { areAnnotationsUnnamed, isAnnotated, unnamedAnnotations } from '#src/storage/reading/relation-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { positionsById } from '#src/storage/room-model/event-positions.ts';
import { REL } from './related-events.ts';
import type { RelationIndex } from './relation-index.ts';

/** Events of a user about one event that are parsed for an annotation, while there are some that have no number of what they say. */
const PARSED = 1_000;
/** Characters of them that are parsed in one turn of the event loop. */
const PARSED_IN_TURN = 65_536;

/** Checks relations of events that users send. */
export class RelationRules {
  readonly #database: Database;
  readonly #events: EventService;
  readonly #index: RelationIndex;
  readonly #interner: Interner;
  readonly #loader: EventLoader;
  readonly #annotations = new SerialByKey<number>();
  /** False once every annotation has its number: from then on all new ones have it. */
  #areSomeUnnamed = true;

  constructor(options: {
    readonly database: Database;
    readonly events: EventService;
    readonly index: RelationIndex;
    readonly interner: Interner;
    readonly loader: EventLoader;
  }) {
    this.#database = options.database;
    this.#events = options.events;
    this.#index = options.index;
    this.#interner = options.interner;
    this.#loader = options.loader;
  }

  /**
   * Sends an event if its relation is allowed, at most once where there is a transaction id. What is repeated under that has been
   * allowed already.
   *
   * @throws MatrixError M_DUPLICATE_ANNOTATION, M_UNKNOWN (400) for a thread that starts at what relates to something itself or
   *   lies in another room
   */
  sendOnce(room: Room, draft: EventDraft, txn: Transaction | undefined): Promise<string> {
    const relation = relationOf(draft.content);
    return relation === undefined ? this.#send(room, draft, txn) : this.#sendRelated(room, draft, relation, txn);
  }

  async #sendRelated(
    room: Room,
    draft: EventDraft,
    relation: NonNullable<ReturnType<typeof relationOf>>,
    txn: Transaction | undefined,
  ): Promise<string> {
    const annotation = annotationOf(draft);
    if (annotation !== undefined) {
      // One after the other: of two that come at the same time, the second one finds the first.
      return this.#annotations.run(annotation, async () => {
        if (txn !== undefined && !(await this.#isNew(txn))) return this.#send(room, draft, txn);
        if (await this.#isFirst(room, draft.sender, annotation, relation.eventId)) return this.#send(room, draft, txn);
        const repeated = txn && (await this.#events.transactions.written(transactionKey(txn)));
        if (repeated !== undefined) return repeated;
        throw new MatrixError('M_DUPLICATE_ANNOTATION', 'You have annotated this event in the same way already.');
      });
    }
    if (relation.relType === REL.thread) await this.#assertMayStartThread(room, relation.eventId);
    return this.#send(room, draft, txn);
  }

  #send(room: Room, draft: EventDraft, txn: Transaction | undefined): Promise<string> {
    return txn === undefined
      ? this.#events.send(room, draft).then(({ eventId }) => eventId)
      : this.#events.sendOnce(room, draft, txn);
  }

  async #isNew(txn: Transaction): Promise<boolean> {
    return (await this.#events.transactions.answered(transactionKey(txn))) === undefined;
  }

  /** "Homeservers should prevent users from sending a second annotation for a given event with identical event type and annotation key". */
  async #isFirst(room: Room, sender: string, annotation: number, targetId: string): Promise<boolean> {
    const user = await this.#interner.findUser(sender);
    if (user === undefined) return true;
    if (await isAnnotated(this.#database, room.nid, user, annotation)) return false;
    return !(await this.#isAnnotatedOfOld(room, user, annotation, targetId));
  }

  /** The same of annotations that the background update `populate_annotations` has not reached yet. */
  async #isAnnotatedOfOld(room: Room, sender: number, annotation: number, targetId: string): Promise<boolean> {
    if (!this.#areSomeUnnamed) return false;
    this.#areSomeUnnamed = await areAnnotationsUnnamed(this.#database);
    if (!this.#areSomeUnnamed) return false;
    const target = await this.#find(room, targetId);
    if (target === undefined) return false;
    const said = await unnamedAnnotations(this.#database, { room: room.nid, target: target.nid, sender }, PARSED);
    const turns = new LoopYield(PARSED_IN_TURN);
    for (const json of said) {
      if (annotationOf(JSON.parse(json) as Pdu) === annotation) return true;
      await turns.after(json.length);
    }
    return false;
  }

  /** "Servers SHOULD reject client requests which attempt to start a thread off an event with an m.relates_to property." */
  async #assertMayStartThread(room: Room, eventId: string): Promise<void> {
    const root = await this.#find(room, eventId);
    if (root === undefined) {
      const [found] = await positionsById(this.#database, [eventIdBytes(eventId)]);
      if (found === undefined || found.room === room.nid) return;
      throw new MatrixError('M_UNKNOWN', 'A thread starts at an event of the same room.');
    }
    if (root.relation === undefined) {
      // From now on it is at hand, however far back it lies.
      await this.#index.watch(room, root);
      return;
    }
    throw new MatrixError('M_UNKNOWN', 'A thread cannot start at an event that relates to another one.');
  }

  /** Targets of relations are looked up once: most are in the room's ring, or in memory since the last relation to them. */
  async #find(room: Room, eventId: string): Promise<StoredEvent | undefined> {
    const nid = this.#index.positionOf(eventId);
    const known = nid === undefined ? undefined : this.#loader.peek(nid);
    return known?.room.nid === room.nid ? known : this.#events.find(room, eventId);
  }
}
