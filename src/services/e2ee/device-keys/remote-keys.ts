import type { JsonObject } from '#src/protocol/json/json-value.ts';

/** The keys of users as another server tells them: user -> device -> `DeviceKeys`, and their cross-signing keys. */
export interface RemoteKeyAnswer {
  readonly deviceKeys: Readonly<Record<string, Readonly<Record<string, JsonObject>>>>;
  readonly masterKeys: Readonly<Record<string, JsonObject>>;
  readonly selfSigningKeys: Readonly<Record<string, JsonObject>>;
}

/** What this server asks others for on behalf of its users. Server-Server API, "End-to-End Encryption". */
export interface RemoteKeys {
  /**
   * The keys of users of one server.
   *
   * @param devices user -> device ids; none for all devices
   * @throws MatrixError when the server cannot be reached in time
   */
  query(
    server: string,
    devices: Readonly<Record<string, readonly string[]>>,
    timeoutMs: number,
  ): Promise<RemoteKeyAnswer>;
  /**
   * Claims one-time keys: user -> device -> algorithm.
   *
   * @returns user -> device -> `<algorithm>:<key id>` -> key
   * @throws MatrixError when the server cannot be reached in time
   */
  claim(
    server: string,
    wanted: Readonly<Record<string, Readonly<Record<string, string>>>>,
    timeoutMs: number,
  ): Promise<Readonly<Record<string, Readonly<Record<string, JsonObject>>>>>;
}
