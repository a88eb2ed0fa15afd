import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { Database } from '#src/storage/database.ts';
import {
  type CrossSigningKeyRecord,
  crossSigningKeysOf,
  type KeySignatureRecord,
  visibleKeySignatures,
} from '#src/storage/e2ee/cross-signing-keys.ts';
import { type DeviceKeysRecord, deviceKeysOfUsers } from '#src/storage/e2ee/device-keys.ts';
import type { RemoteUserKeys } from '#src/remote/federation/user-keys-api.ts';
import type { EventFollower } from '#src/services/events/stream/event-follower.ts';
import type { RemoteDeviceLists } from '#src/services/e2ee/device-lists/remote-device-lists.ts';
import { deviceKey } from '#src/protocol/identifiers/device-names.ts';
import {
  assertFewServers,
  DEFAULT_TIMEOUT_MS,
  type KeyQuestions,
  publicKeyOf,
  type RemoteKeys,
} from './remote-keys.ts';

/** Users whose keys one request may ask for. */
export const MAX_USERS = 10_000;
/** Devices of one user that one request may name. */
export const MAX_DEVICES = 1_000;
export const MAX_TIMEOUT_MS = 30_000;
/** Users whose keys are read at once. Clients ask for some hundreds. */
export const USERS_AT_ONCE = 500;
/** How many requests for more are answered at once, and how many of one user may wait. */
export const LONG_AT_ONCE = 2;
export const MAX_LONG_WAITING = 200;

/** The answer to `POST /keys/query`. */
export interface QueriedKeys {
  readonly device_keys: Readonly<Record<string, Readonly<Record<string, JsonObject>>>>;
  readonly master_keys: Readonly<Record<string, JsonObject>>;
  readonly self_signing_keys: Readonly<Record<string, JsonObject>>;
  readonly user_signing_keys: Readonly<Record<string, JsonObject>>;
  readonly failures: Readonly<Record<string, JsonObject>>;
}

/** How long a query waits until it is known who has left rooms before. */
const MAX_WAIT_MS = 1_000;

/** The keys of users of this server, as one reader may see them. */
export interface LocalKeys extends RemoteUserKeys {
  readonly userSigningKeys: Readonly<Record<string, JsonObject>>;
}

export interface KeyQueryOptions {
  readonly database: Database;
  readonly isLocal: (userId: string) => boolean;
  readonly remote: RemoteKeys;
  /** The device lists of users of other servers that are stored here. */
  readonly lists: Pick<RemoteDeviceLists, 'known' | 'ask'>;
  /** The follower that tells these which users left rooms. */
  readonly follower: Pick<EventFollower, 'reached'>;
}

/** Milliseconds to wait for other servers, by what the client asks for. */
export const remoteTimeout = (asked: number | undefined): number =>
  Math.min(Math.max(asked ?? DEFAULT_TIMEOUT_MS, 1), MAX_TIMEOUT_MS);

/** @throws MatrixError M_TOO_LARGE */
export const assertFewKeys = (wanted: readonly (readonly [string, readonly string[]])[]): void => {
  if (wanted.length > MAX_USERS)
    throw new MatrixError('M_TOO_LARGE', `One request can ask for the keys of ${MAX_USERS} users at most.`);
  if (wanted.some(([, devices]) => devices.length > MAX_DEVICES))
    throw new MatrixError('M_TOO_LARGE', `One request can name ${MAX_DEVICES} devices of a user at most.`);
};

/** What stands under `failures` for a server that could not be asked. */
export const failureOf = (error: unknown): JsonObject =>
  error instanceof MatrixError
    ? { errcode: error.errcode, error: error.message, status: error.status }
    : { errcode: 'M_UNKNOWN', error: 'This server could not be reached.', status: 503 };

/** Hands out the identity keys of devices and users. Client-Server API, `POST /keys/query`. */
export class KeyQuery {
  readonly #options: KeyQueryOptions;
  /** Those of many users. */
  readonly #long = new FairGate({ concurrency: LONG_AT_ONCE, maxWaiting: MAX_LONG_WAITING });

  constructor(options: KeyQueryOptions) {
    this.#options = options;
  }

