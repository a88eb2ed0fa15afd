import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { keysIn, type LocalDeviceKeys, nameOf } from '#src/services/federation/edus/local-device-keys.ts';
import type { Database } from '#src/storage/database.ts';
import { newestDeviceStreamId } from '#src/storage/federation/sent-devices.ts';

/** The devices of a user, as other servers ask for them. Server-Server API, `GET /user/devices/{userId}`. */
export interface UserDevices {
  readonly user_id: string;
  readonly stream_id: number;
  readonly devices: readonly {
    readonly device_id: string;
    /** Not for a device without keys, as in `m.device_list_update`. */
    readonly keys?: JsonObject;
    readonly device_display_name?: string;
  }[];
  readonly master_key?: JsonObject;
  readonly self_signing_key?: JsonObject;
}

/** Answers other servers that ask for the devices of a user. */
export class UserDevicesAnswers {
  readonly #database: Database;
  readonly #keys: LocalDeviceKeys;
  readonly #isLocal: (userId: string) => boolean;

  constructor(database: Database, keys: LocalDeviceKeys, isLocal: (userId: string) => boolean) {
    this.#database = database;
    this.#keys = keys;
    this.#isLocal = isLocal;
  }

  /** The devices of a user of this server; undefined for others. */
  async devicesOf(userId: string): Promise<UserDevices | undefined> {
    if (!this.#isLocal(userId)) return undefined;
    // A change while we read is sent afterwards, with a greater stream id than this one.
    const streamId = await newestDeviceStreamId(this.#database, userId);
    const { devices, master, selfSigning } = (await this.#keys.of([userId]))(userId);
    return {
      user_id: userId,
      stream_id: streamId,
      devices: Array.from(devices, ([deviceId, device]) => ({
        device_id: deviceId,
        ...keysIn(device),
        ...nameOf(device),
      })),
      ...(master === undefined ? {} : { master_key: master }),
      ...(selfSigning === undefined ? {} : { self_signing_key: selfSigning }),
    };
  }
}
