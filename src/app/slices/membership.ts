import { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import { GuestAccess } from '#src/services/rooms/membership/guest-access.ts';
import { JoinedRoomsQuota } from '#src/services/rooms/membership/joined-rooms-quota.ts';
import { MemberProfiles } from '#src/services/rooms/membership/member-profiles.ts';
import { JoinService } from '#src/services/rooms/membership/join-service.ts';
import { MembershipGate } from '#src/services/rooms/membership/membership-gate.ts';
import { NoticeInvites, noticesSender } from '#src/services/rooms/membership/notice-invites.ts';
import { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import { MutualRooms } from '#src/services/rooms/membership/mutual-rooms.ts';
import type { ProfileSource } from '#src/services/rooms/membership/profile-source.ts';
import { RoomOpenness } from '#src/services/rooms/membership/room-openness.ts';
import { SharedRooms } from '#src/services/rooms/membership/shared-rooms.ts';
import { StateGrowth } from '#src/services/rooms/membership/state-growth.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { RoomClosing } from './closed-rooms.ts';
import type { Commit } from './commit.ts';
import type { Events } from './events.ts';
import type { Queries } from './federation-queries.ts';
import type { FederationJoins } from './federation-joins.ts';
import type { AppserviceRegistry } from './appservice-registry.ts';
import type { Outbound } from './outbound.ts';
import type { Policy } from './policy.ts';
import type { Reading } from './reading.ts';
import type { RoomModel } from './room-model.ts';
import type { Servers } from './servers.ts';
import type { UserData } from './user-data.ts';
import type { Users } from './users.ts';

/** Joins, invites, knocks, leaves, kicks and bans. */
export interface Memberships {
  readonly aliases: AliasService;
  readonly membershipGate: MembershipGate;
  readonly guestAccess: GuestAccess;
  readonly memberProfiles: MemberProfiles;
  readonly openness: RoomOpenness;
  readonly joins: JoinService;
  readonly membership: MembershipService;
  readonly mutualRooms: MutualRooms;
  /** Profiles in the words of member events. */
  readonly profileSource: ProfileSource;
  readonly sharedRooms: SharedRooms;
  readonly stateGrowth: StateGrowth;
}

export function composeMembership(
  below: Platform &
    Outbound &
    AppserviceRegistry &
    Policy &
    Queries &
    Commit &
    Servers &
    Users &
    UserData &
    RoomModel &
    Events &
    Reading &
    FederationJoins &
    RoomClosing,
): Slice<Memberships> {
  const { access, clock, config, database, events, interner, invitePermission, loader, logger, profiles } = below;
  const { rateLimiter, remoteAliases, remoteMembership: remote, restricted, rooms, serverPolicy, visibility } = below;
  const { appserviceQueries, appservices, policyGate: policy, shadowBans } = below;
  const { quotas, serverName } = config;
  const sharedRooms = new SharedRooms(database, interner);
  const aliases = new AliasService({
    database,
    rooms,
    access,
    events,
    clock,
    serverName,
    remote: remoteAliases,
    appservices,
    queries: appserviceQueries,
    policy,
    maxPerRoom: config.room.maxAliases,
    maxPerUser: quotas.aliases,
  });
  const profileSource: ProfileSource = {
    profileOf: async (userId) => {
      const { displayname, avatarUrl } = await profiles.known(userId);
      return { displayname, avatar_url: avatarUrl };
    },
  };
  const noticeInvites = new NoticeInvites(loader, noticesSender(config.serverNotices.user, serverName));
  const openness = new RoomOpenness(restricted);
  const growth = new StateGrowth({
    rateLimiter,
    loader,
    maxEntries: config.room.maxStateEvents,
    maxBytes: config.room.maxStateBytes,
  });
  const membershipGate = new MembershipGate({
    growth,
    serverName,
    isLocal: (userId) => events.isLocal(userId),
    closed: below.closedRooms,
    restricted,
    rateLimiter,
    invitePermission,
    policy,
    noticeInvites,
    sharesRoom: (one, other) => sharedRooms.sharesRoom(one, other),
    talksTo: (server) => serverPolicy.allows(server),
    joinedRooms: new JoinedRoomsQuota(database, quotas.joinedRooms, clock),
  });
  const membership = new MembershipService({
    beforeInvite: (userId) => appserviceQueries.beforeInvite(userId),
    database,
    interner,
    loader,
    visibility,
    rooms,
    events,
    profiles: profileSource,
    gate: membershipGate,
    remote,
    shadowBans,
    wholeState: below.wholeState,
    noticeInvites,
  });
  const joins = new JoinService({
    rooms,
    events,
    aliases,
    profiles: profileSource,
    gate: membershipGate,
    openness,
    remote,
    shadowBans,
    wholeState: below.wholeState,
  });
  return {
    name: 'membership',
    services: {
      aliases,
      membershipGate,
      guestAccess: new GuestAccess({ database, rooms, membership, logger }),
      memberProfiles: new MemberProfiles({ database, interner, rooms, loader, events, profiles, shadowBans, logger }),
      openness,
      joins,
      membership,
      mutualRooms: new MutualRooms(database),
      profileSource,
      sharedRooms,
      stateGrowth: growth,
    },
  };
}
