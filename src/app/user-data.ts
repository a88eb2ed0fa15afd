import { accountDataEndpoints } from '#src/http/client-server/account-data.ts';
import { filterEndpoints } from '#src/http/client-server/filter.ts';
import { readMarkersEndpoints } from '#src/http/client-server/read_markers.ts';
import { receiptsEndpoints } from '#src/http/client-server/receipts.ts';
import { tagsEndpoints } from '#src/http/client-server/tags.ts';
import { typingEndpoints } from '#src/http/client-server/typing.ts';
import type { Endpoint } from '#src/http/endpoint.ts';
import { AccountDataService } from '#src/services/account-data/account-data-service.ts';
import type { EventService } from '#src/services/events/event-service.ts';
import { FilterService } from '#src/services/filters/filter-service.ts';
import { NotificationRules } from '#src/services/push-rules/classifier.ts';
import { PushRuleService, servedPushRules } from '#src/services/push-rules/push-rule-service.ts';
import { ReadMarkerService } from '#src/services/receipts/read-marker-service.ts';
import { ReceiptService } from '#src/services/receipts/receipt-service.ts';
import { EphemeralCounter } from '#src/services/streams/ephemeral.ts';
import { TagService } from '#src/services/tags/tag-service.ts';
import { TypingService } from '#src/services/typing/typing-service.ts';
import { UnreadCounts } from '#src/services/unread/unread-counts.ts';
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
  readonly filters: FilterService;
  readonly unread: UnreadCounts;
  readonly ephemeral: EphemeralCounter;
  readonly endpoints: readonly Endpoint[];
}

export function composeUserData(
  platform: Platform,
  store: RoomStore,
  events: EventService,
  { accountData, pushRules }: NotificationParts,
): UserData {
  const { clock, database, random, timers } = platform;
  const { interner, rooms, writer } = store;
  const ephemeral = new EphemeralCounter(random);
  const receipts = new ReceiptService({ database, interner, writer, events, clock });
  const readMarkers = new ReadMarkerService({ rooms, events, receipts, accountData });
  const typing = new TypingService({ rooms, events, timers, ephemeral });
  const filters = new FilterService(database, interner);
  const tags = new TagService(accountData);
  const unread = new UnreadCounts({ database, interner, events, receipts, pushRules });
  const endpoints = [
    ...accountDataEndpoints({ accountData, rooms }),
    ...filterEndpoints({ filters }),
    ...readMarkersEndpoints({ readMarkers }),
    ...receiptsEndpoints({ readMarkers }),
    ...tagsEndpoints({ tags, rooms }),
    ...typingEndpoints({ typing }),
  ];
  return { receipts, readMarkers, typing, filters, unread, ephemeral, endpoints };
}
