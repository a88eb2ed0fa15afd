import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import type { Database } from '#src/storage/database.ts';
import { claimKeys } from '#src/storage/e2ee/one-time-keys.ts';
import type { DeviceKeyCounts } from './key-counts.ts';
import { failureOf, remoteTimeout } from './key-query.ts';
import { assertFewServers, type RemoteKeys } from './remote-keys.ts';

/** Keys that one request may claim. */
export const MAX_CLAIMED = 5_000;

/** User -> device -> algorithm. */
export type WantedKeys = Readonly<Record<string, Readonly<Record<string, string>>>>;
/** User -> device -> `<algorithm>:<key id>` -> key. */
export type ClaimedKeys = Record<string, Record<string, Record<string, JsonValue>>>;

export interface KeyClaimsOptions {
  readonly database: Database;
  readonly counts: DeviceKeyCounts;
  readonly isLocal: (userId: string) => boolean;
  readonly remote: RemoteKeys;
}

/** Hands out each one-time key once. Client-Server API, `POST /keys/claim`. */
export class KeyClaims {
  readonly #options: KeyClaimsOptions;

  constructor(options: KeyClaimsOptions) {
    this.#options = options;
  }

  /**
   * Claims keys of users of this and of other servers. Devices without a key of the algorithm are missing in the answer.
   *
   * @throws MatrixError M_TOO_LARGE when one request asks for too many
   */
  async claim(
    wanted: WantedKeys,
    timeoutMs: number | undefined,
    signal: AbortSignal,
  ): Promise<{ readonly one_time_keys: ClaimedKeys; readonly failures: Record<string, JsonObject> }> {
    const { isLocal, remote } = this.#options;
    const servers = new Map<string, Record<string, Readonly<Record<string, string>>>>();
    const here: Record<string, Readonly<Record<string, string>>> = {};
    for (const [userId, devices] of Object.entries(wanted)) {
      const server = domainOf(userId);
      if (server === undefined) continue;
      if (isLocal(userId)) {
        here[userId] = devices;
        continue;
      }
      if (!isUserId(userId)) continue;
      const ofServer = servers.get(server);
      if (ofServer === undefined) servers.set(server, { [userId]: devices });
      else ofServer[userId] = devices;
    }
    assertFewServers(servers);
    const failures: Record<string, JsonObject> = {};
    const [local, ...others] = await remote.ask(remoteTimeout(timeoutMs), signal, (questions) =>
      Promise.all([
        this.local(here),
        ...[...servers].map(([server, devices]) =>
          questions.claim(server, devices).catch((error: unknown) => {
            failures[server] = failureOf(error);
            return {};
          }),
        ),
      ]),
    );
    return { one_time_keys: Object.assign({}, local, ...others) as ClaimedKeys, failures };
  }

  /** Claims keys of users of this server, all in one statement. */
  async local(wanted: WantedKeys): Promise<ClaimedKeys> {
    const rows = Object.entries(wanted).flatMap(([userId, devices]) =>
      Object.entries(devices).map(([deviceId, algorithm]) => ({ userId, deviceId, algorithm })),
    );
    if (rows.length > MAX_CLAIMED)
      throw new MatrixError('M_TOO_LARGE', `One request can claim ${MAX_CLAIMED} keys at most.`);
    const claimed: ClaimedKeys = {};
    if (rows.length === 0) return claimed;
    for (const key of await claimKeys(this.#options.database, rows)) {
      const devices = (claimed[key.userId] ??= {});
      (devices[key.deviceId] ??= {})[`${key.algorithm}:${key.keyId}`] = JSON.parse(key.content) as JsonValue;
      this.#options.counts.stale(key.userId, key.deviceId);
    }
    return claimed;
  }
}
