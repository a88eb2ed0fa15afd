import { Background } from '#src/kernel/background.ts';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { isEventId, isUserIdOf } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import {
  type Edu,
  type EduSource,
  ephemeralEdus,
  NO_EDUS,
  type TakenEdus,
} from '#src/services/federation/outbound/edu-source.ts';
import { visitAllowedRooms } from '#src/services/federation/inbound/edu-acl.ts';
import type { NewReceipt, ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import { MAIN_THREAD, type Receipt } from '#src/services/push/receipts/room-receipts.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { NewestItems } from '#src/services/federation/outbound/newest-items.ts';

/** For so long receipts are gathered: a user who reads message by message causes few EDUs. */
const GATHER_MS = 150;
const MAX_WAITING = 1_000;
/** Of a server that cannot be reached. */
const MAX_WAITING_WHILE_AWAY = 100;
/** Receipts of one transaction that are looked at, and that are stored by one write. */
const MAX_RECEIVED = 1_000;
const STORED_AT_ONCE = 250;
const MAX_THREAD_LENGTH = 255;

interface Told {
  readonly roomId: string;
  readonly receipt: Receipt;
}

export interface ReceiptEdusOptions {
  readonly rooms: RoomRegistry;
  readonly receipts: ReceiptService;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly isLocal: (userId: string) => boolean;
  readonly wake: (destination: string) => void;
}

/** Sends and receives `m.receipt`. Private receipts are not sent. Server-Server API, "Receipts". */
export class ReceiptEdus implements EduSource {
  readonly #options: ReceiptEdusOptions;
  readonly #waiting = new NewestItems<Told>(MAX_WAITING);
  /** What is being gathered, by room, user and thread. */
  #gathered = new Map<string, { readonly room: Room; readonly receipt: Receipt }>();
  #timer: Timer | undefined;
  readonly #telling: Background;

  constructor(options: ReceiptEdusOptions) {
    this.#options = options;
    this.#telling = new Background(
      'federation receipts',
      () => Promise.resolve(this.#tell()),
      (err) => options.logger.error('receipts could not be handed to other servers', { err }),
    );
    options.receipts.changed.subscribe(({ room, receipt }) => this.#changed(room, receipt));
  }

  /** Receives the `m.receipt` of a transaction: what is about joined users of the origin, in rooms whose ACLs do not deny the origin. */
  async receive(origin: string, contents: readonly JsonObject[]): Promise<void> {
    const { clock, receipts, rooms } = this.#options;
    const said = receivedReceipts(origin, contents);
    await visitAllowedRooms(rooms, origin, said.keys(), async (allowed) => {
      const received = allowed.flatMap((room) =>
        (said.get(room.roomId) ?? []).flatMap(({ ts = clock.now(), ...one }): readonly NewReceipt[] =>
          room.mayBeJoined(one.userId) ? [{ room, kind: 'm.read', ts, ...one }] : [],
        ),
      );
      for (let at = 0; at < received.length; at += STORED_AT_ONCE)
        await receipts.receiveAll(received.slice(at, at + STORED_AT_ONCE));
    });
  }

  has(destination: string): boolean {
    return this.#waiting.has(destination);
  }

  take(destination: string, limit: number): Promise<TakenEdus> {
    const taken = this.#waiting.take(destination, MAX_WAITING);
    if (taken === undefined || limit === 0) return Promise.resolve(NO_EDUS);
    const { edus, left } = edusOf(taken.items, limit);
    return Promise.resolve(ephemeralEdus(edus, () => taken.delivered(left)));
  }

  away(destination: string): void {
    this.#waiting.shrink(destination, MAX_WAITING_WHILE_AWAY);
  }

  skip(destination: string): void {
    this.#waiting.forget(destination);
  }

  forget(destination: string): void {
    this.#waiting.forget(destination);
  }

  /** Resolves when what was gathered waits for its servers. */
  async idle(): Promise<void> {
    if (this.#gathered.size > 0) this.#telling.wake();
    await this.#telling.idle();
  }

  close(): Promise<void> {
    this.#timer?.cancel();
    return this.#telling.close();
  }

  #changed(room: Room, receipt: Receipt): void {
    if (receipt.kind !== 'm.read' || !this.#options.isLocal(receipt.userId)) return;
    if (room.remoteServers().length === 0) return;
    this.#gathered.set(`${room.nid} ${receipt.userId} ${receipt.thread ?? ''}`, { room, receipt });
    this.#timer ??= this.#options.timers.after(GATHER_MS, () => this.#telling.wake());
  }

  #tell(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    const gathered = this.#gathered;
    this.#gathered = new Map();
    const destinations = new Set<string>();
    for (const [key, { room, receipt }] of gathered)
      for (const server of room.remoteServers()) {
        this.#waiting.put(server, key, { roomId: room.roomId, receipt });
        destinations.add(server);
      }
    for (const destination of destinations) this.#options.wake(destination);
  }
}

/**
 * As few EDUs as hold all receipts: each has one of a user in a room at most. So a receipt in a thread and one without a thread come in EDUs
 * of their own, and neither hides the other. MSC4102.
 *
 * @returns what did not fit in as well
 */
const edusOf = (
  told: readonly Told[],
  limit: number,
): { readonly edus: readonly Edu[]; readonly left: ReadonlySet<Told> } => {
  const contents: Record<string, { 'm.read': Record<string, JsonObject> }>[] = [];
  const left = new Set<Told>();
  for (const one of told) {
    const { roomId, receipt } = one;
    const { eventId, thread, ts, userId } = receipt;
    let content = contents.find((other) => other[roomId]?.['m.read'][userId] === undefined);
    if (content === undefined && contents.length >= limit) left.add(one);
    else {
      if (content === undefined) contents.push((content = {}));
      const users = (content[roomId] ??= { 'm.read': {} })['m.read'];
      users[userId] = { event_ids: [eventId], data: { ts, ...(thread === undefined ? {} : { thread_id: thread }) } };
    }
  }
  return { edus: contents.map((content) => ({ edu_type: 'm.receipt', content })), left };
};

interface ReceivedReceipt {
  readonly userId: string;
  readonly eventId: string;
  readonly thread: string | undefined;
  readonly ts: number | undefined;
}

/** The first receipts of users of the origin in a transaction, by room; so many are looked at. */
const receivedReceipts = (
  origin: string,
  contents: readonly JsonObject[],
): ReadonlyMap<string, readonly ReceivedReceipt[]> => {
  const received = new Map<string, ReceivedReceipt[]>();
  let left = MAX_RECEIVED;
  for (const content of contents)
    for (const [roomId, kinds] of Object.entries(content)) {
      const users = isJsonObject(kinds) ? kinds['m.read'] : undefined;
      if (!isJsonObject(users)) continue;
      for (const [userId, said] of Object.entries(users)) {
        if (left-- <= 0) return received;
        const receipt = isUserIdOf(origin, userId) ? parsed(said) : undefined;
        if (receipt === undefined) continue;
        const ofRoom = received.get(roomId);
        if (ofRoom === undefined) received.set(roomId, [{ userId, ...receipt }]);
        else ofRoom.push({ userId, ...receipt });
      }
    }
  return received;
};

const parsed = (said: JsonValue): Omit<ReceivedReceipt, 'userId'> | undefined => {
  if (!isJsonObject(said) || !Array.isArray(said['event_ids'])) return undefined;
  const eventId = said['event_ids'].at(-1);
  const data = isJsonObject(said['data']) ? said['data'] : {};
  const { thread_id: thread, ts } = data;
  if (!isEventId(eventId)) return undefined;
  if (thread !== undefined && thread !== MAIN_THREAD && !(isEventId(thread) && thread.length <= MAX_THREAD_LENGTH))
    return undefined;
  const isTime = typeof ts === 'number' && Number.isSafeInteger(ts) && ts >= 0;
  return { eventId, thread, ts: isTime ? ts : undefined };
};
