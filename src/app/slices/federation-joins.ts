import { MembershipApi } from '#src/remote/federation/membership-api.ts';
import { BoundInvites } from '#src/services/federation/invites/bound-invites.ts';
import { ExchangedInvites } from '#src/services/federation/invites/exchanged-invites.ts';
import { FederationMembership } from '#src/services/federation/joins/federation-membership.ts';
import { RemoteJoins } from '#src/services/federation/joins/remote-joins.ts';
import { RemoteLeaves } from '#src/services/federation/joins/remote-leaves.ts';
import { FullStates } from '#src/services/federation/partial-state/full-states.ts';
import { JoinAnswerReader } from '#src/services/federation/room-import/join-answer-reader.ts';
import { MORE_BYTES } from '#src/services/federation/room-import/join-answer-splitter.ts';
import { JoinAnswers } from '#src/services/federation/handshakes/join-answers.ts';
import { MemberRowWriter } from '#src/services/federation/room-import/member-row-writer.ts';
import { LargeAnswers } from '#src/services/federation/room-import/large-answers.ts';
import { MembershipHandshakes } from '#src/services/federation/handshakes/membership-handshakes.ts';
import { UnjoinedRoomCleaner } from '#src/services/federation/out-of-band/unjoined-room-cleaner.ts';
import { MemberEvents } from '#src/services/federation/handshakes/member-events.ts';
import { SentInvites } from '#src/services/federation/invites/sent-invites.ts';
import { OutOfBandMemberships } from '#src/services/federation/out-of-band/out-of-band-memberships.ts';
import { UnjoinedRooms } from '#src/services/federation/out-of-band/unjoined-rooms.ts';
import { ReceivedInvites } from '#src/services/federation/invites/received-invites.ts';
import { RoomCompletion } from '#src/services/federation/partial-state/room-completion.ts';
import { AnsweredEvents } from '#src/services/federation/room-import/answered-events.ts';
import { RoomImport } from '#src/services/federation/room-import/room-import.ts';
import { RestrictedJoins } from '#src/services/rooms/membership/restricted-joins.ts';
import type { Platform } from '../ground/platform.ts';
import type { ServerFiles } from '../ground/server-files.ts';
import type { Slice } from '../ground/slice.ts';
import type { Classification } from './classification.ts';
import type { RoomClosing } from './closed-rooms.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Events } from './events.ts';
import type { FederationHistory } from './federation-history.ts';
import type { Outbound } from './outbound.ts';
import type { Listeners } from './listeners.ts';
import type { Policy } from './policy.ts';
import type { RoomModel } from './room-model.ts';
import type { Servers } from './servers.ts';
import type { UserData } from './user-data.ts';
import type { Users } from './users.ts';

/** Memberships across servers. */
export interface FederationJoins {
  readonly restricted: RestrictedJoins;
  readonly remoteJoins: RemoteJoins;
  readonly remoteLeaves: RemoteLeaves;
  readonly remoteMembership: FederationMembership;
  readonly receivedInvites: ReceivedInvites;
  readonly membershipHandshakes: MembershipHandshakes;
  readonly joinAnswers: JoinAnswers;
  readonly exchangedInvites: ExchangedInvites;
  readonly boundInvites: BoundInvites;
  readonly unjoinedRoomCleaner: UnjoinedRoomCleaner;
  readonly fullStates: FullStates;
}

/** What an answer to `send_join` may have at most, beside its bytes. */
const BOUNDS = { events: 1_000_000, eventBytes: 262_144, memberBytes: 4_194_304 };

