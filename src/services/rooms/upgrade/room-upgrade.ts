import { pretendedDigest, type ShadowBanned } from '#src/services/accounts/moderation/shadow-bans.ts';
import { LRUCache } from 'lru-cache';
import { finishUpgrade } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { privilegedCreatorsOf } from '#src/protocol/auth/create.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { successorIn } from '#src/protocol/content/tombstone.ts';
import { CANONICAL_ALIAS, POWER_LEVELS, TOMBSTONE } from '#src/protocol/events/event-types.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import type { PublicRooms } from '#src/services/rooms/directory/public-rooms.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { memberContent } from '#src/services/rooms/membership/member-draft.ts';
import type { ProfileSource } from '#src/services/rooms/membership/profile-source.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { RoomAccess } from '#src/services/reading/access/room-access.ts';
import type { WholeState } from '#src/services/room-model/room/whole-state.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { fits, levelsBeforeLock, lockedLevels, upgradedJoinRules, upgradedLevels } from './upgraded-state.ts';

/** Bans that are built in one turn of the event loop, which other requests wait for. */
const BANS_AT_ONCE = 100;

/** State that is said again in the new room, with empty state key. Client-Server API, "Room Upgrades", step 3. */
const TRANSFERRED = [
  'm.room.history_visibility',
  'm.room.guest_access',
  'm.room.encryption',
  'm.room.server_acl',
  'm.room.name',
  'm.room.topic',
  'm.room.avatar',
  'm.room.retention',
];
/** The same, with any state key. */
const TRANSFERRED_LINKS = ['m.space.child', 'm.space.parent'];

/** Upgrades that are remembered to be finished. */
const MAX_FINISHED = 1_000;

export interface RoomUpgradeOptions {
  readonly access: RoomAccess;
  readonly rooms: RoomRegistry;
  readonly events: EventService;
  readonly loader: EventLoader;
  readonly aliases: AliasService;
  readonly publicRooms: PublicRooms;
  readonly profiles: ProfileSource;
  /** Shadow-banned users: they get a made-up room id. */
  readonly shadowBans: ShadowBanned;
  readonly wholeState: Pick<WholeState, 'of'>;
  readonly logger: Logger;
  readonly policy: PolicyGate;
}

/**
 * Replaces rooms by rooms of another version. Client-Server API, "Room Upgrades". The tombstone is written together with the job that
 * finishes the upgrade, so that a process that is killed after it leaves nothing half done.
 */
export class RoomUpgrade {
  readonly #options: RoomUpgradeOptions;
  readonly #turns = new SerialByKey<string>();
  readonly #running = new OnceByKey<string, Room>();
  /** Upgrades that this process has finished before their job came, by the old room and its successor. */
  readonly #finished = new LRUCache<string, true>(atMost(MAX_FINISHED));

  constructor(options: RoomUpgradeOptions) {
    this.#options = options;
  }

  /**
   * As `upgrade`, for a request of a user. A shadow-banned user gets the id of a room that does not exist.
   *
   * @returns the id of the new room
   */
  async replace(
    userId: string,
    roomId: string,
    versionId: string,
    additionalCreators: readonly string[] = [],
  ): Promise<string> {
    if (!this.#options.shadowBans.has(userId))
      return (await this.upgrade(userId, roomId, versionId, additionalCreators)).roomId;
    await this.#options.access.joined(roomId, userId);
    return `!${pretendedDigest(userId, roomId, versionId).toString('base64url')}`;
  }

  /**
   * Makes the successor of a room, moves there what can be moved, and closes the old room. A client that asks twice while it is being made
   * gets one successor; upgrades that differ come one after the other.
   *
   * @param additionalCreators more users who stand above all power levels; without effect in versions that know no such thing
   * @returns the new room
   * @throws MatrixError M_UNSUPPORTED_ROOM_VERSION, M_FORBIDDEN unless the user may send `m.room.tombstone`, M_INVALID_PARAM, M_UNKNOWN (503) while it is not
   *   known who is banned
   */
  upgrade(
    userId: string,
    roomId: string,
    versionId: string,
    additionalCreators: readonly string[] = [],
  ): Promise<Room> {
    const key = JSON.stringify([userId, roomId, versionId, additionalCreators]);
    return this.#running.run(key, () =>
      this.#turns.run(roomId, () => this.#upgrade(userId, roomId, versionId, additionalCreators)),
    );
  }

