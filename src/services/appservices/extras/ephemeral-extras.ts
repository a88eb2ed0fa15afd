import type { Logger } from '#src/kernel/logger.ts';
import { TimedBackground } from '#src/kernel/concurrency/timed-background.ts';
import type { Timers } from '#src/kernel/timers.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import type { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import type { TypingService } from '#src/services/ephemeral/typing/typing-service.ts';
import { receiptContent } from '#src/services/push/receipts/receipt-content.ts';
import type { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import { type Receipt, slotOf } from '#src/services/push/receipts/room-receipts.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Interest } from '../interest/interest.ts';
import type { ExtraSource, TakenExtras } from '../transactions/extra-source.ts';
import type { UserInterest } from '../interest/user-interest.ts';

/** How long changes are gathered. */
const GATHER_MS = 50;
/** Changes that are gathered at most: further ones are sent with the next change. */
const MAX_GATHERED = 10_000;
const USERS_AT_ONCE = 200;
/** Items that wait for a service, each the newest of its kind: beyond that the oldest are dropped. */
export const MAX_WAITING = 1_000;
/** Receipts of a room that wait for a service. */
const MAX_RECEIPTS = 1_000;
/** Events of one transaction. */
export const MAX_TAKEN = 100;

/** An item of which only the newest matters. */
type Item =
  | { readonly kind: 'typing'; readonly room: Room }
  | { readonly kind: 'receipts'; readonly room: Room; readonly receipts: Map<string, Receipt> }
  | { readonly kind: 'presence'; readonly userId: string };

export interface EphemeralExtrasOptions {
  readonly appservices: Pick<Appservices, 'all' | 'isUserOf'>;
  readonly interest: Pick<Interest, 'now'>;
  readonly userInterest: UserInterest;
  readonly rooms: Pick<RoomRegistry, 'peek'>;
  readonly typing: TypingService;
  readonly receipts: Pick<ReceiptService, 'changed'>;
  readonly presence: Pick<PresenceService, 'changed' | 'presenceOf'>;
  /** Whether anything is kept for a service. */
  readonly receives: (service: ApplicationService) => boolean;
  readonly wake: (service: string) => void;
  readonly timers: Timers;
  readonly logger: Logger;
}

/** Ephemeral data: typing, receipts and presence. Application Service API, "Pushing ephemeral data". */
export class EphemeralExtras implements ExtraSource {
  readonly #options: EphemeralExtrasOptions;
  readonly #waiting = new Map<string, Map<string, Item>>();
  #typed = new Set<number>();
  #receipts = new Map<string, { readonly room: Room; readonly receipt: Receipt }>();
  #present = new Set<string>();
  readonly #telling: TimedBackground;

  constructor(options: EphemeralExtrasOptions) {
    this.#options = options;
    this.#telling = new TimedBackground(
      'ephemeral news for application services',
      () => this.#tell(),
      (err) => options.logger.warn('ephemeral data for application services could not be queued', { err }),
      options.timers,
    );
    const { presence, receipts, typing } = options;
    typing.changed.subscribe(({ roomNid }) => {
      if (this.#hasListeners && this.#typed.size < MAX_GATHERED) this.#gather(() => this.#typed.add(roomNid));
    });
    receipts.changed.subscribe(({ room, receipt }) => {
      if (!this.#hasListeners || this.#receipts.size >= MAX_GATHERED) return;
      const key = `${room.nid} ${receipt.userId} ${slotOf(receipt)}`;
      this.#gather(() => this.#receipts.set(key, { room, receipt }));
    });
    presence.changed.subscribe(({ userId }) => {
      if (this.#hasListeners && this.#present.size < MAX_GATHERED) this.#gather(() => this.#present.add(userId));
    });
  }

  take({ id }: ApplicationService): Promise<TakenExtras | undefined> {
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return Promise.resolve(undefined);
    const events: JsonObject[] = [];
    for (const [key, item] of waiting) {
      if (events.length >= MAX_TAKEN) break;
      waiting.delete(key);
      const event = this.#write(item);
      if (event !== undefined) events.push(event);
    }
    if (waiting.size === 0) this.#waiting.delete(id);
    if (events.length === 0) return Promise.resolve(undefined);
    return Promise.resolve({ members: { ephemeral: events, 'de.sorunome.msc2409.ephemeral': events }, isNews: true });
  }

  forget(service: string): void {
    this.#waiting.delete(service);
  }

  /** Resolves when what was gathered waits for its services. */
  idle(): Promise<void> {
    return this.#telling.flush();
  }

  close(): Promise<void> {
    return this.#telling.close();
  }

  get #hasListeners(): boolean {
    return this.#options.appservices.all().some((service) => this.#listens(service));
  }

  #listens(service: ApplicationService): boolean {
    return service.receiveEphemeral && this.#options.receives(service);
  }

  #gather(add: () => unknown): void {
    add();
    this.#telling.wakeAfter(GATHER_MS);
  }

  async #tell(): Promise<void> {
    const { appservices, interest, rooms, userInterest } = this.#options;
    const typed = [...this.#typed].flatMap((nid) => rooms.peek(nid) ?? []);
    const receipts = [...this.#receipts.values()];
    const present = [...this.#present].slice(0, USERS_AT_ONCE);
    this.#typed = new Set();
    this.#receipts = new Map();
    for (const userId of present) this.#present.delete(userId);
    const interested = await interest.now([...typed, ...receipts.map(({ room }) => room)]);
    for (const room of typed)
      for (const service of interested.get(room) ?? []) this.#put(service, `t ${room.nid}`, { kind: 'typing', room });
    for (const { room, receipt } of receipts)
      for (const service of interested.get(room) ?? []) {
        // "Private read receipts MUST only be sent for users matching one of the application service's namespaces."
        if (receipt.kind === 'm.read.private' && !appservices.isUserOf(service, receipt.userId)) continue;
        this.#putReceipt(service, room, receipt);
      }
    for (const [userId, services] of await userInterest.of(present))
      for (const service of services) this.#put(service, `p ${userId}`, { kind: 'presence', userId });
    if (this.#present.size > 0) this.#telling.wake();
  }

  #putReceipt(service: ApplicationService, room: Room, receipt: Receipt): void {
    const key = `r ${room.nid}`;
    const before = this.#waiting.get(service.id)?.get(key);
    const receipts = before?.kind === 'receipts' ? before.receipts : new Map<string, Receipt>();
    if (receipts.size < MAX_RECEIPTS) receipts.set(`${receipt.userId} ${slotOf(receipt)}`, receipt);
    this.#put(service, key, { kind: 'receipts', room, receipts });
  }

  #put(service: ApplicationService, key: string, item: Item): void {
    if (!this.#listens(service)) return;
    let waiting = this.#waiting.get(service.id);
    if (waiting === undefined) this.#waiting.set(service.id, (waiting = new Map<string, Item>()));
    waiting.delete(key);
    waiting.set(key, item);
    if (waiting.size > MAX_WAITING)
      for (const oldest of waiting.keys()) {
        waiting.delete(oldest);
        break;
      }
    this.#options.wake(service.id);
  }

  #write(item: Item): JsonObject | undefined {
    const { presence, typing } = this.#options;
    switch (item.kind) {
      case 'typing': {
        const userIds = [...typing.typingIn(item.room.nid).users];
        return { type: 'm.typing', room_id: item.room.roomId, content: { user_ids: userIds } };
      }
      case 'receipts': {
        const content = JSON.parse(receiptContent([...item.receipts.values()])) as JsonValue;
        return { type: 'm.receipt', room_id: item.room.roomId, content };
      }
      case 'presence': {
        const known = presence.presenceOf(item.userId);
        return known && { type: 'm.presence', sender: item.userId, content: { ...known.content } };
      }
    }
  }
}
