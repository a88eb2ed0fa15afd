import type { Config } from '#src/app/config/config.ts';
import { composeDelayedEvents } from '#src/app/slices/delayed-events.ts';
import { composeReading } from '#src/app/slices/reading.ts';
import { delayedEventsEndpoints } from '#src/http/client-server/delayed_events.ts';
import { banningEndpoints } from '#src/http/client-server/banning.ts';
import { createRoomEndpoints } from '#src/http/client-server/create_room.ts';
import { directoryEndpoints } from '#src/http/client-server/directory.ts';
import { eventContextEndpoints } from '#src/http/client-server/event_context.ts';
import { invitingEndpoints } from '#src/http/client-server/inviting.ts';
import { joiningEndpoints } from '#src/http/client-server/joining.ts';
import { kickingEndpoints } from '#src/http/client-server/kicking.ts';
import { knockingEndpoints } from '#src/http/client-server/knocking.ts';
import { leavingEndpoints } from '#src/http/client-server/leaving.ts';
import { listJoinedRoomsEndpoints } from '#src/http/client-server/list_joined_rooms.ts';
import { listPublicRoomsEndpoints } from '#src/http/client-server/list_public_rooms.ts';
import { messagePaginationEndpoints } from '#src/http/client-server/message_pagination.ts';
import { mutualRoomsEndpoints } from '#src/http/client-server/mutual_rooms.ts';
import { redactionEndpoints } from '#src/http/client-server/redaction.ts';
import { relationsEndpoints } from '#src/http/client-server/relations.ts';
import { roomEventByTimestampEndpoints } from '#src/http/client-server/room_event_by_timestamp.ts';
import { roomSendEndpoints } from '#src/http/client-server/room_send.ts';
import { roomStateEndpoints } from '#src/http/client-server/room_state.ts';
import { roomSummaryEndpoints } from '#src/http/client-server/room_summary.ts';
import { roomsEndpoints } from '#src/http/client-server/rooms.ts';
import { spaceHierarchyEndpoints } from '#src/http/client-server/space_hierarchy.ts';
import { threadsListEndpoints } from '#src/http/client-server/threads_list.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { type RateLimit, TokenBucketLimiter } from '#src/kernel/rate-limiter.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import { encodeSyncToken } from '#src/protocol/wire/position.ts';
import { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import { PublicRooms } from '#src/services/rooms/directory/public-rooms.ts';
import { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { EventService } from '#src/services/events/stream/event-service.ts';
import type { NotificationClassifier } from '#src/services/events/building/notification-class.ts';
import { RoomSummaries } from '#src/services/rooms/directory/room-summaries.ts';
import { MutualRooms } from '#src/services/rooms/membership/mutual-rooms.ts';
import { SpaceHierarchy } from '#src/services/rooms/spaces/space-hierarchy.ts';
import { MembershipDoor } from '#src/services/rooms/membership/membership-door.ts';
import { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import type { MemberProfile } from '#src/services/rooms/membership/profile-source.ts';
import { RestrictedJoins } from '#src/services/rooms/membership/restricted-joins.ts';
import { RoomCreationService } from '#src/services/rooms/creation/room-creation.ts';
import { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { RoomSending } from '#src/services/rooms/sending/room-sending.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Account } from '#src/services/accounts/users/user-service.ts';
import { Writer } from '#src/services/commit/writer.ts';
import { Interner } from '#src/storage/room-model/interner.ts';
import { TestServer } from '#test/http/serve.ts';
import { cloneDatabase, type TestDatabase } from './database.ts';
import { ManualClock } from './manual-clock.ts';
import { thirdPartyInviting, type ThirdPartyInvitingSettings } from './third-party-inviting.ts';

export const SERVER = 'test';
export const SIGNING_KEY = generateSigningKey((count) => systemRandom.bytes(count));
const signer = { serverName: SERVER, signingKey: SIGNING_KEY };

/** Messages notify, everything else does not. */
const classifier: NotificationClassifier = {
  prepare: () => undefined,
  classify: (_room, event) => ({
    notifies: event.type === 'm.room.message' || event.type === 'm.room.encrypted',
    highlightsAll: false,
    exceptions: [],
  }),
};

/**
 * Whoever asks is who the token says: `alice`, `alice/PHONE` for another device, `guest-x` for a guest, `as-x` for a bridge, `suspended-x`
 * for a suspended user, `limited-x` for somebody whom rate limits hold.
 */
const requesterOf = (token: string): Requester => {
  const [name = '', deviceId = 'DEVICE'] = token.split('/');
  if (!/^[a-z][a-z0-9-]*$/.test(name)) throw new MatrixError('M_UNKNOWN_TOKEN', 'This token is not known.');
  return {
    userId: `@${name}:${SERVER}`,
    deviceId,
    isGuest: name.startsWith('guest'),
    isAdmin: name.startsWith('admin'),
    isSuspended: name.startsWith('suspended'),
    rateLimited: name.startsWith('limited'),
    ...(name.startsWith('as-') ? { mayChooseTimestamp: true } : {}),
  };
};

/** A body as a test reads it: what is expected in it the test says itself. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Json = any;

export interface Answer {
  readonly status: number;
  readonly body: Json;
}

export interface RoomServerOptions {
  readonly thirdPartyInvites?: Partial<ThirdPartyInvitingSettings>;
  readonly delayedEvents?: Partial<Config['delayedEvents']>;
  /** None, when left out. */
  readonly rateLimits?: Readonly<Record<string, RateLimit>>;
  /** Of requests. None, when left out. */
  readonly requestLimits?: Readonly<Record<string, RateLimit>>;
}

/** What users and tests have set up outside the services of rooms. */
interface Surroundings {
  readonly profiles: ReadonlyMap<string, MemberProfile>;
  readonly accounts: ReadonlyMap<string, Partial<Account>>;
}

/** The services of rooms on a database of their own, as a server puts them together. */
const compose = (
  clone: TestDatabase,
  clock: ManualClock,
  { profiles, accounts }: Surroundings,
  options: RoomServerOptions,
) => {
  const { database } = clone;
  const isLocal = (userId: string): boolean => domainOf(userId) === SERVER;
  const interner = new Interner(database, isLocal);
  const writer = new Writer({ database, clock, timers: systemTimers, logger: silentLogger, metrics: noMetrics });
  const loader = new EventLoader(database);
  const states = new StateStore(database);
  const rooms = new RoomRegistry(database, interner, loader, states);
  const stream = new RoomEventStream(silentLogger);
  const events = new EventService({
    database,
    interner,
    loader,
    rooms,
    writer,
    stream,
    classifier,
    signer,
    clock,
    random: systemRandom,
  });
  const accountData = new AccountDataService({ database, interner, writer });
  const ignoredUsers = new IgnoredUsers(accountData);
  const reading = composeReading({
    clock,
    database,
    events,
    interner,
    loader,
    rooms,
    states,
    stream,
    ignoredUsers,
  } as never);
  const { access } = reading.services;
  const aliases = new AliasService({ database, rooms, access, events, clock, serverName: SERVER });
  const profileSource = { profileOf: (userId: string) => Promise.resolve(profiles.get(userId) ?? {}) };
  const buckets = options.rateLimits ?? {};
  const rateLimiter = new TokenBucketLimiter(clock, { enabled: true, buckets });
  const restricted = new RestrictedJoins(rooms);
  const door = new MembershipDoor({ serverName: SERVER, isLocal, restricted, rateLimiter, federates: false });
  const membership = new MembershipService({
    database,
    interner,
    loader,
    rooms,
    events,
    aliases,
    profiles: profileSource,
    door,
  });
  const roomSending = new RoomSending({
    access,
    events,
    aliases,
    relations: reading.services.relationRules,
    door,
    serverName: SERVER,
  });
  const delayed = composeDelayedEvents({
    clock,
    timers: clock,
    database,
    logger: silentLogger,
    random: systemRandom,
    config: {
      serverName: SERVER,
      delayedEvents: {
        maxDelayMs: 86_400_000,
        maxScheduled: 100,
        maxFinalised: 1_000,
        finalisedLifetimeMs: 604_800_000,
        requireToken: false,
        ...options.delayedEvents,
      },
    },
    rateLimiter,
    users: { account: async (userId: string) => accounts.get(userId) as Account | undefined },
    roomSending,
    writer,
  } as never);
  const summaries = new RoomSummaries({ rooms, aliases });
  const inviting = thirdPartyInviting(
    { database, clock },
    { rooms, stream, events, membership, profiles: profileSource, accountData, signingKeys: [signer.signingKey] },
    { serverName: SERVER, ...options.thirdPartyInvites },
  );
  return {
    ...inviting,
    ...reading.services,
    delayed,
    delayedEvents: delayed.services.delayedEvents,
    database,
    interner,
    writer,
    loader,
    rooms,
    stream,
    events,
    aliases,
    membership,
    accountData,
    roomSummaries: summaries,
    hierarchy: new SpaceHierarchy({ database, rooms, summaries }),
    mutualRooms: new MutualRooms(database),
    publicRooms: new PublicRooms({ database, rooms, openness: summaries, serverName: SERVER }),
    roomCreation: new RoomCreationService({
      serverName: SERVER,
      events,
      membership,
      door,
      aliases,
      profiles: profileSource,
      thirdPartyInvites: inviting.thirdPartyInvites,
      defaultVersion: '12',
      mostInvites: buckets['invite']?.burst,
    }),
    roomSending,
  };
};

const ROOM_ENDPOINTS = [
  ...banningEndpoints,
  ...createRoomEndpoints,
  ...directoryEndpoints,
  ...eventContextEndpoints,
  ...invitingEndpoints,
  ...joiningEndpoints,
  ...kickingEndpoints,
  ...knockingEndpoints,
  ...leavingEndpoints,
  ...listJoinedRoomsEndpoints,
  ...listPublicRoomsEndpoints,
  ...messagePaginationEndpoints,
  ...mutualRoomsEndpoints,
  ...redactionEndpoints,
  ...relationsEndpoints,
  ...roomEventByTimestampEndpoints,
  ...roomSendEndpoints,
  ...roomStateEndpoints,
  ...roomSummaryEndpoints,
  ...roomsEndpoints,
  ...spaceHierarchyEndpoints,
  ...threadsListEndpoints,
  ...delayedEventsEndpoints,
];

/** `path` is under /_matrix/client/v3, unless it says otherwise: /v1/..., /unstable/... */
const urlOf = (path: string): string =>
  /^\/(v\d|unstable)\//.test(path) ? `/_matrix/client${path}` : `/_matrix/client/v3${path}`;

/** A listening server with the endpoints of rooms and nothing else. Every answer is checked against the specification's schema. */
export class RoomServer {
  readonly clock = new ManualClock();
  readonly profiles = new Map<string, MemberProfile>();
  /** What is known of users' accounts; nothing, unless a test says so. */
  readonly accounts = new Map<string, Partial<Account>>();
  readonly #options: RoomServerOptions;
  readonly #clone: TestDatabase;
  #http = new TestServer({}, true);
  #services: ReturnType<typeof compose>;
  #count = 0;

  private constructor(clone: TestDatabase, options: RoomServerOptions) {
    this.#clone = clone;
    this.#options = options;
    this.#services = compose(clone, this.clock, this, options);
  }

  static async start(options: RoomServerOptions = {}): Promise<RoomServer> {
    const server = new RoomServer(await cloneDatabase(), options);
    await server.#begin();
    return server;
  }

  async #begin(): Promise<void> {
    await this.#services.writer.start();
    await this.#services.delayed.start?.();
    const buckets = this.#options.requestLimits ?? {};
    const rateLimiter = new TokenBucketLimiter(this.clock, { enabled: true, buckets });
    await this.#http.start(
      ROOM_ENDPOINTS,
      { ...this.#services, ...this.#services.delayed.services },
      { authenticate: async (token) => requesterOf(token), rateLimiter },
    );
  }

  get services(): ReturnType<typeof compose> {
    return this.#services;
  }

  /** Starts again on the same database, with nothing in memory. */
  async restart(): Promise<void> {
    await this.#http.stop();
    await this.#services.delayed.close?.();
    await this.#services.writer.close();
    await this.clock.advance(60_000);
    this.#services = compose(this.#clone, this.clock, this, this.#options);
    this.#http = new TestServer({}, true);
    await this.#begin();
  }

  async stop(): Promise<void> {
    await this.#http.stop();
    await this.#services.delayed.close?.();
    await this.#services.writer.close();
    await this.#clone.drop();
  }

  /** One request; `path` is under /_matrix/client/v3, unless it says otherwise: /v1/..., /unstable/... */
  async ask(token: string | undefined, method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await this.#http.ask(method, urlOf(path), {
      ...(token === undefined ? {} : { token }),
      ...(body === undefined ? {} : { body }),
    });
    const json: unknown = answer.text === '' ? undefined : answer.json;
    if (answer.status === 500) {
      const { fields } = await this.#http.line(
        ({ level, fields: { request_id: id } }) =>
          level === 'error' && id === (json as { request_id: string }).request_id,
      );
      throw new Error(`${method} ${path} failed`, { cause: fields['err'] });
    }
    return { status: answer.status, body: json };
  }

  /** One request whose body is sent as it stands, be it JSON or not. */
  async askRaw(token: string, method: string, path: string, raw: string): Promise<Answer> {
    const answer = await this.#http.ask(method, urlOf(path), { token, raw });
    return { status: answer.status, body: answer.json };
  }

  /** A request that has to succeed. */
  async must(token: string | undefined, method: string, path: string, body?: unknown): Promise<Json> {
    const answer = await this.ask(token, method, path, body);
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async room(creator: string, wish: object = {}): Promise<string> {
    return (await this.must(creator, 'POST', '/createRoom', wish)).room_id;
  }

  async say(token: string, roomId: string, text: string): Promise<string> {
    this.#count += 1;
    const content = { msgtype: 'm.text', body: text };
    return (await this.must(token, 'PUT', `/rooms/${roomId}/send/m.room.message/t${this.#count}`, content)).event_id;
  }

  async setState(token: string, roomId: string, type: string, content: object, stateKey = ''): Promise<string> {
    const path = `/rooms/${roomId}/state/${type}/${encodeURIComponent(stateKey)}`;
    return (await this.must(token, 'PUT', path, content)).event_id;
  }

  async join(token: string, ...roomIds: string[]): Promise<void> {
    for (const roomId of roomIds) await this.must(token, 'POST', `/rooms/${roomId}/join`, {});
  }

  /** The bodies of the messages of a page. */
  bodies(page: Json): string[] {
    return page.chunk.filter((event: Json) => event.type === 'm.room.message').map((event: Json) => event.content.body);
  }

  /** The token that /sync would give out now. */
  syncToken(): string {
    return encodeSyncToken({ vector: this.#services.writer.committed(), ephemeral: { run: 'run', count: 0 } });
  }

  /** How many statements `work` sent. */
  async statements(work: () => Promise<unknown>): Promise<number> {
    const before = this.#services.database.statements();
    await work();
    return this.#services.database.statements() - before;
  }
}
