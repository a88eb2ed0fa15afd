import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { KeyQuery } from '#src/services/e2ee/device-keys/key-query.ts';
import type { Database } from '#src/storage/database.ts';
import { devicesWithoutKeys } from '#src/storage/e2ee/device-keys.ts';

/** What other servers see of a user's devices and keys. */
export interface Keys {
  /** With the devices' names in `unsigned`; those without keys have nothing else. */
  readonly devices: ReadonlyMap<string, JsonObject>;
  readonly master: JsonObject | undefined;
  readonly selfSigning: JsonObject | undefined;
}

/** The devices and keys of users of this server, as other servers may see them. */
export class LocalDeviceKeys {
  readonly #database: Database;
  readonly #keys: Pick<KeyQuery, 'local'>;

  constructor(database: Database, keys: Pick<KeyQuery, 'local'>) {
    this.#database = database;
    this.#keys = keys;
  }

  /** Those of some users. */
  async of(userIds: readonly string[]): Promise<(userId: string) => Keys> {
    const wanted = Object.fromEntries(userIds.map((userId) => [userId, []]));
    // Before the others: a device that gets keys meanwhile is in both.
    const keyless = Map.groupBy(await devicesWithoutKeys(this.#database, userIds), ({ userId }) => userId);
    const { deviceKeys, masterKeys, selfSigningKeys } = await this.#keys.local(wanted, undefined);
    return (userId) => ({
      devices: new Map([
        ...(keyless.get(userId) ?? []).map(({ deviceId, displayName }) => [deviceId, onlyNamed(displayName)] as const),
        ...Object.entries(deviceKeys[userId] ?? {}),
      ]),
      master: masterKeys[userId],
      selfSigning: selfSigningKeys[userId],
    });
  }
}

const onlyNamed = (displayName: string | null): JsonObject => ({
  unsigned: displayName === null ? {} : { device_display_name: displayName },
});

/** What is seen of a device but its name; nothing of one without keys. */
export const keysIn = ({ unsigned: _unsigned, ...keys }: JsonObject): { readonly keys?: JsonObject } =>
  Object.keys(keys).length === 0 ? {} : { keys };

/** The name of a device. */
export const nameOf = ({ unsigned }: JsonObject): { readonly device_display_name?: string } => {
  const name = isJsonObject(unsigned) ? unsigned['device_display_name'] : undefined;
  return typeof name === 'string' ? { device_display_name: name } : {};
};