  /**
   * The keys of users of this and of other servers.
   *
   * @param wanted user -> device ids; an empty list for all devices
   * @param timeoutMs how long other servers are waited for; undefined for the usual time
   * @param signal of the request: other servers are not waited for any longer than its client
   * @throws MatrixError M_TOO_LARGE when one request asks for too many
   */
  async query(
    readerId: string,
    wanted: Readonly<Record<string, readonly string[]>>,
    timeoutMs: number | undefined,
    signal?: AbortSignal,
  ): Promise<QueriedKeys> {
    const entries = Object.entries(wanted).filter(([userId]) => domainOf(userId) !== undefined);
    assertFewKeys(entries);
    const { isLocal } = this.#options;
    const ofRemote = entries.filter(([userId]) => !isLocal(userId) && isUserId(userId));
    const servers = Map.groupBy(ofRemote, ([userId]) => domainOf(userId) ?? '');
    assertFewServers(servers);
    const failures: Record<string, JsonObject> = {};
    const onFailure = (server: string, error: unknown): void => {
      failures[server] = failureOf(error);
    };
    const [local, remote] = await this.#options.remote.ask(remoteTimeout(timeoutMs), signal, (questions) =>
      Promise.all([
        this.local(Object.fromEntries(entries.filter(([userId]) => isLocal(userId))), readerId),
        this.#remote(new Map(ofRemote), questions, onFailure),
      ]),
    );
    const answers = [local, ...remote];
    const masterKeys = Object.assign({}, ...remote.map((answer) => answer.masterKeys)) as Record<string, JsonObject>;
    return {
      device_keys: Object.assign({}, ...answers.map(({ deviceKeys }) => deviceKeys)),
      master_keys: { ...local.masterKeys, ...(await this.#signedBy(readerId, masterKeys)) },
      self_signing_keys: Object.assign({}, ...answers.map(({ selfSigningKeys }) => selfSigningKeys)),
      user_signing_keys: local.userSigningKeys,
      failures,
    };
  }

  /** The keys of users of other servers: what is known here is looked up once for all of them, for the rest each server is asked. */
  async #remote(
    wanted: ReadonlyMap<string, readonly string[]>,
    questions: KeyQuestions,
    onFailure: (server: string, error: unknown) => void,
  ): Promise<RemoteUserKeys[]> {
    if (wanted.size === 0) return [];
    const { follower, lists } = this.#options;
    // Of users who have just left a room nothing is told any more: what is known of them is out of date.
    await follower.reached(MAX_WAIT_MS);
    const known = await lists.known([...wanted.keys()]);
    const here = onlyChosen(known.keys, wanted);
    const listed = new Set(known.wanted);
    const missing = Map.groupBy([...known.wanted, ...known.unknown], (userId) => domainOf(userId) ?? '');
    const told = await Promise.all(
      [...missing].map(async ([server, users]) => {
        const ask = { server, wanted, questions, onFailure: (error: unknown) => onFailure(server, error) };
        const [list, others] = [users.filter((user) => listed.has(user)), users.filter((user) => !listed.has(user))];
        if (list.length === 0) return this.#asked(others, ask);
        // Whatever timeout one user asked for: the list is fetched for all, and one user's timeout is no failure of the server.
        const asked = lists.ask(list, DEFAULT_TIMEOUT_MS);
        const found = await questions.inTime(server, asked).catch(ask.onFailure);
        if (!found) return [];
        return [onlyChosen(found.keys, wanted), ...(await this.#asked([...found.unknown, ...others], ask))];
      }),
    );
    return [here, ...told.flat()];
  }

  /** Asks a server for users whose lists are not stored here. */
  async #asked(
    userIds: readonly string[],
    { onFailure, questions, server, wanted }: Question,
  ): Promise<RemoteUserKeys[]> {
    if (userIds.length === 0) return [];
    const devices = Object.fromEntries(userIds.map((userId) => [userId, wanted.get(userId) ?? []]));
    try {
      return [await questions.query(server, devices)];
    } catch (error) {
      onFailure(error);
      return [];
    }
  }

  /** Master keys of other servers' users, with the signatures that the reader made of them. */
  async #signedBy(
    readerId: string,
    masterKeys: Readonly<Record<string, JsonObject>>,
  ): Promise<Readonly<Record<string, JsonObject>>> {
    const userIds = Object.keys(masterKeys);
    if (userIds.length === 0) return masterKeys;
    const signatures = await visibleKeySignatures(this.#options.database, userIds, readerId);
    const byUser = Map.groupBy(signatures, ({ userId }) => userId);
    return Object.fromEntries(
      Object.entries(masterKeys).map(([userId, key]) => {
        const publicKey = publicKeyOf(key);
        return [
          userId,
          withSignatures(
            key,
            byUser.get(userId)?.filter(({ target }) => target === publicKey),
          ),
        ];
      }),
    );
  }

  /**
   * The keys of users of this server. Every user who was asked for has an entry, also without any keys.
   *
   * @param readerId who asks: signatures by them are shown to nobody else; undefined for another server
   * @param party for which long queries take turns: the reader, or the server
   */
  async local(
    wanted: Readonly<Record<string, readonly string[]>>,
    readerId: string | undefined,
    party = readerId ?? '',
  ): Promise<LocalKeys> {
    const userIds = Object.keys(wanted);
    if (userIds.length <= USERS_AT_ONCE) return this.#localOf(userIds, wanted, readerId);
    // Part by part: no statement and no turn of the event loop is as long as the list.
    const found = { deviceKeys: {}, masterKeys: {}, selfSigningKeys: {}, userSigningKeys: {} };
    const work = async (): Promise<LocalKeys> => {
      for (let from = 0; from < userIds.length; from += USERS_AT_ONCE) {
        const part = await this.#localOf(userIds.slice(from, from + USERS_AT_ONCE), wanted, readerId);
        for (const [kind, keys] of Object.entries(part)) Object.assign(found[kind as keyof LocalKeys], keys);
      }
      return found;
    };
    return this.#long.run({ party, isPreferred: false }, work, () => limitExceeded('key_queries', 2_000));
  }

  async #localOf(
    userIds: readonly string[],
    wanted: Readonly<Record<string, readonly string[]>>,
    readerId: string | undefined,
  ): Promise<LocalKeys> {
    if (userIds.length === 0) return { deviceKeys: {}, masterKeys: {}, selfSigningKeys: {}, userSigningKeys: {} };
    const { database } = this.#options;
    const [devices, crossSigning, signatures] = await Promise.all([
      deviceKeysOfUsers(database, userIds),
      crossSigningKeysOf(database, userIds),
      visibleKeySignatures(database, userIds, readerId ?? ''),
    ]);
    const signed = new Map<string, KeySignatureRecord[]>();
    for (const signature of signatures) {
      const key = `${signature.userId} ${signature.target}`;
      const list = signed.get(key);
      if (list === undefined) signed.set(key, [signature]);
      else list.push(signature);
    }
    const deviceKeys: Record<string, Record<string, JsonObject>> = Object.fromEntries(
      userIds.map((userId) => [userId, {}]),
    );
    const named = new Map(userIds.map((userId) => [userId, new Set(wanted[userId])]));
    for (const device of devices) {
      const chosen = named.get(device.userId);
      if (chosen !== undefined && chosen.size > 0 && !chosen.has(device.deviceId)) continue;
      const found = deviceKeys[device.userId];
      if (found !== undefined)
        found[device.deviceId] = deviceOf(device, signed.get(deviceKey(device.userId, device.deviceId)));
    }
    const keysOf = (usage: CrossSigningKeyRecord['usage']): Record<string, JsonObject> =>
      Object.fromEntries(
        crossSigning
          .filter((key) => key.usage === usage)
          .map((key) => [
            key.userId,
            withSignatures(JSON.parse(key.content) as JsonObject, signed.get(`${key.userId} ${key.publicKey}`)),
          ]),
      );
    const own = Object.entries(keysOf('user_signing')).filter(([userId]) => userId === readerId);
    return {
      deviceKeys,
      masterKeys: keysOf('master'),
      selfSigningKeys: keysOf('self_signing'),
      userSigningKeys: Object.fromEntries(own),
    };
  }
}

