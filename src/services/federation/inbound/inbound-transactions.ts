import type { Clock } from '#src/kernel/clock.ts';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { GateByKey } from '#src/kernel/limits/gate.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { eventId } from '#src/protocol/events/event-hashes.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { isEventId } from '#src/protocol/identifiers/identifiers.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { EventVerifier } from '#src/services/servers/keys/event-verifier.ts';
import { MAX_EDUS, MAX_PDUS } from '#src/protocol/wire/transaction-bounds.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { aclDenial } from '#src/services/room-model/room/compiled-acl.ts';
import type { Database } from '#src/storage/database.ts';
import { isOfDatabase } from '#src/storage/failures.ts';
import { answerOf, stageTransaction } from '#src/storage/federation/inbound.ts';
import type { EduHandlers } from './edu-handlers.ts';
import type { InboundQueue } from './inbound-queue.ts';

/** The content of a transaction. */
export interface Transaction {
  readonly pdus: readonly unknown[];
  readonly edus: readonly unknown[];
}

/** The response: for each event id an empty object, or an error. */
export interface TransactionAnswer {
  readonly pdus: Readonly<Record<string, { readonly error?: string }>>;
}

/** Receives events of rooms that this server is not in: memberships of its users. */
export interface UnjoinedRoomEvents {
  /** Resolves when a running join of the room is done, or takes too long; undefined when there is none. */
  coming(roomId: string): Promise<void> | undefined;
  /** @returns why it is refused; undefined when it was accepted */
  take(origin: string, roomId: string, pdu: JsonObject): Promise<string | undefined>;
}

export interface InboundTransactionsOptions {
  readonly database: Database;
  readonly rooms: Pick<RoomRegistry, 'byId' | 'numbersOf'>;
  readonly verifier: Pick<EventVerifier, 'verify'>;
  readonly queue: InboundQueue;
  readonly unjoined: UnjoinedRoomEvents;
  readonly eduHandlers: EduHandlers;
  readonly serverName: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Metrics;
}

/** Transactions of one origin that are judged at the same time, and servers that are asked for keys for each of them. */
export const JUDGED_AT_ONCE = 2;
export const KEYS_AT_ONCE = 8;
/** Bytes of answers to transactions that are kept in memory, about. */
export const ANSWER_BYTES = 8 * 1024 * 1024;
/** Characters of the error for one event. */
const MAX_ERROR_LENGTH = 500;
/** `retry_after_ms` for a server with too many queued events. */
const RETRY_AFTER_MS = 2_000;
/** The error for events of a room whose queue is full since its state grows too fast. */
const CLOGGED = 'The queue of events of this room is full: its state grows too fast.';

/** An event of a room that this server is in, or an error. */
type Judged =
  | { readonly room: Room; readonly event: IdentifiedPdu }
  | { readonly eventId: string | undefined; readonly error: string };

/**
 * Receives transactions. An event with valid format, hashes and signatures is acknowledged once it is stored; it is judged when its turn
 * comes. Server-Server API, "Transactions".
 */
