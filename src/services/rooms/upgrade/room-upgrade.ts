import { OnceByKey } from '#src/kernel/once.ts';
import { SerialByKey } from '#src/kernel/serial.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import type { PublicRooms } from '#src/services/rooms/directory/public-rooms.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { memberContent, type ProfileSource } from '#src/services/rooms/membership/profile-source.ts';
import type { RoomAccess } from '#src/services/reading/access/room-access.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { fits, levelsBeforeLock, lockedLevels, upgradedJoinRules, upgradedLevels } from './upgraded-state.ts';

const TOMBSTONE = 'm.room.tombstone';
const CANONICAL_ALIAS = 'm.room.canonical_alias';
const POWER_LEVELS = 'm.room.power_levels';
/** What is built at once keeps everybody else waiting. */
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

export interface RoomUpgradeOptions {
  readonly access: RoomAccess;
  readonly events: EventService;
  readonly loader: EventLoader;
  readonly aliases: AliasService;
  readonly publicRooms: PublicRooms;
  readonly profiles: ProfileSource;
}

/** Replaces rooms by rooms of another version. Client-Server API, "Room Upgrades". */
export class RoomUpgrade {
  readonly #options: RoomUpgradeOptions;
  readonly #turns = new SerialByKey<string>();
  readonly #running = new OnceByKey<string, Room>();

  constructor(options: RoomUpgradeOptions) {
    this.#options = options;
  }

  /**
   * Makes the successor of a room, moves there what can be moved, and closes the old room. Whoever asks twice while it is being made
   * gets one successor; upgrades that differ come one after the other.
   *
   * @param additionalCreators more users who stand above all power levels; without effect in versions that know no such thing
   * @returns the new room
   * @throws MatrixError M_UNSUPPORTED_ROOM_VERSION, M_FORBIDDEN unless the user may send `m.room.tombstone`, M_INVALID_PARAM
   */
  upgrade(
    userId: string,
    roomId: string,
    versionId: string,
    additionalCreators: readonly string[] = [],
  ): Promise<Room> {
    const wish = JSON.stringify([userId, roomId, versionId, additionalCreators]);
    return this.#running.run(wish, () =>
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
    await this.#moveNames(old, successor, userId);
    await this.#lock(old, userId);
    return successor;
  }

  /** Where the room id comes of the create event, that cannot name the tombstone, which names the room id. */
  async #createThenClose(old: Room, version: RoomVersion, userId: string, creators: readonly string[]): Promise<Room> {
    const successor = await this.#create(old, version, userId, creators, { room_id: old.roomId });
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
      // The old room must not lead nowhere: an empty tombstone is none.
      await events.send(old, { type: TOMBSTONE, sender: userId, stateKey: '', content: {} });
      throw error;
    }
  }

  async #tombstone(old: Room, userId: string, successor: string): Promise<string> {
    const content = { body: 'This room has been replaced', replacement_room: successor };
    return (await this.#options.events.send(old, { type: TOMBSTONE, sender: userId, stateKey: '', content })).eventId;
  }

  async #create(
    old: Room,
    version: RoomVersion,
    userId: string,
    creators: readonly string[],
    predecessor: JsonObject,
    roomId?: string,
  ): Promise<Room> {
    const { events, loader, profiles } = this.#options;
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
    const bans = (await this.#bans(old))
      .filter(({ target }) => !creators.includes(target))
      .map(({ target, content }) => own('m.room.member', content, target));
    const profile = await profiles.profileOf(userId);
    const before = await levelsBeforeLock(old, loader);
    const levels = own(POWER_LEVELS, upgradedLevels(old, version, before, [userId, ...creators]));
    // The old room's levels may leave to its creator less than is needed here: they come last.
    const meanwhile = version.auth.privilegedCreators ? levels : own(POWER_LEVELS, { users: { [userId]: 100 } });
    const drafts = [
      own('m.room.member', memberContent('join', profile), userId),
      own('m.room.join_rules', upgradedJoinRules(version, joinRules)),
      ...this.#transferred(old, version).map(({ type, stateKey, content }) => own(type, content, stateKey)),
      ...bans.slice(0, BANS_AT_ONCE),
      bans.length > BANS_AT_ONCE ? meanwhile : levels,
    ];
    const successor = await events.createRoom({
      version,
      creator: userId,
      createContent,
      isPublic: old.isPublic,
      events: () => drafts,
      ...(roomId === undefined ? {} : { roomId }),
    });
    for (let at = BANS_AT_ONCE; at < bans.length; at += BANS_AT_ONCE)
      await events.sendAll(successor, bans.slice(at, at + BANS_AT_ONCE));
    if (bans.length > BANS_AT_ONCE) await events.send(successor, levels);
    return successor;
  }

  #transferred(old: Room, version: RoomVersion): { type: string; stateKey: string; content: JsonObject }[] {
    const found = TRANSFERRED.flatMap((type) => old.stateEvent(type) ?? []);
    for (const { event } of old.state.values()) if (TRANSFERRED_LINKS.includes(event.type)) found.push(event);
    return found
      .map(({ type, stateKey = '', content }) => ({ type, stateKey, content }))
      .filter(({ content }) => Object.keys(content).length > 0 && fits(version, content));
  }

  async #bans(old: Room): Promise<{ target: string; content: JsonObject }[]> {
    const banned = [...old.members.values()].filter(({ membership }) => membership === 'ban');
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
    await ifAllowed(events.send(old, { type: CANONICAL_ALIAS, sender: userId, stateKey: '', content: those(false) }));
    await ifAllowed(events.send(successor, { type: CANONICAL_ALIAS, sender: userId, stateKey: '', content }));
  }

  /** "If possible, the power levels in the old room should also be modified to prevent sending of events and inviting new users." */
  async #lock(old: Room, userId: string): Promise<void> {
    const content = lockedLevels(old);
    if (content === undefined) return;
    await ifAllowed(this.#options.events.send(old, { type: POWER_LEVELS, sender: userId, stateKey: '', content }));
  }
}

/** Does what the user may do and the room can take, and leaves the rest: the upgrade itself has been made. */
const ifAllowed = async (sending: Promise<unknown>): Promise<void> => {
  try {
    await sending;
  } catch (error) {
    if (!(error instanceof MatrixError)) throw error;
  }
};
