import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import { parseCrossSigningKey } from '#src/protocol/keys/cross-signing-key.ts';
import { parseDeviceKeys } from '#src/protocol/keys/device-keys.ts';
import type { FederationClient } from './federation-client.ts';
import type { FederationFailure } from './federation-result.ts';

/** A device of a user of another server. */
export interface RemoteDevice {
  readonly deviceId: string;
  readonly displayName: string | undefined;
  /** Undefined for a device without valid keys. */
  readonly keys: JsonObject | undefined;
}

/** All devices of a user of another server. */
export interface RemoteUserDevices {
  /** The `stream_id` of the newest change in it. */
  readonly streamId: number;
  readonly devices: readonly RemoteDevice[];
  readonly masterKey: JsonObject | undefined;
  readonly selfSigningKey: JsonObject | undefined;
}

/** Maximum size of a response in bytes: some thousand devices. */
const MAX_ANSWER_SIZE = 8_388_608;
/** Maximum number of devices of one user. */
export const MAX_REMOTE_DEVICES = 2_000;
const MAX_ID_LENGTH = 255;
const MAX_NAME_LENGTH = 1_000;

/** The devices of other servers' users. Invalid parts are left out. Server-Server API, "Device Management". */
export class UserDevicesApi {
  readonly #client: Pick<FederationClient, 'request'>;

  constructor(client: Pick<FederationClient, 'request'>) {
    this.#client = client;
  }

  /** All devices of a user. `GET /user/devices/{userId}`. */
  async devices(
    destination: string,
    userId: string,
    timeoutMs: number,
  ): Promise<({ readonly ok: true } & RemoteUserDevices) | FederationFailure> {
    const response = await this.#client.request({
      destination,
      method: 'GET',
      path: `/_matrix/federation/v1/user/devices/${encodeURIComponent(userId)}`,
      maxBodyBytes: MAX_ANSWER_SIZE,
      timeouts: { headersMs: timeoutMs, bodyMs: timeoutMs, totalMs: timeoutMs },
      isUrgent: true,
    });
    if (!response.ok) return response;
    const { devices, master_key: master, self_signing_key: selfSigning, stream_id: streamId } = response.body;
    if (!isStreamId(streamId) || !Array.isArray(devices))
      return {
        ok: false,
        kind: 'bad_answer',
        destination,
        error: `${destination} answered with something that is no list of devices.`,
      };
    const found = new Map<string, RemoteDevice>();
    for (const given of devices.slice(0, MAX_REMOTE_DEVICES)) {
      const device = isJsonObject(given) ? remoteDevice(userId, given) : undefined;
      if (device !== undefined) found.set(device.deviceId, device);
    }
    return {
      ok: true,
      streamId,
      devices: [...found.values()],
      masterKey: crossSigningKey(master, 'master', userId),
      selfSigningKey: crossSigningKey(selfSigning, 'self_signing', userId),
    };
  }
}

/** Whether a value is a valid `stream_id` of a device list. */
export const isStreamId = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

/** Whether a value is a valid device id of another server. */
export const isDeviceId = (value: unknown): value is string =>
  typeof value === 'string' &&
  value !== '' &&
  value.length <= MAX_ID_LENGTH &&
  !value.includes('\0') &&
  value.isWellFormed();

/** A device of a response or an `m.device_list_update`; undefined without a valid id. */
export const remoteDevice = (userId: string, given: JsonObject): RemoteDevice | undefined => {
  const { device_display_name: name, device_id: deviceId, keys } = given;
  if (!isDeviceId(deviceId)) return undefined;
  return {
    deviceId,
    displayName:
      typeof name === 'string' ? name.slice(0, MAX_NAME_LENGTH).replaceAll('\0', '').toWellFormed() : undefined,
    keys: keys === undefined ? undefined : accepted(() => parseDeviceKeys(keys, userId, deviceId)),
  };
};

/** A cross-signing key of a user of another server; undefined where there is no valid one. */
export const crossSigningKey = (
  given: JsonValue | undefined,
  usage: 'master' | 'self_signing',
  userId: string,
): JsonObject | undefined =>
  given === undefined ? undefined : accepted(() => parseCrossSigningKey(given, `${usage}_key`, usage, userId).content);

/** The key parsed by `parse`; undefined where that throws. */
const accepted = (parse: () => JsonObject): JsonObject | undefined => {
  try {
    return parse();
  } catch (error) {
    if (error instanceof MatrixError) return undefined;
    throw error;
  }
};
