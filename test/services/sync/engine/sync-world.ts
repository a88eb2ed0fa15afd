import { WholeState } from '#src/services/room-model/room/whole-state.ts';
import { AccountStream } from '#src/services/accounts/stream/account-stream.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemClock } from '#src/kernel/clock.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { Turns } from '#src/kernel/turns.ts';
import { composeSlidingSync } from '#src/app/slices/sliding-sync.ts';
import { composeSync } from '#src/app/slices/sync.ts';
import { parseFilter } from '#src/protocol/filters/parse-filter.ts';
import { decodeSyncToken } from '#src/protocol/wire/position.ts';
import { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import { DeviceKeyCounts } from '#src/services/e2ee/device-keys/key-counts.ts';
import { DeviceListChanges } from '#src/services/e2ee/device-lists/device-list-changes.ts';
import { DeviceInboxes } from '#src/services/e2ee/to-device/device-inboxes.ts';
import { ToDeviceService } from '#src/services/e2ee/to-device/to-device-service.ts';
import { UserActions } from '#src/services/accounts/users/user-actions.ts';
import { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import { ProfileChanges } from '#src/services/user-data/profiles/profile-changes.ts';
import { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import { Aggregations } from '#src/services/reading/relations/bundled-aggregations.ts';
import { RelationIndex } from '#src/services/reading/relations/relation-index.ts';
import { EphemeralCounter } from '#src/services/commit/ephemeral-counter.ts';
import type { SyncRequest } from '#src/services/sync/engine/sync-request.ts';
import type { SyncUsers } from '#src/services/sync/engine/sync-users.ts';
import type { StrippedStateSource } from '#src/services/sync/sections/stripped-state.ts';
import type { SlidingSync } from '#src/services/sync/sliding/sliding-sync.ts';
import type { V3Sync } from '#src/services/sync/v3/v3-sync.ts';
import { TypingService } from '#src/services/ephemeral/typing/typing-service.ts';
import { FollowedThreads } from '#src/services/push/threads/followed-threads.ts';
import { UnreadCounts } from '#src/services/push/unread/unread-counts.ts';
import { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { Database } from '#src/storage/database.ts';
import { eventServices, type EventServices } from '#test/support/event-services.ts';

/** What a test does in the middle of a response. */
export interface Interposed {
  /** Once, after the rooms of a response are chosen and before they are read. */
  afterPlan?: () => Promise<unknown>;
}

export interface SyncWorld extends EventServices {
  readonly sync: V3Sync;
  readonly slidingSync: SlidingSync;
  readonly users: SyncUsers;
  readonly interposed: Interposed;
  readonly receipts: ReceiptService;
  readonly accountData: AccountDataService;
  readonly typing: TypingService;
  readonly visibility: EventVisibility;
}

/**
 * The sync engine on real services, as one process has them. By hand, since it stands on `eventServices`: tests of the engine count the
 * statements of it alone, and compose it several times on one database.
 */
export async function syncWorld(
  database: Database,
  more: Parameters<typeof eventServices>[2] = {},
): Promise<SyncWorld> {
  const store = await eventServices(database, {}, more);
  const { interner, loader, rooms, writer, stream, events } = store;
  const ephemeral = new EphemeralCounter(systemRandom);
  const actions = new UserActions();
  const pushRules = new PushRuleService({ database, interner, writer });
  const accountData = new AccountDataService({ database, interner, writer, served: [pushRules] });
  const receipts = new ReceiptService({ database, interner, writer, events, clock: systemClock });
  const typing = new TypingService({ rooms, stream, timers: systemTimers, ephemeral, actions });
  const ignoredUsers = new IgnoredUsers(accountData);
  const followedThreads = new FollowedThreads({ database, interner, writer, pushRules, most: 100 });
  const unread = new UnreadCounts({
    database,
    interner,
    events,
    stream,
    receipts,
    pushRules,
    followedThreads,
    ignoredUsers,
  });
  const presence = new PresenceService({
    database,
    clock: systemClock,
    timers: systemTimers,
    logger: silentLogger,
    ephemeral,
    enabled: false,
    idleMs: 300_000,
    acted: actions.acted,
    sharesRoom: () => Promise.resolve(true),
  });
  const visibility = new EventVisibility(interner, loader, store.states, events.sticky);
  const ignored = new IgnoredUsers(accountData);
  const aggregations = new Aggregations({
    index: new RelationIndex({ database, interner, stream }),
    loader,
    visibility,
    clock: events.clock,
    ignoredUsers: (userId) => ignored.of(userId),
  });
  const accountStream = new AccountStream(silentLogger);
  const inboxes = new DeviceInboxes(database, accountStream);
  const isLocal = (): boolean => true;
  const remote = { send: () => Promise.resolve() };
  const encryption = {
    deviceListChanges: new DeviceListChanges({ database, writer, accountStream, logger: silentLogger }),
    inboxes,
    keyCounts: new DeviceKeyCounts(database, accountStream),
    toDevice: new ToDeviceService({ database, clock: systemClock, writer, inboxes, isLocal, remote }),
  };
  const interposed: Interposed = {};
  const strippedStateFor: StrippedStateSource['strippedStateFor'] = async (room, userId) => [
    { type: 'm.room.member', state_key: userId, room: room.roomId },
  ];
  const parts = {
    ...store,
    clock: events.clock,
    timers: systemTimers,
    wholeState: new WholeState(systemTimers),
    turns: new Turns({ clock: systemClock, metrics: noMetrics }),
    config: {
      sync: {
        defaultTimelineLimit: 10,
        maxTimelineLimit: 1000,
        maxTimeoutMs: 60_000,
        maxTimelineBytes: 1_000_000,
        maxResponseBytes: 30_000_000,
      },
    },
    visibility,
    aggregations,
    membership: { strippedStateFor },
    accountData,
    ephemeral,
    presence,
    receipts,
    typing,
    unread,
    ...encryption,
  };
  const synced = composeSync({
    ...parts,
    moreSections: () => [
      {
        name: 'interposed',
        open: () => ({
          prepare() {
            const { afterPlan } = interposed;
            delete interposed.afterPlan;
            return afterPlan?.().then(() => undefined);
          },
        }),
      },
    ],
  }).services;
  const { sync, syncUsers: users } = synced;
  const { slidingSync } = composeSlidingSync({
    ...parts,
    ...synced,
    random: systemRandom,
    logger: silentLogger,
    followedThreads,
    profileChanges: new ProfileChanges({ database, writer, logger: silentLogger }),
    profiles: { profilesOf: () => Promise.resolve(new Map()) },
  }).services;
  return { ...store, sync, slidingSync, users, interposed, receipts, accountData, typing, visibility };
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