  async #upgrade(
    userId: string,
    roomId: string,
    versionId: string,
    additionalCreators: readonly string[],
  ): Promise<Room> {
    const version = roomVersion(versionId);
    if (version === undefined) {
      throw new MatrixError('M_UNSUPPORTED_ROOM_VERSION', `This server does not know the room version ${versionId}.`);
    }
    const old = await this.#options.access.joined(roomId, userId);
    if (!old.powerLevels().maySend(userId, TOMBSTONE, true)) {
      throw new MatrixError('M_FORBIDDEN', 'Your power level in this room is too low to upgrade it.');
    }
    // Who is banned is to be banned in the new one.
    await this.#options.wholeState.of(old);
    await this.#options.policy.mayCreateRoom(userId, { room_version: version.id });
    const creators = version.auth.privilegedCreators
      ? [...new Set(additionalCreators)].filter((one) => one !== userId)
      : [];
    const wrong = creators.find((one) => !isUserId(one));
    if (wrong !== undefined) {
      throw new MatrixError(
        'M_INVALID_PARAM',
        `additional_creators names ${JSON.stringify(wrong)}, which is not a user id.`,
      );
    }
    const successor = version.roomIdIsCreateHash
      ? await this.#createThenClose(old, version, userId, creators)
      : await this.#closeThenCreate(old, version, userId, creators);
    try {
      await this.#finish(old, successor, userId);
    } catch (err) {
      // The room is upgraded, which is what its user asked for. The job does what is left.
      this.#options.logger.warn('a room upgrade was interrupted; a job completes it', { room_id: old.roomId, err });
    }
    return successor;
  }

  /**
   * Does what an upgrade has not done because its process was killed: carries the rest of the bans over, moves names and closes the old
   * room; or takes the tombstone back where the process was killed before there was a successor.
   */
  async finish(roomNid: number, successorId: string, userId: string): Promise<void> {
    const old = await this.#options.rooms.byNid(roomNid);
    if (old === undefined) return;
    // It waits for the upgrade itself where that is still running.
    await this.#turns.run(old.roomId, async () => {
      if (this.#finished.delete(keyOf(old, successorId))) return;
      if (successorIn(old.stateEvent(TOMBSTONE)?.content) !== successorId) return;
      const successor = await this.#options.rooms.byId(successorId);
      if (successor === undefined) await this.#takeTombstoneBack(old, userId);
      else await this.#finish(old, successor, userId);
    });
  }

  async #finish(old: Room, successor: Room, userId: string): Promise<void> {
    // Where the tombstone comes last, all of them are there before it.
    if (!successor.version.roomIdIsCreateHash) await this.#carryBans(old, successor, userId);
    await this.#moveNames(old, successor, userId);
    await this.#lock(old, userId);
    this.#finished.set(keyOf(old, successor.roomId), true);
  }

  /** Where the room id comes of the create event, that cannot name the tombstone, which names the room id. */
  async #createThenClose(old: Room, version: RoomVersion, userId: string, creators: readonly string[]): Promise<Room> {
    const successor = await this.#create(old, version, userId, creators, { room_id: old.roomId });
    await this.#carryBans(old, successor, userId);
    await this.#tombstone(old, userId, successor.roomId);
    return successor;
  }

  async #closeThenCreate(old: Room, version: RoomVersion, userId: string, creators: readonly string[]): Promise<Room> {
    const { events } = this.#options;
    const roomId = events.newRoomId();
    const eventId = await this.#tombstone(old, userId, roomId);
    try {
      return await this.#create(old, version, userId, creators, { room_id: old.roomId, event_id: eventId }, roomId);
    } catch (error) {
      await this.#takeTombstoneBack(old, userId);
      throw error;
    }
  }

  /** The old room must not point to a room that does not exist: an empty tombstone counts as none. */
  async #takeTombstoneBack(old: Room, userId: string): Promise<void> {
    await ifAllowed(this.#options.events.send(old, { type: TOMBSTONE, sender: userId, stateKey: '', content: {} }));
  }

  async #tombstone(old: Room, userId: string, successor: string): Promise<string> {
    const content = { body: 'This room has been replaced', replacement_room: successor };
    const jobs = [requestJob(finishUpgrade, { room: old.nid, successor, userId })];
    const draft = { type: TOMBSTONE, sender: userId, stateKey: '', content, jobs };
    return (await this.#options.events.send(old, draft)).eventId;
  }

  async #create(
    old: Room,
    version: RoomVersion,
    userId: string,
    creators: readonly string[],
    predecessor: JsonObject,
    roomId?: string,
  ): Promise<Room> {
    const { events, profiles } = this.#options;
    const oldCreate = old.stateEvent('m.room.create')?.content ?? {};
    const createContent: JsonObject = {
      room_version: version.id,
      predecessor,
      ...(old.roomType === undefined ? {} : { type: old.roomType }),
      ...(typeof oldCreate['m.federate'] === 'boolean' ? { 'm.federate': oldCreate['m.federate'] } : {}),
      ...(version.auth.implicitCreator ? {} : { creator: userId }),
      ...(creators.length === 0 ? {} : { additional_creators: [...creators] }),
    };
    const own = (type: string, content: JsonObject, stateKey = ''): EventDraft => ({
      type,
      sender: userId,
      stateKey,
      content,
    });
    const joinRules = old.stateEvent('m.room.join_rules')?.content;
    const bans = (await this.#bans(old, creators)).map(({ target, content }) => own('m.room.member', content, target));
    const profile = await profiles.profileOf(userId);
    const levels = await this.#levels(old, version, userId, creators);
    // The old room's levels may leave to its creator less than is needed here: they come last.
    const first = bans.length > BANS_AT_ONCE ? firstLevels(version, levels, userId) : levels;
    const drafts = [
      own('m.room.member', memberContent('join', profile), userId),
      own('m.room.join_rules', upgradedJoinRules(version, joinRules)),
      ...this.#transferred(old, version).map(({ type, stateKey, content }) => own(type, content, stateKey)),
      ...bans.slice(0, BANS_AT_ONCE),
      own(POWER_LEVELS, first),
    ];
    return events.createRoom({
      version,
      creator: userId,
      createContent,
      isPublic: old.isPublic,
      events: () => drafts,
      ...(roomId === undefined ? {} : { roomId }),
    });
  }

  async #levels(old: Room, version: RoomVersion, userId: string, creators: readonly string[]): Promise<JsonObject> {
    return upgradedLevels(old, version, await levelsBeforeLock(old, this.#options.loader), [userId, ...creators]);
  }

  /** Carries the bans over that were too many to be made with the new room, and the power levels that wait for them. */
  async #carryBans(old: Room, successor: Room, userId: string): Promise<void> {
    const { events } = this.#options;
    const { version } = successor;
    const create = successor.stateEvent('m.room.create');
    const creators = create === undefined ? [] : [...privilegedCreatorsOf(version, create.pdu)];
    const levels = await this.#levels(old, version, userId, creators);
    const areSet = !isSame(successor.stateEvent(POWER_LEVELS)?.content ?? {}, firstLevels(version, levels, userId));
    if (areSet) return;
    const missing = (await this.#bans(old, creators)).filter(({ target }) => !isBanned(successor, target));
    const own = { sender: userId };
    for (let at = 0; at < missing.length; at += BANS_AT_ONCE) {
      const some = missing.slice(at, at + BANS_AT_ONCE);
      await events.sendAll(
        successor,
        some.map(({ target, content }) => ({ ...own, type: 'm.room.member', stateKey: target, content })),
      );
    }
    await events.send(successor, { ...own, type: POWER_LEVELS, stateKey: '', content: levels });
  }

  #transferred(old: Room, version: RoomVersion): { type: string; stateKey: string; content: JsonObject }[] {
    const found = TRANSFERRED.flatMap((type) => old.stateEvent(type) ?? []);
    for (const { event } of old.state.values()) if (TRANSFERRED_LINKS.includes(event.type)) found.push(event);
    return found
      .map(({ type, stateKey = '', content }) => ({ type, stateKey, content }))
      .filter(({ content }) => Object.keys(content).length > 0 && fits(version, content));
  }

  /** What is banned in the old room, but for those who make the new one. */
  async #bans(old: Room, creators: readonly string[]): Promise<{ target: string; content: JsonObject }[]> {
    const banned = [...old.members.values()].filter(
      ({ membership, userId }) => membership === 'ban' && !creators.includes(userId),
    );
    const loaded = await this.#options.loader.load(banned.map(({ event }) => ({ room: old, nid: event })));
    return banned.map(({ userId, event }) => {
      const reason = loaded.get(event)?.content['reason'];
      const isText = typeof reason === 'string' && reason.isWellFormed();
      return { target: userId, content: { membership: 'ban', ...(isText ? { reason } : {}) } };
    });
  }

  /** "Moves any local aliases to the new room": and the place in the directory. */
  async #moveNames(old: Room, successor: Room, userId: string): Promise<void> {
    const { aliases, events, publicRooms } = this.#options;
    const moved = new Set(await aliases.move(old, successor));
    await publicRooms.delist(old);
    const canonical = old.stateEvent(CANONICAL_ALIAS)?.content;
    if (canonical === undefined) return;
    const main = canonical['alias'];
    const alternatives = Array.isArray(canonical['alt_aliases']) ? canonical['alt_aliases'] : [];
    const those = (isMoved: boolean): JsonObject => {
      const alts = alternatives.filter((alias) => typeof alias === 'string' && moved.has(alias) === isMoved);
      return {
        ...(typeof main === 'string' && moved.has(main) === isMoved ? { alias: main } : {}),
        ...(alts.length === 0 ? {} : { alt_aliases: alts }),
      };
    };
    const content = those(true);
    if (Object.keys(content).length === 0) return;
    // The old room forgets them last: they are read from it.
    await ifAllowed(events.send(successor, { type: CANONICAL_ALIAS, sender: userId, stateKey: '', content }));
    await ifAllowed(events.send(old, { type: CANONICAL_ALIAS, sender: userId, stateKey: '', content: those(false) }));
  }

  /** "If possible, the power levels in the old room should also be modified to prevent sending of events and inviting new users." */
  async #lock(old: Room, userId: string): Promise<void> {
    const content = lockedLevels(old);
    if (content === undefined) return;
    await ifAllowed(this.#options.events.send(old, { type: POWER_LEVELS, sender: userId, stateKey: '', content }));
  }
}

const keyOf = (old: Room, successorId: string): string => `${old.nid} ${successorId}`;

const isBanned = (room: Room, userId: string): boolean => room.member(userId)?.membership === 'ban';

/** The power levels that a new room has until all bans are carried over: its maker has to be able to. */
const firstLevels = (version: RoomVersion, levels: JsonObject, userId: string): JsonObject =>
  version.auth.privilegedCreators ? levels : { users: { [userId]: 100 } };

const isSame = (one: JsonObject, other: JsonObject): boolean =>
  canonicalJson(one, 'lenient') === canonicalJson(other, 'lenient');

/** Does what the user may do and the room can take, and leaves the rest: the upgrade itself has been made. */
const ifAllowed = async (sending: Promise<unknown>): Promise<void> => {
  try {
    await sending;
  } catch (error) {
    if (!(error instanceof MatrixError) || error.status >= 500 || error.status === 429) throw error;
  }
};
