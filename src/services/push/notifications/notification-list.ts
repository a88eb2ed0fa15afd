import { pageLimit } from '#src/kernel/limits/page-limit.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { PositionVector } from '#src/protocol/wire/position.ts';
import type { PushAction } from '#src/protocol/push/push-ruleset.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { type IgnoredUsers, numbersOf } from '#src/services/user-data/account-data/ignored-users.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { MENTION_KINDS } from '#src/services/events/building/notification-class.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import { type RoomMode, type UserRules } from '#src/services/push/rules/user-rules.ts';
import type { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import { hasRead, threadOf } from '#src/services/push/receipts/threads.ts';
import type { ClientEvents, Reader } from '#src/services/reading/client-events/client-events.ts';
import { membershipOfCode } from '#src/services/room-model/room/membership.ts';
import type { RoomStub } from '#src/services/room-model/room/room-stub.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import { roomsOfUser } from '#src/storage/room-model/member-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { notificationsOf, type NotifyingRecord, type RoomClasses } from '#src/storage/push/notifications.ts';
import { notificationActions } from './notification-actions.ts';
import { decodeNotificationToken, encodeNotificationToken, newestFirst, upToAfter } from './notification-order.ts';

export const MAX_LIMIT = 100;
const PAGE = { usual: 20, greatest: MAX_LIMIT };
/** Steps that the user's rules may take for a page. */
export const MAX_STEPS = 2_000_000;

export interface NotificationListOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly writer: Pick<Writer, 'committed'>;
  readonly rooms: RoomRegistry;
  readonly pushRules: PushRuleService;
  readonly receipts: ReceiptService;
  readonly ignoredUsers: IgnoredUsers;
  readonly clientEvents: ClientEvents;
}

export interface Notification {
  readonly actions: readonly PushAction[];
  /** JSON text. */
  readonly event: string;
  readonly read: boolean;
  readonly roomId: string;
  /** Milliseconds since the epoch. */
  readonly ts: number;
}

export interface NotificationPage {
  readonly notifications: readonly Notification[];
  /** Undefined when there are no more. */
  readonly next: string | undefined;
}

/** Lists the events that notified a user. Client-Server API, "Listing notifications". */
export class NotificationList {
  readonly #options: NotificationListOptions;

  constructor(options: NotificationListOptions) {
    this.#options = options;
  }

  /**
   * The newest first, in an order that stays: what notified after the first page was made is not in the pages that follow it.
   *
   * @throws MatrixError M_INVALID_PARAM for a token that is none
   */
  async page(
    reader: Reader,
    query: {
      readonly from?: string | undefined;
      readonly limit?: number | undefined;
      readonly only?: string | undefined;
    },
  ): Promise<NotificationPage> {
    const { database, interner, loader, pushRules, ignoredUsers, writer } = this.#options;
    const { userId } = reader;
    const limit = Math.max(pageLimit(query.limit, PAGE), 1);
    const onlyHighlights = query.only === 'highlight';
    const upTo = query.from === undefined || query.from === '' ? writer.committed() : positionsIn(query.from);
    const user = await interner.userNid(userId);
    const rules = pushRules.peek(userId) ?? (await pushRules.rulesOf(userId));
    const ignored = await ignoredUsers.of(userId);
    const without = await numbersOf(ignored, interner);
    const rooms = await this.#rooms(user);
    const records = await notificationsOf(database, {
      user,
      rooms: [...rooms.values()].map(({ room, since }) => ({
        room: room.nid,
        since,
        upTo: upTo[room.shard] ?? 0,
        classes: classesOf(rules.modeIn(room.roomId), onlyHighlights),
        quietThreads: rules.asksForThreads && rules.threadModeIn(room.roomId, false) === 'mentions',
        followedThreads:
          rules.asksForThreads && !onlyHighlights && rules.threadModeIn(room.roomId, true) === 'followed',
      })),
      leastKind: onlyHighlights ? MENTION_KINDS.highlight : MENTION_KINDS.notify,
      without,
      // One more than is wanted tells whether there is more.
      limit: limit + 1,
    });
    const taken = newestFirst(records, limit);
    const places = taken.flatMap(({ room: nid, nid: position }) => {
      const room = rooms.get(nid)?.room;
      return room === undefined ? [] : [{ room, nid: position }];
    });
    const events = await loader.load(places);
    const found = taken.flatMap((record) => {
      const event = events.get(record.nid);
      return event === undefined || ignored.has(event.sender) ? [] : [{ event, record }];
    });
    return {
      notifications: await this.#notifications(reader, rules, found),
      next: records.length > taken.length ? encodeNotificationToken(upToAfter(upTo, taken)) : undefined,
    };
  }

