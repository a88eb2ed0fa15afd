import type { PduSigner } from '#src/protocol/events/build-pdu.ts';
import { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { InvitePermission } from '#src/services/user-data/account-data/invite-permission.ts';
import { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import { PublicRooms } from '#src/services/rooms/directory/public-rooms.ts';
import { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import { EventService } from '#src/services/events/stream/event-service.ts';
import { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { NotificationClassifier } from '#src/services/events/building/notification-class.ts';
import { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import type { ProfileSource } from '#src/services/rooms/membership/profile-source.ts';
import { RestrictedJoins } from '#src/services/rooms/membership/restricted-joins.ts';
import { EventFinder } from '#src/services/reading/history/event-finder.ts';
import { HistoryPages } from '#src/services/reading/history/history-pages.ts';
import { HistoryTokens } from '#src/services/reading/history/history-tokens.ts';
import { History } from '#src/services/reading/history/history.ts';
import { RoomAccess } from '#src/services/reading/access/room-access.ts';
import { RoomCreationService } from '#src/services/rooms/creation/room-creation.ts';
import { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { RoomSending } from '#src/services/rooms/sending/room-sending.ts';
import { RoomState } from '#src/services/reading/state/room-state.ts';
import { RoomUpgrade } from '#src/services/rooms/upgrade/room-upgrade.ts';
import { AuthGraphs } from '#src/services/events/resolution/auth-graph.ts';
import { ResolutionThread } from '#src/services/events/resolution/resolution-thread.ts';
import { StateMerger } from '#src/services/events/resolution/state-merger.ts';
import { StateStore } from '#src/services/room-model/state/state-store.ts';
import { StickyReview } from '#src/services/events/receiving/sticky-review.ts';
import { Writer } from '#src/services/commit/writer.ts';
import type { ThirdPartyInvites } from '#src/services/rooms/third-party-invites/third-party-invites.ts';
import { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import { MembershipPast } from '#src/services/reading/visibility/membership-past.ts';
import { Interner } from '#src/storage/room-model/interner.ts';
import { composeDiscovery, type Discovery } from './discovery.ts';
import type { Platform } from './platform.ts';
import { composeRelations, type RelationParts } from './relations.ts';

/** What everything that has to do with rooms stands on: names, events, states, rooms in memory, and the writer. */
export interface RoomStore {
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly states: StateStore;
  readonly rooms: RoomRegistry;
  readonly writer: Writer;
  readonly stream: RoomEventStream;
}

export function composeRoomStore(platform: Platform, isLocal: (userId: string) => boolean): RoomStore {
  const { config, clock, database, logger, metrics, timers } = platform;
  const interner = new Interner(database, isLocal);
  const loader = new EventLoader(database);
  const states = new StateStore(database);
  const rooms = new RoomRegistry(database, interner, loader, states, config.cache.roomsBytes);
  const writer = new Writer({ database, clock, timers, logger, metrics });
  const stream = new RoomEventStream(logger);
  return { interner, loader, states, rooms, writer, stream };
}

export function composeEvents(
  platform: Platform,
  store: RoomStore,
  signer: PduSigner,
  classifier: NotificationClassifier,
): EventService {
  const { config, clock, database, random } = platform;
  const mostStickyEvents = config.room.maxStickyEvents;
  return new EventService({ database, clock, random, ...store, classifier, signer, mostStickyEvents });
}

/** What takes in the events that other servers made. */
export interface Reception {
  readonly receiver: EventReceiver;
  readonly stickyReview: StickyReview;
  close(): Promise<void>;
}

export function composeReception(
  platform: Platform,
  store: RoomStore,
  events: EventService,
  classifier: NotificationClassifier,
): Reception {
  const { clock, database } = platform;
  const thread = new ResolutionThread();
  const merger = new StateMerger({ database, ...store, graphs: new AuthGraphs(database), thread });
  const receiver = new EventReceiver({ database, clock, ...store, merger, classifier, events });
  const { logger } = platform;
  const stickyReview = new StickyReview({ ...store, events, logger });
  const close = async (): Promise<void> => {
    await stickyReview.idle();
    await thread.close();
  };
  return { receiver, stickyReview, close };
}

/** The use cases around rooms. */
export interface Rooms extends RelationParts, Discovery {
  readonly access: RoomAccess;
  readonly aliases: AliasService;
  readonly publicRooms: PublicRooms;
  readonly membership: MembershipService;
  readonly roomCreation: RoomCreationService;
  readonly roomSending: RoomSending;
  readonly roomState: RoomState;
  readonly roomUpgrade: RoomUpgrade;
  readonly finder: EventFinder;
  readonly history: History;
  readonly visibility: EventVisibility;
}

/** @param more makes what stands on memberships, and is needed to make rooms */
export function composeRooms<More extends { readonly thirdPartyInvites?: ThirdPartyInvites }>(
  platform: Platform,
  store: RoomStore,
  events: EventService,
  profiles: ProfileSource,
  accountData: AccountDataService,
  more: (parts: { readonly membership: MembershipService; readonly invitePermission: InvitePermission }) => More,
): Rooms & More {
  const { config, clock, database } = platform;
  const { serverName } = config;
  const { interner, loader, states, rooms } = store;
  const access = new RoomAccess({ rooms, loader, states, past: new MembershipPast(loader) });
  const aliases = new AliasService({ database, rooms, access, events, clock, serverName });
  const publicRooms = new PublicRooms({ database, rooms, access, serverName });
  const invitePermission = new InvitePermission(accountData, (userId) => events.isLocal(userId));
  const membership = new MembershipService({
    database,
    interner,
    loader,
    rooms,
    events,
    aliases,
    profiles,
    invitePermission,
  });
  const others = more({ membership, invitePermission });
  const roomCreation = new RoomCreationService({
    events,
    membership,
    aliases,
    profiles,
    thirdPartyInvites: others.thirdPartyInvites,
    defaultVersion: config.room.defaultVersion,
    mostInvites: config.rateLimits.enabled ? config.rateLimits.buckets['invite']?.burst : undefined,
  });
  const visibility = new EventVisibility(interner, loader, states, events.sticky);
  const finder = new EventFinder(events, visibility);
  const tokens = new HistoryTokens(database, loader);
  const relations = composeRelations(platform, store, events, accountData, { access, visibility, finder, tokens });
  const roomState = new RoomState({ access, clock, database, interner, loader, states });
  const history = new History({
    access,
    finder,
    pages: new HistoryPages({ database, interner, loader, visibility, ignoredUsers: new IgnoredUsers(accountData) }),
    tokens,
    state: roomState,
    writer: relations.clientEvents,
  });
  const roomSending = new RoomSending({
    access,
    events,
    aliases,
    relations: relations.relationRules,
    restricted: new RestrictedJoins(rooms),
    invitePermission,
  });
  const roomUpgrade = new RoomUpgrade({ access, events, loader, aliases, publicRooms, profiles });
  return {
    ...others,
    access,
    aliases,
    publicRooms,
    membership,
    roomCreation,
    roomSending,
    roomState,
    roomUpgrade,
    finder,
    history,
    visibility,
    ...relations,
    ...composeDiscovery(platform, store, { access, aliases, visibility }),
  };
}
