import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isRoomAlias, parseMxcUri } from '#src/protocol/identifiers/identifiers.ts';
import { isWorldReadable } from '#src/services/reading/access/room-access.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { RoomOpenness } from '#src/services/rooms/membership/room-openness.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { aliasesOfRoom } from '#src/storage/rooms/aliases.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { ApplicationService } from '#src/services/accounts/appservices/application-service.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import { instanceIdOf } from '#src/services/accounts/appservices/networks.ts';
import { setListed, setListedInNetwork } from '#src/storage/rooms/directory.ts';
import { pageLimit } from '#src/kernel/limits/page-limit.ts';
import { guestsMayJoin } from '#src/protocol/content/guest-access.ts';
import { GUEST_ACCESS } from '#src/protocol/events/event-types.ts';
import type { PublicRoom } from '#src/protocol/content/public-room.ts';
import { DirectoryIndex } from './directory-index.ts';
import type { RemotePublicRooms } from './remote-public-rooms.ts';

export const MAX_LIMIT = 500;
const PAGE = { usual: MAX_LIMIT, greatest: MAX_LIMIT };
const MAX_NETWORK_LENGTH = 255;
/** Characters of what a list tells of a room. */
export const MAX_NAME_LENGTH = 1_024;
export const MAX_TOPIC_LENGTH = 4_096;
const MAX_VALUE_LENGTH = 1_024;
const TOKEN = /^p1_(\d{1,9})$/;

/** A search in the room directory. Client-Server API, `POST /publicRooms`. */
export interface PublicRoomsQuery {
  /** Which server's directory; this one's when left out. */
  readonly server?: string | undefined;
  readonly limit?: number | undefined;
  readonly since?: string | undefined;
  readonly searchTerm?: string | undefined;
  /** Null stands for rooms without a type. */
  readonly roomTypes?: readonly (string | null)[] | undefined;
  /** Only the rooms that an application service listed for this network. */
  readonly thirdPartyInstanceId?: string | undefined;
  /** Those that application services listed, too. */
  readonly includeAllNetworks?: boolean | undefined;
}

export interface PublicRoomsPage {
  readonly chunk: readonly PublicRoom[];
  readonly next_batch?: string;
  readonly prev_batch?: string;
  readonly total_room_count_estimate: number;
}

export interface PublicRoomsOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly stream: RoomEventStream;
  readonly openness: RoomOpenness;
  readonly serverName: string;
  readonly remote: RemotePublicRooms;
  readonly policy: PolicyGate;
  readonly appservices: Appservices;
}

/** The room directory. Client-Server API, "Listing rooms". */
export class PublicRooms {
  readonly #database: Database;
  readonly #rooms: RoomRegistry;
  readonly #index: DirectoryIndex;
  readonly #openness: RoomOpenness;
  readonly #serverName: string;
  readonly #remote: RemotePublicRooms;
  readonly #policy: PolicyGate;
  readonly #appservices: Appservices;

  constructor(options: PublicRoomsOptions) {
    this.#database = options.database;
    this.#rooms = options.rooms;
    this.#index = new DirectoryIndex(options);
    this.#openness = options.openness;
    this.#serverName = options.serverName;
    this.#remote = options.remote;
    this.#policy = options.policy;
    this.#appservices = options.appservices;
  }

