import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { isEventId, isUserIdOf } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { Edu } from '#src/services/federation/outbound/edu-source.ts';
import { visitAllowedRooms } from '#src/services/federation/inbound/edu-acl.ts';
import type { NewReceipt, ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import { MAIN_THREAD, type Receipt } from '#src/services/push/receipts/room-receipts.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { GatheredEdus } from './gathered-edus.ts';

/** For so long receipts are gathered: a user who reads message by message causes few EDUs. */
const GATHER_MS = 150;
export const MAX_WAITING = 1_000;
/** Most receipts that wait for a server that cannot be reached. */
const MAX_WAITING_WHILE_AWAY = 100;
/** Receipts of one transaction that are looked at, and that are stored by one write. */
export const MAX_RECEIVED = 1_000;
const STORED_AT_ONCE = 250;
const MAX_THREAD_LENGTH = 255;

interface PendingReceipt {
  readonly room: Room;
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
export class ReceiptEdus {
  readonly #options: ReceiptEdusOptions;
  /** What waits for other servers, by room, user and thread. */
  readonly edus: GatheredEdus<PendingReceipt>;

  constructor(options: ReceiptEdusOptions) {
    this.#options = options;
    this.edus = new GatheredEdus({
      name: 'receipts',
      gatherMs: GATHER_MS,
      most: MAX_WAITING,
      mostWhileAway: MAX_WAITING_WHILE_AWAY,
      mostTaken: MAX_WAITING,
      serversOf: () => Promise.resolve(({ room }) => room.remoteServers()),
      write: edusOf,
      timers: options.timers,
      logger: options.logger,
      wake: options.wake,
    });
    options.receipts.changed.subscribe(({ room, receipt }) => {
      if (receipt.kind !== 'm.read' || !options.isLocal(receipt.userId) || room.remoteServers().length === 0) return;
      this.edus.gather(`${room.nid} ${receipt.userId} ${receipt.thread ?? ''}`, { room, receipt });
    });
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
}

/**
 * Splits receipts into as few EDUs as possible, each with at most one receipt per user and room. So a threaded and an unthreaded receipt are in EDUs
 * of their own, and neither hides the other. MSC4102.
 *
 * @returns what did not fit in as well
 */
const edusOf = (
  told: readonly PendingReceipt[],
  limit: number,
): { readonly edus: readonly Edu[]; readonly left: ReadonlySet<PendingReceipt> } => {
  const contents: Record<string, { 'm.read': Record<string, JsonObject> }>[] = [];
  const left = new Set<PendingReceipt>();
  for (const one of told) {
    const { receipt, room } = one;
    const { roomId } = room;
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