export class InboundTransactions {
  readonly #options: InboundTransactionsOptions;
  /** Answers by origin and id. */
  readonly #answers = new CountedCache<string, string>('transaction_answers', {
    maxSize: ANSWER_BYTES,
    sizeCalculation: (answer, key) => 200 + 2 * (answer.length + key.length),
  });
  readonly #receiving = new OnceByKey<string, string>();
  /** By origin: its events may name many servers that do not answer, and its EDUs many rooms. */
  readonly #judging = new GateByKey<string>(JUDGED_AT_ONCE);
  readonly #edus: Counter;

  constructor(options: InboundTransactionsOptions) {
    this.#options = options;
    this.#edus = options.metrics.counter(
      'tsudoi_federation_received_edus_total',
      'EDUs that other servers have sent.',
      ['type', 'outcome'],
    );
  }

  /**
   * Receives a transaction. A repeated id gets the first answer, and nothing is done twice.
   *
   * @returns JSON text of a `TransactionAnswer`
   * @throws MatrixError M_BAD_JSON for too many events, M_LIMIT_EXCEEDED when too many events of the origin wait already
   */
  async receive(origin: string, txnId: string, transaction: Transaction): Promise<string> {
    const { edus, pdus } = transaction;
    if (pdus.length > MAX_PDUS)
      throw new MatrixError(
        'M_BAD_JSON',
        `A transaction has at most ${MAX_PDUS} PDUs, and this one has ${pdus.length}.`,
      );
    if (edus.length > MAX_EDUS)
      throw new MatrixError(
        'M_BAD_JSON',
        `A transaction has at most ${MAX_EDUS} EDUs, and this one has ${edus.length}.`,
      );
    const key = `${origin} ${txnId}`;
    const known = this.#answers.get(key);
    if (known !== undefined) return known;
    return this.#receiving.run(key, async () => {
      const answer = await this.#receive(origin, txnId, transaction);
      this.#answers.set(key, answer);
      return answer;
    });
  }

  /** Resolves when no transaction is being received. */
  idle(): Promise<void> {
    return this.#receiving.idle();
  }

  async #receive(origin: string, txnId: string, { edus, pdus }: Transaction): Promise<string> {
    const { clock, database, queue } = this.#options;
    const earlier = await answerOf(database, origin, txnId);
    if (earlier !== undefined) return earlier;
    const judged = await this.#judging.run(origin, () => this.#judge(origin, pdus));
    const good = new Map<string, { readonly room: Room; readonly event: IdentifiedPdu }>();
    const results: Record<string, { readonly error?: string }> = {};
    for (const one of judged) {
      if ('error' in one) {
        // What is no event id names no event, and could have any length: answers are kept.
        if (isEventId(one.eventId)) results[one.eventId] = { error: one.error.slice(0, MAX_ERROR_LENGTH) };
        continue;
      }
      const isClogged = queue.isClogged(origin, one.room.nid);
      if (!isClogged) good.set(one.event.eventId, one);
      results[one.event.eventId] = isClogged ? { error: CLOGGED } : {};
    }
    if (
      good.size > 0 &&
      queue.isFull(
        origin,
        [...good.values()].map(({ room }) => room.nid),
      )
    )
      throw limitExceeded('federation_waiting_events', RETRY_AFTER_MS);
    await this.#judging.run(origin, () => this.#handleEdus(origin, edus));
    const answer = JSON.stringify({ pdus: results } satisfies TransactionAnswer);
    const receivedTs = clock.now();
    const events = [...good.values()].map(({ event, room }) => ({
      room: room.nid,
      eventId: eventIdBytes(event.eventId),
      json: canonicalJson(event.pdu, 'lenient'),
    }));
    const staged = await stageTransaction(database, {
      origin,
      txnId,
      answer,
      receivedTs,
      events,
    });
    const places = new Map(staged.map(({ event_id: id, seq }) => [id.toString('latin1'), seq]));
    const waiting = [...good.values()].flatMap(({ event, room }, index) => {
      const seq = places.get(eventIdBytes(event.eventId).toString('latin1'));
      const characters = events[index]?.json.length ?? 0;
      return seq === undefined ? [] : [{ room, waiting: { seq, origin, event, receivedTs, characters } }];
    });
    for (const [room, ofRoom] of Map.groupBy(waiting, (one) => one.room))
      queue.add(
        room.nid,
        ofRoom.map((one) => one.waiting),
      );
    return answer;
  }

  /** Checks format, hashes and signatures of events, those of one room version together. */
  async #judge(origin: string, pdus: readonly unknown[]): Promise<readonly Judged[]> {
    const { rooms, verifier } = this.#options;
    // One statement for all of them.
    await rooms.numbersOf(pdus.flatMap(roomIdOf));
    const judged: Judged[] = Array.from({ length: pdus.length }, () => ({
      eventId: undefined,
      error: 'It is no event.',
    }));
    const candidates: { readonly index: number; readonly room: Room; readonly pdu: JsonObject }[] = [];
    for (const [index, pdu] of pdus.entries()) {
      const found = await this.#roomOf(origin, pdu);
      if ('error' in found) judged[index] = found;
      else candidates.push({ index, ...found });
    }
    for (const [version, ofVersion] of Map.groupBy(candidates, ({ room }) => room.version)) {
      const verdicts = await verifier.verify(
        version,
        ofVersion.map(({ pdu }) => pdu),
        { party: origin, atOnce: KEYS_AT_ONCE },
      );
      for (const [at, { index, pdu, room }] of ofVersion.entries()) {
        const verdict = verdicts[at];
        if (verdict === undefined) continue;
        judged[index] = verdict.ok
          ? { room, event: verdict.event }
          : { eventId: verdict.eventId ?? idOf(room, pdu), error: sentence(verdict.reason) };
      }
    }
    return judged;
  }

  /** The room of an event, if this server is in it and its ACL allows the origin. */
  async #roomOf(
    origin: string,
    pdu: unknown,
  ): Promise<{ readonly room: Room; readonly pdu: JsonObject } | (Judged & { readonly error: string })> {
    const { unjoined, serverName } = this.#options;
    if (!isJsonObject(pdu)) return { eventId: undefined, error: 'It is no JSON object.' };
    const { room_id: roomId } = pdu;
    const named = typeof pdu['event_id'] === 'string' ? pdu['event_id'] : undefined;
    if (typeof roomId !== 'string') return { eventId: named, error: 'It has no room_id.' };
    const room = await this.#joinedRoom(roomId);
    const isHere = room?.joinedServers().has(serverName) === true;
    if (!isHere) {
      const error = (await unjoined.take(origin, roomId, pdu)) ?? undefined;
      return {
        eventId: room === undefined ? named : idOf(room, pdu),
        error: error ?? 'It was accepted for its user only: this server is not in the room.',
      };
    }
    if (!room.allowsServer(origin)) return { eventId: idOf(room, pdu), error: aclDenial(origin) };
    return { room, pdu };
  }

  /** A room that this server knows. If a join is running, it is waited for: the other server may have accepted it already. */
  async #joinedRoom(roomId: string): Promise<Room | undefined> {
    const { unjoined, rooms, serverName } = this.#options;
    const room = await rooms.byId(roomId);
    if (room?.joinedServers().has(serverName) === true) return room;
    const coming = unjoined.coming(roomId);
    if (coming === undefined) return room;
    await coming;
    return rooms.byId(roomId);
  }

  /** Processes EDUs, those of one type after those of the other. One that fails does not affect the others. */
  async #handleEdus(origin: string, edus: readonly unknown[]): Promise<void> {
    const { eduHandlers } = this.#options;
    const byType = new Map<string, JsonObject[]>();
    for (const edu of edus) {
      const { content, edu_type: type } = isJsonObject(edu) ? edu : {};
      if (typeof type !== 'string' || !Object.hasOwn(eduHandlers, type) || !isJsonObject(content)) {
        this.#edus.inc({ type: 'other', outcome: 'ignored' });
        continue;
      }
      const contents = byType.get(type);
      if (contents === undefined) byType.set(type, [content]);
      else contents.push(content);
    }
    for (const [type, contents] of byType) {
      const handler = eduHandlers[type];
      if (handler === undefined) continue;
      if ('all' in handler) await this.#handle(origin, type, contents.length, () => handler.all(origin, contents));
      else for (const content of contents) await this.#handle(origin, type, 1, () => handler.each(origin, content));
    }
  }

  async #handle(origin: string, type: string, count: number, handle: () => Promise<void>): Promise<void> {
    try {
      await handle();
      this.#edus.inc({ type, outcome: 'done' }, count);
    } catch (err) {
      // The whole transaction is sent again: to-device messages must not be lost.
      if (isOfDatabase(err)) throw err;
      this.#edus.inc({ type, outcome: 'failed' }, count);
      const isTheirs = err instanceof MatrixError;
      this.#options.logger[isTheirs ? 'debug' : 'error']('EDUs of another server were not handled', {
        err,
        origin,
        edu_type: type,
      });
    }
  }
}

const roomIdOf = (pdu: unknown): readonly string[] =>
  isJsonObject(pdu) && typeof pdu['room_id'] === 'string' ? [pdu['room_id']] : [];

const sentence = (reason: string): string => `${reason.charAt(0).toUpperCase()}${reason.slice(1)}.`;

/** The id of an event that may be malformed; undefined where it cannot be computed. */
const idOf = (room: Room, pdu: JsonObject): string | undefined => {
  try {
    return eventId(room.version, pdu as Pdu);
  } catch {
    return undefined;
  }
};
