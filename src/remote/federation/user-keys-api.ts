import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import { parseCrossSigningKey } from '#src/protocol/keys/cross-signing-key.ts';
import { parseDeviceKeys, parseUploadedKeys } from '#src/protocol/keys/device-keys.ts';
import type { OutboundTimeouts } from '../outbound-http.ts';
import { isDeviceId } from './user-devices-api.ts';
import type { FederationClient } from './federation-client.ts';
import type { FederationRequest } from './federation-request.ts';
import type { FederationRequestOptions } from './federation-request.ts';
import type { FederationFailure } from './federation-result.ts';

/** The keys of users as their server reports them. */
export interface RemoteUserKeys {
  /** User -> device -> `DeviceKeys`, with the device's name in `unsigned`. Every user in the response has an entry. */
  readonly deviceKeys: Readonly<Record<string, Readonly<Record<string, JsonObject>>>>;
  readonly masterKeys: Readonly<Record<string, JsonObject>>;
  readonly selfSigningKeys: Readonly<Record<string, JsonObject>>;
}

/** User -> device -> `<algorithm>:<key id>` -> key. */
export type RemoteClaimedKeys = Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, JsonValue>>>>>>;

/** What ends a question, and what its response is counted by. */
type QuestionBounds = Required<Pick<FederationRequestOptions, 'signal' | 'held'>>;

const BASE = '/_matrix/federation/v1/user/keys';
/** Bytes of a response for each user who is asked for, hundreds of devices, and for all of them. */
export const MAX_BYTES_OF_USER = 1_048_576;
export const MAX_ANSWER_SIZE = 4 * MAX_BYTES_OF_USER;
/** Maximum number of devices of one user. */
const MAX_DEVICES = 2_000;
const TIMEOUTS: Partial<OutboundTimeouts> = { headersMs: 30_000, bodyMs: 30_000, totalMs: 60_000 };
const MAX_DEVICE_NAME_LENGTH = 1_000;

/** The keys of other servers' users. Invalid parts are left out. Server-Server API, "End-to-End Encryption". */
export class UserKeysApi {
  readonly #client: Pick<FederationClient, 'request'>;

  constructor(client: Pick<FederationClient, 'request'>) {
    this.#client = client;
  }

  /**
   * The keys of users of one server. `POST /user/keys/query`.
   *
   * @param wanted user -> device ids; none for all devices
   * @param bounds aborts the request for the caller, which does not count as a failure of the server, and holds the response
   */
  async query(
    destination: string,
    wanted: Readonly<Record<string, readonly string[]>>,
    bounds: QuestionBounds,
  ): Promise<({ readonly ok: true } & RemoteUserKeys) | FederationFailure> {
    const response = await this.#client.request(asked(destination, '/query', { device_keys: wanted }, bounds));
    if (!response.ok) return response;
    const { device_keys: devices, master_keys: master, self_signing_keys: selfSigning } = response.body;
    const deviceKeys: Record<string, Record<string, JsonObject>> = {};
    for (const [userId, chosen] of Object.entries(wanted)) {
      const given = ownMember(devices, userId);
      if (isJsonObject(given)) deviceKeys[userId] = devicesIn(given, userId, chosen);
    }
    const userIds = Object.keys(wanted);
    return {
      ok: true,
      deviceKeys,
      masterKeys: crossSigningKeys(master, 'master', userIds),
      selfSigningKeys: crossSigningKeys(selfSigning, 'self_signing', userIds),
    };
  }

  /**
   * Claims one-time keys of users of one server. `POST /user/keys/claim`.
   *
   * @param wanted user -> device -> algorithm
   */
  async claim(
    destination: string,
    wanted: Readonly<Record<string, Readonly<Record<string, string>>>>,
    bounds: QuestionBounds,
  ): Promise<{ readonly ok: true; readonly claimed: RemoteClaimedKeys } | FederationFailure> {
    const response = await this.#client.request(asked(destination, '/claim', { one_time_keys: wanted }, bounds));
    if (!response.ok) return response;
    const claimed: Record<string, Record<string, Record<string, JsonValue>>> = {};
    for (const [userId, devices] of Object.entries(wanted)) {
      const ofUser = ownMember(response.body['one_time_keys'], userId);
      for (const [deviceId, algorithm] of Object.entries(devices)) {
        const key = keyIn(ownMember(ofUser, deviceId), algorithm);
        if (key !== undefined) (claimed[userId] ??= {})[deviceId] = key;
      }
    }
    return { ok: true, claimed };
  }
}

const asked = (
  destination: string,
  path: string,
  content: Readonly<Record<string, JsonObject>>,
  bounds: QuestionBounds,
): FederationRequest => ({
  ...bounds,
  destination,
  method: 'POST',
  path: `${BASE}${path}`,
  content,
  maxBodyBytes: Math.min(MAX_BYTES_OF_USER * Object.keys(Object.values(content)[0] ?? {}).length, MAX_ANSWER_SIZE),
  timeouts: TIMEOUTS,
  isUrgent: true,
});

const ownMember = (object: JsonValue | undefined, name: string): JsonValue | undefined =>
  isJsonObject(object) && Object.hasOwn(object, name) ? object[name] : undefined;

/** The key parsed by `parse`; undefined where that throws. */
const accepted = <T>(parse: () => T): T | undefined => {
  try {
    return parse();
  } catch (error) {
    if (error instanceof MatrixError) return undefined;
    throw error;
  }
};

const devicesIn = (given: JsonObject, userId: string, chosen: readonly string[]): Record<string, JsonObject> => {
  const wanted = new Set(chosen);
  const devices: Record<string, JsonObject> = {};
  for (const [deviceId, keys] of Object.entries(given).slice(0, MAX_DEVICES)) {
    if ((wanted.size > 0 && !wanted.has(deviceId)) || !isDeviceId(deviceId)) continue;
    const parsed = accepted(() => parseDeviceKeys(keys, userId, deviceId));
    if (parsed !== undefined) devices[deviceId] = { ...parsed, unsigned: unsignedIn(keys) };
  }
  return devices;
};

/** Only the name is taken over: `unsigned` is not covered by a signature. */
const unsignedIn = (keys: JsonValue): JsonObject => {
  const name = ownMember(ownMember(keys, 'unsigned'), 'device_display_name');
  return typeof name === 'string' ? { device_display_name: name.slice(0, MAX_DEVICE_NAME_LENGTH).toWellFormed() } : {};
};

const crossSigningKeys = (
  given: JsonValue | undefined,
  usage: 'master' | 'self_signing',
  userIds: readonly string[],
): Record<string, JsonObject> => {
  const keys: Record<string, JsonObject> = {};
  for (const userId of userIds) {
    const key = ownMember(given, userId);
    const parsed = accepted(() => parseCrossSigningKey(key, `${usage}_key`, usage, userId));
    if (parsed !== undefined) keys[userId] = parsed.content;
  }
  return keys;
};

/** The one key of a device that has the wanted algorithm. */
const keyIn = (given: JsonValue | undefined, algorithm: string): Record<string, JsonValue> | undefined => {
  for (const { algorithm: found, keyId, key } of accepted(() => parseUploadedKeys(given, 'one_time_keys')) ?? [])
    if (found === algorithm) return { [`${found}:${keyId}`]: key };
  return undefined;
};