  /**
   * A page of the directory, the rooms with the most members first.
   *
   * @throws MatrixError M_INVALID_PARAM for what is no server or no token; M_FORBIDDEN, M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT when another
   *   server cannot be asked
   */
  async list(query: PublicRoomsQuery): Promise<PublicRoomsPage> {
    // Old clients send 0 for as many as there are.
    const limit = pageLimit(query.limit === 0 ? undefined : query.limit, PAGE);
    const { server = this.#serverName, ...rest } = query;
    if (server !== this.#serverName) return this.#remote.list(server, { ...rest, limit });
    const start = offsetOf(query.since);
    const { includeAllNetworks, searchTerm = '', roomTypes, thirdPartyInstanceId: instanceId } = query;
    const isAny = includeAllNetworks === true;
    if (isAny && instanceId !== undefined)
      throw new MatrixError('M_INVALID_PARAM', 'third_party_instance_id is for requests without include_all_networks.');
    const list = isAny ? 'any' : instanceId === undefined ? undefined : { instanceId };
    const { nids, total } = await this.#index.page({ searchTerm, roomTypes, list }, start, limit);
    const rooms = await this.#rooms.load(nids);
    return {
      chunk: nids.flatMap((nid) => rooms.get(nid) ?? []).map(publicRoomOf),
      ...(start + limit < total ? { next_batch: `p1_${start + limit}` } : {}),
      ...(start > 0 ? { prev_batch: `p1_${Math.max(0, start - limit)}` } : {}),
      total_room_count_estimate: total,
    };
  }

  /**
   * Whether a room is listed.
   *
   * @param userId undefined for those without an account
   * @throws MatrixError M_NOT_FOUND, also for a room of which this user may not know
   */
  async isListed(roomId: string, userId: string | undefined): Promise<boolean> {
    return (await this.#known(roomId, userId)).isPublic;
  }

  async #known(roomId: string, userId: string | undefined): Promise<Room> {
    const room = await this.#rooms.byId(roomId);
    if (room !== undefined && (await this.#openness.mayKnowOf(room, userId))) return room;
    throw new MatrixError('M_NOT_FOUND', 'There is no such room, or it is not open to you.');
  }

  /** Puts a room on the list or takes it off. @throws MatrixError M_NOT_FOUND, M_FORBIDDEN unless the user may change the canonical alias */
  async setListed(
    requester: { readonly userId: string; readonly isAdmin: boolean },
    roomId: string,
    isListed: boolean,
  ): Promise<void> {
    const { userId, isAdmin } = requester;
    const room = (isAdmin ? await this.#rooms.byId(roomId) : undefined) ?? (await this.#known(roomId, userId));
    const isOperator = room.isJoined(userId) && room.powerLevels().maySend(userId, 'm.room.canonical_alias', true);
    if (!isOperator && !isAdmin)
      throw new MatrixError('M_FORBIDDEN', 'Only operators of a room change whether it is listed.');
    if (isListed && !room.isPublic)
      await this.#policy.mayPublish(userId, roomId, () => aliasesOfRoom(this.#database, room.nid));
    await this.#setListed(room, isListed);
  }

  /**
   * Puts a room on the list that an application service keeps for a network, or takes it off. Application Service API, "Published room
   * directories".
   *
   * @throws MatrixError M_FORBIDDEN (no application service, or not a room of its own), M_INVALID_PARAM, M_NOT_FOUND, also for a room of
   *   which this user may not know
   */
  async setListedInNetwork(
    { appservice, userId }: Pick<Requester, 'appservice' | 'userId'>,
    network: string,
    roomId: string,
    isListed: boolean,
  ): Promise<void> {
    if (appservice === undefined)
      throw new MatrixError('M_FORBIDDEN', 'This access token is not that of an application service.');
    if (network === '' || network.length > MAX_NETWORK_LENGTH)
      throw new MatrixError('M_INVALID_PARAM', `The id of a network has 1 to ${MAX_NETWORK_LENGTH} characters.`);
    const room = await this.#known(roomId, userId);
    const { service } = appservice;
    if (isListed && !room.isJoined(userId) && !(await this.#isRoomOf(service, room)))
      throw new MatrixError(
        'M_FORBIDDEN',
        'An application service lists rooms that its user is in, or that are in its namespaces.',
      );
    const { id } = service;
    await setListedInNetwork(this.#database, { appservice: id, network, room: room.nid }, isListed);
    this.#index.listedInNetwork(room, instanceIdOf(id, network), isListed);
  }

  /** Whether a room is in a namespace of a service, by its id or by an alias. */
  async #isRoomOf(service: ApplicationService, { nid, roomId }: Room): Promise<boolean> {
    if (this.#appservices.interestedInRoom(roomId).includes(service)) return true;
    const aliases = await aliasesOfRoom(this.#database, nid);
    return aliases.some((alias) => this.#appservices.interestedInAlias(alias).includes(service));
  }

  /** Takes a room off the list that has been replaced by another one. */
  async delist(room: Room): Promise<void> {
    if (!room.isPublic) return;
    await this.#setListed(room, false);
  }

  async #setListed(room: Room, isListed: boolean): Promise<void> {
    await setListed(this.#database, room.nid, isListed);
    room.isPublic = isListed;
    this.#index.listed(room);
  }
}

const offsetOf = (since: string | undefined): number => {
  if (since === undefined || since === '') return 0;
  const match = TOKEN.exec(since);
  if (match === null) throw new MatrixError('M_INVALID_PARAM', 'The parameter since is not a token of this server.');
  return Number(match[1]);
};

const beginningOf = (text: string | undefined, most: number): string | undefined =>
  text === undefined || text.length <= most ? text : text.slice(0, most).toWellFormed();

/** A text that is of no use when it is cut. */
export const shortText = (text: string | undefined): string | undefined =>
  text === undefined || text.length > MAX_VALUE_LENGTH ? undefined : text;

/** A room as the directory and the other services describe it to users who are not in it. */
export const publicRoomOf = (room: Room): PublicRoom => {
  const alias = room.stateText('m.room.canonical_alias', 'alias');
  const avatar = room.stateText('m.room.avatar', 'url');
  // Their senders may write anything there, and many rooms make one list.
  const texts = {
    name: beginningOf(room.stateText('m.room.name', 'name'), MAX_NAME_LENGTH),
    topic: beginningOf(room.stateText('m.room.topic', 'topic'), MAX_TOPIC_LENGTH),
    canonical_alias: isRoomAlias(alias) ? alias : undefined,
    avatar_url: parseMxcUri(avatar) === undefined ? undefined : shortText(avatar),
    room_type: shortText(room.roomType),
  };
  return {
    room_id: room.roomId,
    ...(Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== undefined && text !== '')) as Partial<
      typeof texts
    >),
    num_joined_members: room.joinedCount,
    world_readable: isWorldReadable(room),
    guest_can_join: guestsMayJoin(room.stateText(GUEST_ACCESS, 'guest_access')),
    join_rule: shortText(room.stateText('m.room.join_rules', 'join_rule')) ?? 'invite',
  } as PublicRoom;
};