  /** The rooms that can notify a user: those that they are in, and those that they are invited to. */
  async #rooms(user: number): Promise<Map<number, { readonly room: RoomStub; readonly since: number }>> {
    const { database, rooms } = this.#options;
    const since = new Map<number, number>();
    for (const row of await roomsOfUser(database, user)) {
      const membership = membershipOfCode(row.membership);
      if (membership === 'join') since.set(row.room, row.since);
      else if (membership === 'invite') since.set(row.room, Number.MAX_SAFE_INTEGER);
    }
    // There may be more of them than have room in memory.
    const stubs = await rooms.stubs([...since.keys()]);
    return new Map([...stubs].map(([nid, room]) => [nid, { room, since: since.get(nid) ?? 0 }]));
  }

  async #notifications(
    reader: Reader,
    rules: UserRules,
    found: readonly { readonly event: StoredEvent; readonly record: NotifyingRecord }[],
  ): Promise<Notification[]> {
    const { clientEvents, pushRules, receipts, rooms } = this.#options;
    const { userId } = reader;
    const byRoom = Map.groupBy(found, ({ record }) => record.room);
    const budget = new StepBudget(MAX_STEPS);
    const compiled = pushRules.compiled(userId, rules);
    const notifications = new Map<number, Notification>();
    for await (const some of rooms.parts([...byRoom.keys()])) {
      const read = await receipts.forRooms(some);
      await clientEvents.prepare(
        some.flatMap((room) => (byRoom.get(room.nid) ?? []).map(({ event }) => ({ room, event }))),
      );
      for (const room of some) {
        const entries = byRoom.get(room.nid) ?? [];
        const membership = room.isJoined(userId) ? 'join' : 'invite';
        const visible = entries.map(({ event }) => ({ event, membership }) as const);
        const texts = await clientEvents.write(room, reader, visible);
        const displayName = await this.#displayName(room, userId);
        for (const [index, { event, record }] of entries.entries()) {
          const thread = await threadOf(
            { find: (_, eventId) => this.#options.loader.byId(room, eventId) },
            room,
            event,
          );
          notifications.set(event.nid, {
            actions: notificationActions(room, event, record.kind, { userId, displayName }, compiled, budget),
            event: texts[index] ?? '{}',
            read: hasRead(event, thread, read.get(room.nid)?.readPositions(userId)),
            roomId: room.roomId,
            ts: record.ts,
          });
        }
      }
    }
    return found.flatMap(({ event }) => notifications.get(event.nid) ?? []);
  }

  async #displayName(room: Room, userId: string): Promise<string | undefined> {
    const member = room.member(userId);
    const name = member && (await this.#options.loader.one(room, member.event))?.content['displayname'];
    return typeof name === 'string' ? name : undefined;
  }
}

const classesOf = (mode: RoomMode, onlyHighlights: boolean): RoomClasses =>
  mode === 'muted' ? 'none' : mode === 'mentions' || onlyHighlights ? 'highlight' : 'notify';

const positionsIn = (token: string): PositionVector => {
  const upTo = decodeNotificationToken(token);
  if (upTo === undefined)
    throw new MatrixError('M_INVALID_PARAM', 'The parameter from is not a next_token of this server.');
  return upTo;
};
