import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { CrossSigningKeyRecord } from '#src/storage/e2ee/cross-signing-keys.ts';
import { type FederationFailure, matrixErrorOf } from '#src/remote/federation/federation-client.ts';
import type { RemoteClaimedKeys, RemoteUserKeys, UserKeysApi } from '#src/remote/federation/user-keys-api.ts';

/** Other servers that one request may have asked. */
const MAX_SERVERS = 500;
export const DEFAULT_TIMEOUT_MS = 10_000;

/** @throws MatrixError M_TOO_LARGE */
export const assertFewServers = (servers: ReadonlyMap<string, unknown>): void => {
  if (servers.size > MAX_SERVERS)
    throw new MatrixError('M_TOO_LARGE', `One request can ask for keys of ${MAX_SERVERS} other servers at most.`);
};

/** The public key of a cross-signing key, which has just one. */
export const publicKeyOf = ({ keys }: JsonObject): string | undefined => {
  const [key] = Object.values(isJsonObject(keys) ? keys : {});
  return typeof key === 'string' ? key : undefined;
};

const tooLate = (server: string, timeoutMs: number): MatrixError =>
  new MatrixError('M_CONNECTION_TIMEOUT', `${server} did not answer within ${timeoutMs} ms.`);

/** Queries and claims keys of users of other servers. Server-Server API, "End-to-End Encryption". */
export class RemoteKeys {
  readonly #api: UserKeysApi;
  readonly #timers: Timers;

  constructor(options: { readonly api: UserKeysApi; readonly timers: Timers }) {
    this.#api = options.api;
    this.#timers = options.timers;
  }

  /**
   * The keys of users of one server.
   *
   * @param devices user -> device ids; none for all devices
   * @throws MatrixError when the server cannot be reached in time
   */
  async query(
    server: string,
    devices: Readonly<Record<string, readonly string[]>>,
    timeoutMs: number,
  ): Promise<RemoteUserKeys> {
    return this.#within(server, timeoutMs, (signal) => this.#api.query(server, devices, signal));
  }

  /** The master keys of users of other servers, as they are now; those that cannot be asked for are missing. */
  async masterKeys(userIds: readonly string[]): Promise<CrossSigningKeyRecord[]> {
    const servers = Map.groupBy(userIds.filter(isUserId), (userId) => domainOf(userId) ?? '');
    assertFewServers(servers);
    const answers = await Promise.allSettled(
      [...servers].map(([server, users]) =>
        this.query(server, Object.fromEntries(users.map((userId) => [userId, []])), DEFAULT_TIMEOUT_MS),
      ),
    );
    return answers.flatMap((answer) =>
      answer.status === 'rejected'
        ? []
        : Object.entries(answer.value.masterKeys).map(([userId, key]) => ({
            userId,
            usage: 'master' as const,
            publicKey: publicKeyOf(key) ?? '',
            content: JSON.stringify(key),
          })),
    );
  }

  /**
   * Claims one-time keys: user -> device -> algorithm.
   *
   * @throws MatrixError when the server cannot be reached in time
   */
  async claim(
    server: string,
    wanted: Readonly<Record<string, Readonly<Record<string, string>>>>,
    timeoutMs: number,
  ): Promise<RemoteClaimedKeys> {
    return (await this.#within(server, timeoutMs, (signal) => this.#api.claim(server, wanted, signal))).claimed;
  }

  /** The result of work that another server may delay; after the timeout it continues by itself. @throws MatrixError M_CONNECTION_TIMEOUT */
  async inTime<T>(server: string, timeoutMs: number, work: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const timer = this.#timers.after(timeoutMs, () => late.reject(tooLate(server, timeoutMs)));
    try {
      return await Promise.race([work, late.promise]);
    } finally {
      timer.cancel();
    }
  }

  /** Asks, and gives up when the requester's timeout is over. @throws MatrixError */
  async #within<A extends { readonly ok: true }>(
    server: string,
    timeoutMs: number,
    ask: (signal: AbortSignal) => Promise<A | FederationFailure>,
  ): Promise<A> {
    const deadline = new AbortController();
    const timer = this.#timers.after(timeoutMs, () => deadline.abort());
    try {
      const answer = await ask(deadline.signal);
      if (answer.ok) return answer;
      if (!deadline.signal.aborted) throw matrixErrorOf(answer);
      throw tooLate(server, timeoutMs);
    } finally {
      timer.cancel();
    }
  }
}
