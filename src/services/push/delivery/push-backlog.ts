import type { MentionKind } from '#src/services/events/building/notification-class.ts';
import { type PusherRef, type PusherRegistry, takesCounts } from '#src/services/push/pushers/pusher-registry.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { isInOrInvited, membershipOfCode } from '#src/services/room-model/room/membership.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { type PushOfUser, pushesOfUser } from '#src/storage/push/pushes.ts';
import { roomsOfUser } from '#src/storage/room-model/member-rows.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { heldPush, type LogPage } from './held-pushes.ts';
import type { NextPush, PushItem } from './pending-pushes.ts';
import type { PushLog } from './push-log.ts';
import type { PushRecipients } from './push-recipients.ts';
import type { PushRelevance } from './push-relevance.ts';
import type { RecentPushes } from './recent-pushes.ts';

/** Most rooms that are loaded to find what waits for one pusher. */
const MAX_LOADED = 100;

export interface PushBacklogOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: RoomRegistry;
  readonly loader: EventLoader;
  readonly registry: PusherRegistry;
  readonly recipients: PushRecipients;
  readonly relevance: PushRelevance;
  readonly log: PushLog;
  readonly recent: RecentPushes;
  /** The place of the last push whose grace period is over. */
  readonly dueUpTo: () => number;
  /** Milliseconds that a user has to read an event before it is pushed. */
  readonly graceMs: number;
}

/** Reads pushes that are not in the queues in memory: for pushers that are behind, and those that the last process left. */
export class PushBacklog {
  readonly #options: PushBacklogOptions;

  constructor(options: PushBacklogOptions) {
    this.#options = options;
  }

  /** A page of the log: pushes that the last process may not have sent, and those for which there was no room in memory. */
  async page(after: number, limit: number): Promise<LogPage> {
    const { graceMs, interner, loader, recipients, registry, rooms } = this.#options;
    const records = await this.#options.log.after(after, limit);
    const loaded = await rooms.load(records.flatMap(({ room }) => room ?? []));
    const places = records.flatMap(({ room: nid, event }) => {
      const room = loaded.get(nid ?? 0);
      return room === undefined || event === null ? [] : [{ room, nid: event }];
    });
    const events = await loader.load(places);
    const followed = places.flatMap(({ room, nid }) => {
      const event = events.get(nid);
      return event === undefined ? [] : [{ room, event }];
    });
    await recipients.prepare(followed);
    const names = await interner.named({ users: records.flatMap(({ user_nid: user }) => user ?? []) });
    const pushes = records.flatMap((record) => {
      const room = loaded.get(record.room ?? 0);
      const event = events.get(record.event ?? 0);
      if (record.user_nid !== null) {
        const pushers = registry.of(names.userName(record.user_nid)).filter(takesCounts);
        return heldPush(record, graceMs, { kind: 'counts', pushers });
      }
      return room === undefined || event === undefined ? [] : heldPush(record, graceMs, { kind: 'event', room, event });
    });
    return { pushes, last: records.at(-1)?.pos, isFull: records.length === limit };
  }

  /** Pushes that are due and may concern the user of a pusher, from memory or the database. */
  async read({ userId }: PusherRef, after: number, upTo: number, limit: number): Promise<readonly NextPush[]> {
    const { database, graceMs, interner, loader, rooms } = this.#options;
    // A batch that was begun was due by then, also if the last process began it.
    const end = upTo === Infinity ? this.#options.dueUpTo() : upTo;
    const user = await interner.userNid(userId);
    const rows =
      after >= this.#options.recent.floor
        ? await this.#recentOf(userId, user, after, end, limit)
        : await pushesOfUser(database, user, after, end, limit);
    const loaded = await rooms.load(rows.flatMap(({ room }) => room ?? []));
    const places = rows.flatMap(({ room: nid, event }) => {
      const room = loaded.get(nid ?? 0);
      return room === undefined || event === null ? [] : [{ room, nid: event }];
    });
    const events = await loader.load(places);
    return rows.map(({ pos, ts, room: roomNid, event: nid, kind }) => {
      const room = loaded.get(roomNid ?? 0);
      const event = events.get(nid ?? 0);
      const exception = (kind ?? undefined) as MentionKind | undefined;
      const item: PushItem | undefined =
        roomNid === null ? { kind: 'counts' } : room && event && { kind: 'event', room, event, exception };
      // An event that is not there any more is not pushed.
      return { position: pos, at: item === undefined ? 0 : ts + graceMs, item: item ?? { kind: 'counts' } };
    });
  }

  /** Pushes that may concern a user, from memory, without those that they have read. */
  async #recentOf(userId: string, user: number, after: number, upTo: number, limit: number): Promise<PushOfUser[]> {
    const found: PushOfUser[] = [];
    for (const push of this.#options.recent.ofUser(user, after, upTo)) found.push({ ...push, kind: null });
    for (const [nid, room] of await this.#recentRoomsOf(userId, user, after)) {
      const settled = room && this.#options.relevance.settledUpTo(room, userId);
      const isSettled = room && this.#options.relevance.settledIn(room, userId);
      for (const pushes of this.#options.recent.ofRoom(nid, after, upTo, settled)) {
        let unsettled = 0;
        for (const push of pushes) {
          if (isSettled?.(push.event ?? 0, push) === true) continue;
          found.push({ ...push, kind: push.exceptions.get(user) ?? null });
          if ((unsettled += 1) === limit) break;
        }
      }
    }
    return found.toSorted((one, other) => one.pos - other.pos).slice(0, limit);
  }

  /**
   * Rooms with recent pushes that a user is in or invited to, by their numbers. Where many rooms have some, the database finds those of the
   * user, and of these only rooms in memory are checked further: a pusher that comes back must not cause all the others to be loaded.
   */
  async #recentRoomsOf(userId: string, user: number, after: number): Promise<Map<number, Room | undefined>> {
    const { database, rooms } = this.#options;
    const recent = this.#options.recent.roomsAfter(after);
    if (recent.length > MAX_LOADED) {
      const own = (await roomsOfUser(database, user)).filter((row) => isInOrInvited(membershipOfCode(row.membership)));
      const ofUser = new Set(own.map((row) => row.room));
      return new Map(recent.flatMap((nid) => (ofUser.has(nid) ? [[nid, rooms.peek(nid)] as const] : [])));
    }
    const loaded = await rooms.load(recent);
    return new Map([...loaded].filter(([, room]) => isInOrInvited(room.member(userId)?.membership)));
  }
}