/** What one server is asked. */
interface Question {
  readonly server: string;
  /** User -> device ids; an empty list for all devices. */
  readonly wanted: ReadonlyMap<string, readonly string[]>;
  readonly questions: KeyQuestions;
  readonly onFailure: (error: unknown) => void;
}

const onlyChosen = (keys: RemoteUserKeys, wanted: ReadonlyMap<string, readonly string[]>): RemoteUserKeys => ({
  ...keys,
  deviceKeys: Object.fromEntries(
    Object.entries(keys.deviceKeys).map(([userId, devices]) => [userId, chosen(devices, wanted.get(userId) ?? [])]),
  ),
});

/** Those of a user's devices that are wanted; all where none is named. */
const chosen = (
  devices: Readonly<Record<string, JsonObject>>,
  deviceIds: readonly string[],
): Readonly<Record<string, JsonObject>> =>
  deviceIds.length === 0
    ? devices
    : Object.fromEntries(Object.entries(devices).filter(([deviceId]) => deviceIds.includes(deviceId)));

const deviceOf = (
  { content, displayName }: DeviceKeysRecord,
  signatures: readonly KeySignatureRecord[] | undefined,
): JsonObject => ({
  ...withSignatures(JSON.parse(content) as JsonObject, signatures),
  unsigned: displayName === null ? {} : { device_display_name: displayName },
});

/** A key with the signatures that were uploaded after it beside those that it came with. */
const withSignatures = (key: JsonObject, added: readonly KeySignatureRecord[] | undefined): JsonObject => {
  if (added === undefined) return key;
  const signatures: Record<string, JsonObject> = {};
  for (const [signer, own] of Object.entries(isJsonObject(key['signatures']) ? key['signatures'] : {}))
    if (isJsonObject(own)) signatures[signer] = own;
  for (const { signer, keyId, signature } of added) signatures[signer] = { ...signatures[signer], [keyId]: signature };
  return { ...key, signatures };
};
