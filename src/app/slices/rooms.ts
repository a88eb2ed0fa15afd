import { RoomCreationService } from '#src/services/rooms/creation/room-creation.ts';
import { PublicRooms } from '#src/services/rooms/directory/public-rooms.ts';
import { RemoteRooms } from '#src/services/rooms/directory/remote-rooms.ts';
import { RoomSummaries } from '#src/services/rooms/directory/room-summaries.ts';
import { ReportService } from '#src/services/rooms/reports/report-service.ts';
import { NewTypes } from '#src/services/rooms/sending/new-types.ts';
import { RelatedRedactions } from '#src/services/rooms/sending/related-redactions.ts';
import { RoomSending } from '#src/services/rooms/sending/room-sending.ts';
import { SpaceHierarchy } from '#src/services/rooms/spaces/space-hierarchy.ts';
import { RoomSuccession } from '#src/services/rooms/succession/room-succession.ts';
import { RoomUpgrade } from '#src/services/rooms/upgrade/room-upgrade.ts';
import { UserRedactions } from '#src/services/rooms/redactions/user-redactions.ts';
import { RoomUserData } from '#src/services/rooms/user-data/room-user-data.ts';
import { remoteCaches } from '../config/cache-shares.ts';
import { ENCRYPTED_PRESETS } from '../config/encrypted-presets.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Events } from './events.ts';
import type { Queries } from './federation-queries.ts';
import type { Memberships } from './membership.ts';
import type { FederationJoins } from './federation-joins.ts';
import type { Outbound } from './outbound.ts';
import type { AppserviceRegistry } from './appservice-registry.ts';
import type { Policy } from './policy.ts';
import type { PushRules } from './push-rules.ts';
import type { Reading } from './reading.ts';
import type { RoomModel } from './room-model.ts';
import type { ThirdPartyInviting } from './third-party-invites.ts';
import type { UserData } from './user-data.ts';
import type { Users } from './users.ts';

/** Rooms: creating, finding, upgrading and reporting them, and sending to them. */
export interface Rooms {
  readonly publicRooms: PublicRooms;
  readonly roomSummaries: RoomSummaries;
  readonly hierarchy: SpaceHierarchy;
  readonly roomCreation: RoomCreationService;
  readonly roomSending: RoomSending;
  readonly roomUpgrade: RoomUpgrade;
  readonly reports: ReportService;
  readonly roomUserData: RoomUserData;
  readonly roomSuccession: RoomSuccession;
  readonly relatedRedactions: RelatedRedactions;
  readonly userRedactions: UserRedactions;
}

export function composeRooms(
  below: Platform &
    Outbound &
    Policy &
    AppserviceRegistry &
    Queries &
    Commit &
    Users &
    UserData &
    RoomModel &
    PushRules &
    EventStreaming &
    Events &
    Reading &
    FederationJoins &
    Memberships &
    ThirdPartyInviting,
): Slice<Rooms> {
  const { access, accountData, aliases, clock, config, database, membershipGate, events, finder, loader, logger } =
    below;
  const { membership, openness, profileSource: profiles, pushRules, relationRules, rooms, tags } = below;
  const { interner, rateLimiter, remoteMembership: remote, remotePublicRooms, spacesApi, stream } = below;
  const { thirdPartyInvites, userActions, users } = below;
  const { appservices, policyGate: policy } = below;
  const { serverName } = config;
  const cacheBytes = remoteCaches(config).rooms;
  const remoteRooms = new RemoteRooms({ api: spacesApi, stream, clock, serverName, cacheBytes });
  const roomSummaries = new RoomSummaries({ rooms, aliases, openness, remote: remoteRooms, serverName });
  const { stateGrowth: growth } = below;
  const newTypes = new NewTypes({ interner, rateLimiter });
  const publicRooms = new PublicRooms({
    database,
    rooms,
    stream,
    openness,
    serverName,
    remote: remotePublicRooms,
    policy,
    appservices,
  });
  return {
    name: 'rooms',
    services: {
      publicRooms,
      roomSummaries,
      hierarchy: new SpaceHierarchy({ database, rooms, openness, remote: remoteRooms, clock, serverName }),
      roomCreation: new RoomCreationService({
        serverName,
        events,
        membership,
        gate: membershipGate,
        newTypes,
        growth,
        aliases,
        profiles,
        thirdPartyInvites,
        remote,
        shadowBans: below.shadowBans,
        logger,
        policy,
        encrypts: (preset) => ENCRYPTED_PRESETS[config.room.encryptionByDefault].includes(preset),
        defaultVersion: config.room.defaultVersion,
        maxInvites: config.rateLimits.enabled ? config.rateLimits.buckets['invite']?.burst : undefined,
      }),
      roomSending: new RoomSending({
        access,
        events,
        aliases,
        relations: relationRules,
        gate: membershipGate,
        openness,
        newTypes,
        serverName,
        actions: userActions,
        shadowBans: below.shadowBans,
        remote,
        policy,
        growth,
      }),
      roomUpgrade: new RoomUpgrade({
        access,
        rooms,
        events,
        loader,
        aliases,
        publicRooms,
        profiles,
        shadowBans: below.shadowBans,
        wholeState: below.wholeState,
        logger,
        policy,
      }),
      reports: new ReportService({ database, rooms, finder, users, clock }),
      roomUserData: new RoomUserData({ rooms, accountData, tags }),
      roomSuccession: new RoomSuccession({ rooms, accountData, tags, pushRules }),
      userRedactions: new UserRedactions({ database, interner, loader, events, access, rateLimiter }),
      relatedRedactions: new RelatedRedactions({ database, interner, rooms, events, logger }),
    },
  };
}
