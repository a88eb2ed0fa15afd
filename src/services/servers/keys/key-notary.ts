import type { Clock } from '#src/kernel/clock.ts';
import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import { isServerName } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { OwnKeys } from './own-keys.ts';
import type { ServerKeys } from './server-keys.ts';

/** Keys that are asked for: until when they should be valid in milliseconds since the epoch, by server and key id. No key ids: all keys. */
export type KeyQuery = Readonly<
  Record<string, Readonly<Record<string, { readonly minimum_valid_until_ts?: number | undefined }>>>
>;

export interface KeyNotaryOptions {
  readonly keys: Pick<ServerKeys, 'answersOf'>;
  readonly own: OwnKeys;
  readonly rateLimiter: RateLimiter;
  readonly clock: Clock;
}

export const MAX_SERVERS = 200;
export const MAX_KEYS = 50;
/** The group of limits for what makes this server ask another one. */
const ASKING = 'unknown_server';

/**
 * Acts as a notary: answers with keys that other servers have published, with the signature of this server beside theirs. Server-Server API,
 * "Querying Keys Through Another Server".
 */
export class KeyNotary {
  readonly #options: KeyNotaryOptions;

  constructor(options: KeyNotaryOptions) {
    this.#options = options;
  }

  /**
   * The published keys of servers. Servers that cannot be asked and are not known are left out.
   *
   * @param network who asks, for limits: beyond them is told what is known
   * @param validUntil until when keys should be valid of which nothing else is said; now when left out
   * @throws MatrixError M_INVALID_PARAM for what is no server name; M_TOO_LARGE when too much is asked for
   */
  async query(query: KeyQuery, network: string, validUntil = this.#options.clock.now()): Promise<JsonObject[]> {
    const servers = Object.entries(query);
    if (servers.length > MAX_SERVERS)
      throw new MatrixError('M_TOO_LARGE', `At most ${MAX_SERVERS} servers can be asked for at once.`);
    for (const [serverName, keys] of servers) {
      if (!isServerName(serverName) || !fitsBytes(serverName))
        throw new MatrixError('M_INVALID_PARAM', `${serverName.slice(0, 100)} is not a server name.`);
      if (Object.keys(keys).length > MAX_KEYS)
        throw new MatrixError('M_TOO_LARGE', `At most ${MAX_KEYS} keys of a server can be asked for at once.`);
    }
    const answers = await Promise.all(
      servers.map(([serverName, keys]) => this.#answersOf(serverName, keys, network, validUntil)),
    );
    return answers.flat();
  }

  async #answersOf(
    serverName: string,
    query: KeyQuery[string],
    network: string,
    validUntil: number,
  ): Promise<JsonObject[]> {
    const { keys, own, rateLimiter } = this.#options;
    if (serverName === own.serverName) return [JSON.parse(own.published()) as JsonObject];
    const wanted = new Map(
      Object.entries(query).map(([keyId, { minimum_valid_until_ts: until = validUntil }]) => [keyId, until]),
    );
    const mayAsk = (): boolean => rateLimiter.take(ASKING, network).ok;
    const answers = await keys.answersOf(serverName, wanted, validUntil, mayAsk, { party: network });
    return answers.map((answer) => own.sign(answer));
  }
}
