import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import { parseRoomAlias } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { CANONICAL_ALIAS } from '#src/protocol/events/event-types.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { isWorldReadable, notInRoom, type RoomAccess } from '#src/services/reading/access/room-access.ts';
import type { PolicyGate } from '#src/services/policy/gate/policy-gate.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import type { AppserviceQueries } from '#src/services/accounts/appservices/appservice-queries.ts';
import { assertAliasOf, exclusiveAlias } from '#src/services/accounts/appservices/namespaces.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { RemoteAliases } from './remote-aliases.ts';
import {
  aliasByName,
  aliasesOfRoom,
  countAliasesOf,
  deleteAlias,
  insertAlias,
  moveAliases,
} from '#src/storage/rooms/aliases.ts';
import { takeUserTurn } from '#src/storage/user-turn.ts';

/** Servers that an answer names for a room. */
const MAX_SERVERS = 20;

/** The room that an alias points to. */
export interface ResolvedAlias {
  readonly roomId: string;
  /** Servers that are in the room. */
  readonly servers: readonly string[];
}

/** The user who creates or deletes an alias. */
export type AliasMaker = Pick<Requester, 'userId' | 'appservice'>;

export interface AliasServiceOptions {
  readonly database: Database;
  readonly rooms: RoomRegistry;
  readonly access: RoomAccess;
  readonly events: EventService;
  readonly clock: Clock;
  readonly serverName: string;
  /** How many aliases a room may have here; any number, when left out. */
  readonly maxPerRoom?: number | undefined;
  readonly remote: RemoteAliases;
  readonly appservices: Appservices;
  /** Asks application services for aliases that are not there. */
  readonly queries: Pick<AppserviceQueries, 'aliasExists'>;
  /** Aliases that a user may make; as many as they like, when left out. */
  readonly maxPerUser?: number | undefined;
  readonly policy: PolicyGate;
}

/** Creates, resolves and deletes room aliases. Client-Server API, "Room aliases". */
export class AliasService {
  readonly #database: Database;
  readonly #rooms: RoomRegistry;
  readonly #access: RoomAccess;
  readonly #events: EventService;
  readonly #clock: Clock;
  readonly #serverName: string;
  readonly #maxPerRoom: number;
  readonly #remote: RemoteAliases;
  readonly #appservices: Appservices;
  readonly #queries: Pick<AppserviceQueries, 'aliasExists'>;
  readonly #maxPerUser: number;
  readonly #policy: PolicyGate;

  constructor(options: AliasServiceOptions) {
    this.#database = options.database;
    this.#rooms = options.rooms;
    this.#access = options.access;
    this.#events = options.events;
    this.#clock = options.clock;
    this.#serverName = options.serverName;
    this.#maxPerRoom = options.maxPerRoom ?? 1_000_000;
    this.#remote = options.remote;
    this.#appservices = options.appservices;
    this.#queries = options.queries;
    this.#maxPerUser = options.maxPerUser ?? Infinity;
    this.#policy = options.policy;
  }

