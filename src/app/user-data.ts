import { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { FilterService } from '#src/services/user-data/filters/filter-service.ts';
import { SharedRooms } from '#src/services/rooms/membership/shared-rooms.ts';
import type { ProfileSource } from '#src/services/rooms/membership/profile-source.ts';
import { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import { MemberProfiles } from '#src/services/rooms/membership/member-profiles.ts';
import { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import { NotificationRules } from '#src/services/push/classification/classifier.ts';
import { PushRuleService, servedPushRules } from '#src/services/push/rules/push-rule-service.ts';
import { ReadMarkerService } from '#src/services/push/receipts/read-marker-service.ts';
import { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import { EphemeralCounter } from '#src/services/commit/ephemeral-counter.ts';
import { RoomSuccession } from '#src/services/rooms/succession/room-succession.ts';
import { TagService } from '#src/services/user-data/tags/tag-service.ts';
import { TypingService } from '#src/services/ephemeral/typing/typing-service.ts';
import { UnreadCounts } from '#src/services/push/unread/unread-counts.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { Platform } from './platform.ts';
import type { RoomStore } from './rooms.ts';

/** What decides whom an event notifies; needed before there are events. */
export interface NotificationParts {
  readonly accountData: AccountDataService;
  readonly pushRules: PushRuleService;
  readonly classifier: NotificationRules;
}

export function composeNotifications(
  platform: Platform,
  store: RoomStore,
  isLocal: (userId: string) => boolean,
): NotificationParts {
  const { database } = platform;
  const { interner, loader, writer } = store;
  const accountData = new AccountDataService({ database, interner, writer, served: [servedPushRules] });
  const pushRules = new PushRuleService({ database, interner, accountData });
  return { accountData, pushRules, classifier: new NotificationRules({ pushRules, loader, isLocal }) };
}

/** What users keep here and show each other. */
export interface UserData {
  readonly receipts: ReceiptService;
  readonly readMarkers: ReadMarkerService;
  readonly typing: TypingService;
  readonly presence: PresenceService;
  readonly profiles: ProfileService;
  readonly filters: FilterService;
  readonly unread: UnreadCounts;
  readonly ephemeral: EphemeralCounter;
  readonly tags: TagService;
  /** Writes what is written now and then only. */
  close(): Promise<void>;
}

/** Profiles in the words of member events. */
export const profileSource = (profiles: ProfileService): ProfileSource => ({
  profileOf: async (userId) => {
    const { displayname, avatarUrl } = await profiles.profileOf(userId);
    return { displayname, avatar_url: avatarUrl };
  },
});

export function composeUserData(
  platform: Platform,
  store: RoomStore,
  events: EventService,
  { accountData, pushRules }: NotificationParts,
  users: UserService,
): UserData {
  const { clock, config, database, logger, random, timers } = platform;
  const { interner, loader, rooms, stream, writer } = store;
  const ephemeral = new EphemeralCounter(random);
  const receipts = new ReceiptService({ database, interner, writer, events, clock });
  const readMarkers = new ReadMarkerService({ rooms, events, receipts, accountData });
  const typing = new TypingService({ rooms, stream, timers, ephemeral });
  const filters = new FilterService(database, interner, config.quotas.filters);
  const tags = new TagService(accountData);
  const unread = new UnreadCounts({ database, interner, events, stream, receipts, pushRules, accountData });
  const succession = new RoomSuccession({ stream, rooms, accountData, tags, pushRules, logger });
  const profiles = new ProfileService({ database, accountExists: (userId) => users.exists(userId) });
  const memberProfiles = new MemberProfiles({ database, interner, rooms, loader, events, profiles, logger });
  const sharedRooms = new SharedRooms(database, interner);
  const presence = new PresenceService({
    database,
    clock,
    timers,
    logger,
    ephemeral,
    enabled: config.presence.enabled,
    sharesRoom: (one, other) => sharedRooms.sharesRoom(one, other),
  });
  return {
    receipts,
    readMarkers,
    typing,
    presence,
    profiles,
    filters,
    unread,
    ephemeral,
    tags,
    async close() {
      await memberProfiles.idle();
      await succession.idle();
      await presence.close();
    },
  };
}
