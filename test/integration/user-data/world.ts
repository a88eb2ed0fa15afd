import { RelationIndex } from '#src/services/reading/relations/relation-index.ts';
import { IgnoredUsers } from '#src/services/user-data/account-data/ignored-users.ts';
import { FOLLOW_UPS } from '#src/app/slices/events.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import type { PduSigner } from '#src/protocol/events/build-pdu.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import { EventService } from '#src/services/events/stream/event-service.ts';
import { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { FilterService } from '#src/services/user-data/filters/filter-service.ts';
import { UserActions } from '#src/services/accounts/users/user-actions.ts';
import { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import { MemberProfiles } from '#src/services/rooms/membership/member-profiles.ts';
import { ProfileService } from '#src/services/user-data/profiles/profile-service.ts';
import { NotificationRules } from '#src/services/push/classification/classifier.ts';
import { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import { ReadMarkerService } from '#src/services/push/receipts/read-marker-service.ts';
import { ReceiptService } from '#src/services/push/receipts/receipt-service.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { StateStore } from '#src/services/room-model/state/state-store.ts';
import { EphemeralCounter } from '#src/services/commit/ephemeral-counter.ts';
import { Writer } from '#src/services/commit/writer.ts';
import { RoomUserData } from '#src/services/rooms/user-data/room-user-data.ts';
import { TagService } from '#src/services/user-data/tags/tag-service.ts';
import { TypingService } from '#src/services/ephemeral/typing/typing-service.ts';
import { UnreadCounts } from '#src/services/push/unread/unread-counts.ts';
import { Interner } from '#src/storage/room-model/interner.ts';
import { carryProfileHandler } from '#src/workers/carry-profile.ts';
import { doJobs } from '#test/support/jobs.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

export const SERVER = 'test';
const ACCOUNTS = new Set(['@alice:test', '@bob:test', '@carol:test', '@admin:test']);
const key = generateSigningKey((count) => systemRandom.bytes(count));
const signer: PduSigner = { serverName: SERVER, signingKey: key };

/** The services of user data on a database, as a server has them. */
export class World {
  readonly clone: TestDatabase;
  readonly clock = new ManualClock();
  readonly interner: Interner;
  readonly writer: Writer;
  readonly stream = new RoomEventStream(silentLogger);
  readonly loader: EventLoader;
  readonly rooms: RoomRegistry;
  readonly events: EventService;
  readonly accountData: AccountDataService;
  readonly pushRules: PushRuleService;
  readonly receipts: ReceiptService;
  readonly readMarkers: ReadMarkerService;
  readonly tags: TagService;
  readonly roomUserData: RoomUserData;
  readonly filters: FilterService;
  readonly ephemeral = new EphemeralCounter(systemRandom);
  readonly actions = new UserActions();
  readonly typing: TypingService;
  readonly unread: UnreadCounts;
  readonly profiles: ProfileService;
  readonly memberProfiles: MemberProfiles;
  readonly presence: PresenceService;

  private constructor(clone: TestDatabase) {
    this.clone = clone;
    const { database } = clone;
    const { clock } = this;
    const isLocal = (userId: string): boolean => domainOf(userId) === SERVER;
    this.interner = new Interner(database, isLocal);
    this.writer = new Writer({ database, clock, timers: systemTimers, logger: silentLogger, metrics: noMetrics });
    this.loader = new EventLoader(database);
    this.rooms = new RoomRegistry(database, this.interner, this.loader, new StateStore(database));
    this.pushRules = new PushRuleService({
      database,
      interner: this.interner,
      writer: this.writer,
      legacyMentions: true,
      quota: { pieces: 50, bytes: 100_000 },
    });
    this.accountData = new AccountDataService({
      database,
      interner: this.interner,
      writer: this.writer,
      served: [this.pushRules],
      quota: { pieces: 300, bytes: 1_000_000, tagsPerRoom: 10 },
    });
    this.events = new EventService({
      database,
      interner: this.interner,
      loader: this.loader,
      rooms: this.rooms,
      writer: this.writer,
      stream: this.stream,
      followUps: FOLLOW_UPS,
      classifier: new NotificationRules({ database, pushRules: this.pushRules, loader: this.loader, isLocal }),
      signer,
      clock,
      random: systemRandom,
    });
    this.receipts = new ReceiptService({
      database,
      interner: this.interner,
      writer: this.writer,
      events: this.events,
      clock,
      mostThreads: 5,
    });
    const { rooms, events, receipts, accountData } = this;
    this.readMarkers = new ReadMarkerService({
      rooms,
      events,
      receipts,
      accountData,
      threads: new RelationIndex({ database, interner: this.interner, stream: this.stream }),
      actions: this.actions,
    });
    this.tags = new TagService(accountData);
    this.roomUserData = new RoomUserData({ rooms: this.rooms, accountData, tags: this.tags });
    this.filters = new FilterService(database, this.interner, { pieces: 5, bytes: 100_000 });
    this.typing = new TypingService({
      rooms,
      stream: this.stream,
      timers: clock,
      ephemeral: this.ephemeral,
      actions: this.actions,
    });
    this.unread = new UnreadCounts({
      database,
      interner: this.interner,
      events,
      stream: this.stream,
      receipts,
      pushRules: this.pushRules,
      ignoredUsers: new IgnoredUsers(accountData),
    });
    const logger = silentLogger;
    this.profiles = new ProfileService({
      database,
      accountExists: async (userId) => ACCOUNTS.has(userId),
      mostFields: 10,
    });
    const { interner, loader, profiles } = this;
    this.memberProfiles = new MemberProfiles({ database, interner, rooms, loader, events, profiles, logger });
    this.presence = new PresenceService({
      database,
      clock,
      timers: clock,
      logger,
      ephemeral: this.ephemeral,
      enabled: true,
      idleMs: 300_000,
      acted: this.actions.acted,
      sharesRoom: async (a, b) => !(a === '@carol:test' || b === '@carol:test'),
    });
  }

  /** On an empty database, or on the one of an earlier world: what a restart finds. */
  static async begin(clone?: TestDatabase): Promise<World> {
    const world = new World(clone ?? (await cloneDatabase()));
    await world.writer.start();
    return world;
  }

  /** The same database with nothing in memory. */
  async restart(): Promise<World> {
    await this.writer.close();
    return World.begin(this.clone);
  }

  /** Does the jobs that carry profiles into rooms. */
  carryProfiles(): Promise<number> {
    return doJobs(this.clone.database, [carryProfileHandler(this.memberProfiles)]);
  }

  async end(): Promise<void> {
    await this.presence.close();
    await this.writer.close();
    await this.clone.drop();
  }

  /** A room with these members, all joined. */
  async room(
    creator: string,
    others: readonly string[] = [],
    more: readonly EventDraft[] = [],
    create: JsonObject = {},
  ): Promise<Room> {
    const version = roomVersion('11');
    if (version === undefined) throw new Error('room version 11 is missing');
    const state = (type: string, content: JsonObject): EventDraft => ({ type, sender: creator, stateKey: '', content });
    const room = await this.events.createRoom({
      version,
      creator,
      createContent: { ...create, room_version: '11' },
      isPublic: false,
      events: () => [
        { type: 'm.room.member', sender: creator, stateKey: creator, content: { membership: 'join' } },
        state('m.room.power_levels', { users: { [creator]: 100 } }),
        state('m.room.join_rules', { join_rule: 'public' }),
        ...more,
      ],
    });
    for (const userId of others) await this.join(room, userId);
    return room;
  }

  join(room: Room, userId: string, content: JsonObject = {}): Promise<StoredEvent> {
    return this.member(room, userId, userId, 'join', content);
  }

  member(
    room: Room,
    sender: string,
    userId: string,
    membership: string,
    content: JsonObject = {},
  ): Promise<StoredEvent> {
    return this.events.send(room, {
      type: 'm.room.member',
      sender,
      stateKey: userId,
      content: { ...content, membership },
    });
  }

  say(room: Room, sender: string, body: string, content: JsonObject = {}): Promise<StoredEvent> {
    return this.events.send(room, { type: 'm.room.message', sender, content: { msgtype: 'm.text', body, ...content } });
  }

  reply(room: Room, sender: string, root: string, body = 'reply', content: JsonObject = {}): Promise<StoredEvent> {
    return this.say(room, sender, body, { ...content, 'm.relates_to': { rel_type: 'm.thread', event_id: root } });
  }

  /** How many statements `work` sent. */
  async statements(work: () => Promise<unknown>): Promise<number> {
    const before = this.clone.database.statements();
    await work();
    return this.clone.database.statements() - before;
  }
}