  /**
   * The full alias for a localpart that a user chose for a new room.
   *
   * @throws MatrixError M_INVALID_PARAM when it cannot be one, M_EXCLUSIVE, M_ROOM_IN_USE when it is taken, M_TOO_LARGE when they have made
   *   too many
   */
  async newAlias({ appservice, userId }: AliasMaker, localpart: string): Promise<string> {
    const alias = `#${localpart}:${this.#serverName}`;
    if (!this.#isOwn(alias)) {
      throw new MatrixError('M_INVALID_PARAM', 'room_alias_name must be the part of an alias between # and the colon.');
    }
    assertAliasOf(this.#appservices, appservice?.service, alias);
    if ((await aliasByName(this.#database, alias)) !== undefined) {
      throw new MatrixError('M_ROOM_IN_USE', `The alias ${alias} is taken: choose another room_alias_name.`);
    }
    if (appservice === undefined) await this.#assertMayMakeMore(this.#database, userId);
    return alias;
  }

  /**
   * @param isFresh another server is asked, whatever it said before
   * @throws MatrixError M_INVALID_PARAM for what is no alias, M_NOT_FOUND; as `lookUp`
   */
  async resolve(alias: string, isFresh = false): Promise<ResolvedAlias> {
    assertAlias(alias);
    const found = await this.lookUp(alias, isFresh);
    if (found === undefined) throw new MatrixError('M_NOT_FOUND', `There is no room with the alias ${alias}.`);
    return found;
  }

  /**
   * The room that an alias points to; undefined when there is no such alias.
   *
   * @throws MatrixError M_FORBIDDEN, M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT when another server cannot be asked
   */
  async lookUp(alias: string, isFresh = false): Promise<ResolvedAlias | undefined> {
    if (domainOf(alias) !== this.#serverName) return this.#remote.resolve(alias, isFresh);
    const record = await this.#ownAlias(alias);
    if (record === undefined) return undefined;
    const room = await this.#rooms.byNid(record.room);
    return {
      roomId: record.room_id,
      servers: room === undefined ? [this.#serverName] : serversIn(room, this.#serverName),
    };
  }

  /** One of this server's own aliases. An application service may create it now, if it is in one of its namespaces. */
  async #ownAlias(alias: string): Promise<Awaited<ReturnType<typeof aliasByName>>> {
    const record = await aliasByName(this.#database, alias);
    if (record !== undefined || !(await this.#queries.aliasExists(alias))) return record;
    return aliasByName(this.#database, alias);
  }

  /**
   * Resolves one of this server's aliases for another server.
   *
   * @throws MatrixError M_INVALID_PARAM for what is no alias of this server, M_NOT_FOUND
   */
  async resolveOwn(alias: string): Promise<ResolvedAlias> {
    if (!this.#isOwn(alias))
      throw new MatrixError(
        'M_INVALID_PARAM',
        `room_alias must be an alias of this server, #name:${this.#serverName}.`,
      );
    return this.resolve(alias);
  }

  async #assertMayMakeMore(reader: Database | Tx, userId: string): Promise<void> {
    if (this.#maxPerUser !== Infinity && (await countAliasesOf(reader, userId)) >= this.#maxPerUser)
      throw quotaFull(
        'quotas.aliases',
        `A user makes at most ${this.#maxPerUser} aliases on this server. Delete some of them.`,
      );
  }

  /**
   * Makes an alias of a room. Application services make as many as they like of their namespaces.
   *
   * @throws MatrixError M_UNKNOWN (409) when the alias is taken, M_FORBIDDEN unless in the room, M_INVALID_PARAM, M_EXCLUSIVE, M_TOO_LARGE
   */
  async create({ appservice, userId }: AliasMaker, alias: string, roomId: string): Promise<void> {
    assertAlias(alias);
    if (!this.#isOwn(alias)) {
      throw new MatrixError('M_INVALID_PARAM', `Aliases made here have a name and end in :${this.#serverName}.`);
    }
    assertAliasOf(this.#appservices, appservice?.service, alias);
    const room = await this.#access.joined(roomId, userId);
    await this.#policy.mayCreateAlias(userId, alias, roomId);
    const row = { alias, room: room.nid, creator: userId, createdTs: this.#clock.now() };
    const outcome = await this.#database.write(async (tx) => {
      await takeUserTurn(tx, userId);
      if (appservice === undefined) await this.#assertMayMakeMore(tx, userId);
      return insertAlias(tx, row, this.#maxPerRoom);
    });
    if (outcome === 'taken') throw new MatrixError('M_UNKNOWN', `The alias ${alias} is taken.`, {}, 409);
    if (outcome === 'too many')
      throw quotaFull('room.max_aliases', `A room has ${this.#maxPerRoom} aliases at most: delete one first.`);
  }

  /** Whether an alias has the form of one of this server's. */
  #isOwn(alias: string): boolean {
    const parsed = parseRoomAlias(alias);
    return parsed?.domain === this.#serverName && parsed.localpart !== '';
  }

  /**
   * Deletes an alias. Its creator may, and users who may change the room's canonical alias; their request also removes it from the
   * canonical alias event.
   *
   * Those of an exclusive namespace only their application service takes away, and administrators.
   *
   * @throws MatrixError M_NOT_FOUND, M_FORBIDDEN, M_INVALID_PARAM, M_EXCLUSIVE
   */
  async delete(requester: AliasMaker & Pick<Requester, 'isAdmin'>, alias: string): Promise<void> {
    assertAlias(alias);
    const { appservice, userId } = requester;
    const owner = this.#appservices.ownerOfAlias(alias);
    if (owner !== undefined && owner !== appservice?.service && !requester.isAdmin) throw exclusiveAlias();
    const record = domainOf(alias) === this.#serverName ? await aliasByName(this.#database, alias) : undefined;
    if (record === undefined) throw new MatrixError('M_NOT_FOUND', `There is no alias ${alias} on this server.`);
    const room = await this.#rooms.byNid(record.room);
    const isOperator = room?.isJoined(userId) === true && room.powerLevels().maySend(userId, CANONICAL_ALIAS, true);
    const isOwn = record.creator === userId || (owner !== undefined && owner === appservice?.service);
    if (!isOwn && !isOperator && !requester.isAdmin) {
      throw new MatrixError('M_FORBIDDEN', 'Only who made an alias, and operators of its room, may delete it.');
    }
    await deleteAlias(this.#database, alias, record.room);
    if (room === undefined || !isOperator) return;
    const before = room.stateEvent(CANONICAL_ALIAS)?.content;
    const content = before === undefined ? undefined : withoutAlias(before, alias);
    if (content === undefined) return;
    try {
      await this.#events.send(room, { type: CANONICAL_ALIAS, sender: userId, stateKey: '', content });
    } catch (error) {
      // "delete the alias and return a successful response even if the user does not have permission": they had it a moment ago.
      if (!(error instanceof MatrixError) || error.errcode !== 'M_FORBIDDEN') throw error;
    }
  }

  /** Points all aliases that this server has for a room to its successor. @returns the aliases that were moved */
  async move(from: Room, to: Room): Promise<string[]> {
    await moveAliases(this.#database, from.nid, to.nid);
    return aliasesOfRoom(this.#database, to.nid);
  }

  /**
   * The aliases that this server has for a room. Administrators are told those of every room: their tools ask for them by this.
   *
   * @throws MatrixError M_FORBIDDEN for others who are not in the room, unless it is world-readable
   */
  async ofRoom({ isAdmin, userId }: Pick<Requester, 'userId' | 'isAdmin'>, roomId: string): Promise<string[]> {
    const room = await this.#access.known(roomId);
    if (!isAdmin && !room.isJoined(userId) && !isWorldReadable(room)) throw notInRoom();
    return aliasesOfRoom(this.#database, room.nid);
  }

  /**
   * Checks the content of a new `m.room.canonical_alias`: aliases that it did not name before must lead to the room.
   *
   * @throws MatrixError M_INVALID_PARAM for what is no alias, M_BAD_ALIAS for one that leads to another room or nowhere
   */
  async checkCanonical(room: Room, content: JsonObject): Promise<void> {
    const before = new Set(
      room.stateEvent(CANONICAL_ALIAS) === undefined
        ? []
        : aliasesIn(room.stateEvent(CANONICAL_ALIAS)?.content ?? {}, false),
    );
    for (const alias of aliasesIn(content, true)) {
      if (before.has(alias)) continue;
      if ((await this.#leadsTo(alias)) !== room.roomId) throw badAlias(alias);
    }
  }

  /** The room that an alias points to; undefined when there is none, or when that cannot be found out. */
  async #leadsTo(alias: string): Promise<string | undefined> {
    try {
      return (await this.lookUp(alias))?.roomId;
    } catch (error) {
      if (error instanceof MatrixError) return undefined;
      throw error;
    }
  }

  /**
   * The same for a room that is about to be made: nothing leads to it but the alias that it is made with.
   *
   * @throws MatrixError M_INVALID_PARAM, M_BAD_ALIAS
   */
  checkFirstCanonical(content: JsonObject, own: string | undefined): void {
    const other = aliasesIn(content, true).find((alias) => alias !== own);
    if (other !== undefined) throw badAlias(other);
  }
}

/** The servers in a room: this one first, then those with the most members, and those of which it is only known that they are in it. */
const serversIn = (room: Room, serverName: string): string[] => {
  const joined = room.joinedServers();
  const others = room.remoteServers().toSorted((a, b) => (joined.get(b) ?? 0) - (joined.get(a) ?? 0));
  return [serverName, ...others].slice(0, MAX_SERVERS);
};

const badAlias = (alias: string): MatrixError =>
  new MatrixError('M_BAD_ALIAS', `The alias ${alias} does not lead to this room.`);

const assertAlias = (alias: string): void => {
  if (parseRoomAlias(alias) === undefined) {
    throw new MatrixError('M_INVALID_PARAM', `${alias} is not a room alias, such as #room:example.org.`);
  }
};

/** All aliases that a canonical alias event names. */
const aliasesIn = (content: JsonObject, isStrict: boolean): string[] => {
  const { alias, alt_aliases: alternatives } = content;
  const named = [...(alias === undefined || alias === null || alias === '' ? [] : [alias])];
  if (Array.isArray(alternatives)) named.push(...alternatives);
  else if (isStrict && alternatives !== undefined)
    throw new MatrixError('M_INVALID_PARAM', 'alt_aliases must be a list of aliases.');
  const aliases: string[] = [];
  for (const one of named) {
    if (typeof one === 'string' && parseRoomAlias(one) !== undefined) aliases.push(one);
    else if (isStrict)
      throw new MatrixError(
        'M_INVALID_PARAM',
        `${JSON.stringify(one)} is not a room alias, such as #room:example.org.`,
      );
  }
  return aliases;
};

/** A canonical alias event's content without an alias; undefined when it does not name it. */
const withoutAlias = (content: JsonObject, alias: string): JsonObject | undefined => {
  if (!aliasesIn(content, false).includes(alias)) return undefined;
  const { alias: main, alt_aliases: alternatives, ...rest } = content;
  const left = Array.isArray(alternatives) ? alternatives.filter((one) => one !== alias) : [];
  return {
    ...rest,
    ...(main === undefined || main === alias ? {} : { alias: main }),
    ...(left.length === 0 ? {} : { alt_aliases: left }),
  };
};
