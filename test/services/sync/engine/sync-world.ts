import { silentLogger } from '#src/kernel/logger.ts';
import { systemClock } from '#src/kernel/clock.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { parseFilter } from '#src/protocol/filters/parse-filter.ts';
import { decodeSyncToken } from '#src/protocol/wire/position.ts';
import { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import { PushRuleService, servedPushRules } from '#src/services/push/rules/push-rule-service.ts';
import { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import { Aggregations } from '#src/services/reading/relations/bundled-aggregations.ts';
import { RelationIndex } from '#src/services/reading/relations/relation-index.ts';
import { EphemeralCounter } from '#src/services/commit/ephemeral-counter.ts';
import { EventEncoder } from '#src/services/sync/engine/event-encoder.ts';
import { RoomSections } from '#src/services/sync/engine/room-sections.ts';
import { StateReader } from '#src/services/sync/engine/state-window.ts';
import { SyncEngine } from '#src/services/sync/engine/sync-engine.ts';
import { SyncFilters } from '#src/services/sync/engine/sync-filter.ts';
import type { SyncRequest } from '#src/services/sync/engine/sync-request.ts';
import { SyncUsers } from '#src/services/sync/engine/sync-users.ts';
import { TimelineReader } from '#src/services/sync/engine/timeline-window.ts';
import { TypingService } from '#src/services/ephemeral/typing/typing-service.ts';
import { UnreadCounts } from '#src/services/push/unread/unread-counts.ts';
import { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Database } from '#src/storage/database.ts';
import { eventServices, type EventServices } from '#test/support/event-services.ts';

export interface SyncWorld extends EventServices {
  readonly sync: SyncEngine;
  readonly users: SyncUsers;
  readonly sections: RoomSections;
  readonly receipts: ReceiptService;
  readonly accountData: AccountDataService;
  readonly typing: TypingService;
  readonly visibility: EventVisibility;
}

/** The sync engine on real services, as one process has them. */
export async function syncWorld(
  database: Database,
  more: Parameters<typeof eventServices>[2] = {},
): Promise<SyncWorld> {
  const store = await eventServices(database, {}, more);
  const { interner, loader, rooms, writer, stream, events } = store;
  const ephemeral = new EphemeralCounter(systemRandom);
  const accountData = new AccountDataService({ database, interner, writer, served: [servedPushRules] });
  const pushRules = new PushRuleService({ database, interner, accountData });
  const receipts = new ReceiptService({ database, interner, writer, events, clock: systemClock });
  const typing = new TypingService({ rooms, stream, timers: systemTimers, ephemeral });
  const unread = new UnreadCounts({ database, interner, events, stream, receipts, pushRules, accountData });
  const presence = new PresenceService({
    database,
    clock: systemClock,
    timers: systemTimers,
    logger: silentLogger,
    ephemeral,
    enabled: false,
    sharesRoom: () => Promise.resolve(true),
  });
  const personal = { accountData, receipts, typing, presence, unread, ephemeral };
  const users = new SyncUsers({ ...store, ...personal });
  const states = new StateReader(database, store.states);
  const visibility = new EventVisibility(interner, loader, store.states, events.sticky);
  const ignored = new IgnoredUsers(accountData);
  const sources = {
    loader,
    interner,
    timelines: new TimelineReader(database, loader),
    states,
    visibility,
    encoder: new EventEncoder(events.clock, stream),
    sticky: events.sticky,
    relations: new Aggregations({
      index: new RelationIndex({ database, interner, stream }),
      loader,
      visibility,
      clock: events.clock,
      ignoredUsers: (userId) => ignored.of(userId),
    }),
  };
  const sections = new RoomSections(sources);
  const sync = new SyncEngine({
    users,
    rooms,
    events,
    writer,
    timers: systemTimers,
    filters: new SyncFilters({ usual: 10, greatest: 1000 }),
    sections,
    states,
    personal: { ...personal, loader, interner },
    stripped: {
      strippedStateFor: (room, userId) =>
        Promise.resolve([{ type: 'm.room.member', state_key: userId, room: room.roomId }]),
    },
  });
  return { ...store, sync, users, sections, receipts, accountData, typing, visibility };
}

export interface ClientEvent {
  readonly event_id: string;
  readonly type: string;
  readonly sender: string;
  readonly state_key?: string;
  readonly content: { readonly membership?: string };
  readonly msc4354_sticky?: { readonly duration_ms: number };
  readonly unsigned?: { readonly msc4354_sticky_duration_ttl_ms?: number };
}

export interface RoomBody {
  readonly timeline: {
    readonly events: readonly ClientEvent[];
    readonly limited: boolean;
    readonly prev_batch: string;
  };
  readonly state?: { readonly events: readonly ClientEvent[] };
  readonly state_after?: { readonly events: readonly ClientEvent[] };
  readonly msc4354_sticky?: { readonly events: readonly ClientEvent[] };
}

export interface SyncBody {
  readonly next_batch: string;
  readonly rooms?: {
    readonly join?: Readonly<Record<string, RoomBody>>;
    readonly leave?: Readonly<Record<string, RoomBody>>;
    readonly invite?: Readonly<Record<string, unknown>>;
    readonly knock?: Readonly<Record<string, unknown>>;
  };
}

const filters = new Map<string, ReturnType<typeof parseFilter>>();

/** A request with what is usual filled in. */
export const syncRequest = (
  userId: string,
  since: string | undefined,
  room: object = {},
  more: Partial<SyncRequest> = {},
): SyncRequest => {
  const json = JSON.stringify({ room });
  const filter = filters.get(json) ?? parseFilter(JSON.parse(json));
  filters.set(json, filter);
  return {
    userId,
    deviceId: 'DEVICE',
    since: since === undefined ? undefined : decodeSyncToken(since),
    filter,
    fullState: false,
    timeout: 0,
    stateAfter: undefined,
    signal: new AbortController().signal,
    ...more,
  };
};