export function composeFederationJoins(
  below: Platform &
    ServerFiles &
    Commit &
    Servers &
    Pick<Listeners, 'turns'> &
    Pick<Outbound, 'rateLimiter'> &
    Policy &
    Users &
    UserData &
    RoomModel &
    Classification &
    EventStreaming &
    Events &
    FederationHistory &
    RoomClosing,
): Slice<FederationJoins> {
  const { classifier, clock, config, database, eventVerifier: verifier, events, federationClient } = below;
  const {
    interner,
    invitePermission,
    loader,
    logger,
    random,
    rateLimiter,
    receiver,
    rooms,
    serverPolicy: policy,
  } = below;
  const { signingKeys, states, stream, timers, users, writer } = below;
  const { closedRooms: closed } = below;
  const { serverName } = config;
  const signer = { serverName, signingKey: signingKeys[0] };
  const store = { database, interner, loader, rooms, states, stream, writer };
  const unjoinedRooms = new UnjoinedRooms({ database, interner, rooms, clock });
  const outOfBand = new OutOfBandMemberships({ ...store, unjoinedRooms, events, classifier });
  const restricted = new RestrictedJoins({ database, rooms });
  const api = new MembershipApi(federationClient);
  const bounds = { ...BOUNDS, bytes: config.federation.maxStateBytes };
  const answers = new JoinAnswerReader(verifier, bounds, new LargeAnswers({ clock, turns: below.turns }));
  const members = new MemberRowWriter(writer);
  // Other servers may have other limits than this one.
  const maxStateBytes = 4 * config.room.maxStateBytes;
  const answered = new AnsweredEvents({ database, interner, loader, receiver });
  const imports = new RoomImport({ ...store, events, answered, members, serverName, maxStateBytes });
  const { fasterJoins, fasterJoinsWaitMs } = config.federation;
  const fullStates = new FullStates({
    database,
    rooms,
    loader,
    history: below.historyApi,
    reader: answers,
    completion: new RoomCompletion({ ...store, events, answered, members }),
    policy,
    stream,
    timers,
    logger,
    maxBytes: bounds.bytes + MORE_BYTES,
    waitMs: fasterJoinsWaitMs,
  });
  const memberEvents = new MemberEvents({ clock, random, signer });
  const invites = new SentInvites({
    api,
    events,
    loader,
    members: memberEvents,
    policies: below.policyServers,
    policy,
    receiver,
    serverName,
    verifier,
  });
  const remoteLeaves = new RemoteLeaves({
    api,
    policy,
    rooms,
    loader,
    outOfBand,
    members: memberEvents,
    serverName,
    logger,
  });
  const remoteJoins = new RemoteJoins({
    api,
    verifier,
    rooms,
    receiver,
    unjoinedRooms,
    outOfBand,
    answered,
    imports,
    leaves: remoteLeaves,
    members: memberEvents,
    answers,
    fullStates,
    rateLimiter,
    gaps: below.missingEvents,
    omitsMembers: fasterJoins,
    timers,
    logger,
    bounds,
  });
  const remoteMembership = new FederationMembership({
    api,
    closed,
    policy,
    verifier,
    rooms,
    loader,
    invites,
    joins: remoteJoins,
    leaves: remoteLeaves,
    members: memberEvents,
    outOfBand,
    fullStates,
    serverName,
    logger,
  });
  const exchangedInvites = new ExchangedInvites({ rooms, closed, events, remote: remoteMembership, invitePermission });
  return {
    name: 'federation joins',
    services: {
      restricted,
      remoteJoins,
      remoteLeaves,
      remoteMembership,
      receivedInvites: new ReceivedInvites({
        beforeInvite: (userId) => below.appserviceQueries.beforeInvite(userId),
        database,
        users,
        closed,
        rooms,
        invitePermission,
        policy: below.policyGate,
        verifier,
        outOfBand,
        isLocal: (userId) => events.isLocal(userId),
        signer,
        logger,
      }),
      membershipHandshakes: new MembershipHandshakes({
        rooms,
        closed,
        events,
        receiver,
        verifier,
        restricted,
        signer,
        policy: below.policyGate,
      }),
      joinAnswers: new JoinAnswers({ database, states, serverName }),
      exchangedInvites,
      boundInvites: new BoundInvites({ serverName, api, exchanged: exchangedInvites, users, rateLimiter, logger }),
      unjoinedRoomCleaner: new UnjoinedRoomCleaner({ database, rooms, writer, clock }),
      fullStates,
    },
    start: () => fullStates.start(),
    idle: () => fullStates.idle(),
    drain: () => fullStates.close(),
  };
}
