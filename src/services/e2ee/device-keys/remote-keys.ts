import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { currentWork } from '#src/kernel/event-loop/work.ts';
import { Gate, GateByKey } from '#src/kernel/limits/gate.ts';
import { aborted, orAborted } from '#src/kernel/concurrency/or-aborted.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';
import type { CrossSigningKeyRecord } from '#src/storage/e2ee/cross-signing-keys.ts';
import type { HeldAnswers } from '#src/remote/federation/answer-bytes.ts';
import type { FederationClient } from '#src/remote/federation/federation-client.ts';
import { type FederationFailure, matrixErrorOf } from '#src/remote/federation/federation-result.ts';
import type { RemoteClaimedKeys, RemoteUserKeys, UserKeysApi } from '#src/remote/federation/user-keys-api.ts';

/** Other servers that one request may have asked. */
export const MAX_SERVERS = 500;
/** Requests of one user that ask other servers at the same time. */
export const REQUESTS_AT_ONCE = 2;
/** Servers that one request asks at once, beside those that are slow. */
export const SERVERS_AT_ONCE = 16;
/** A server that takes longer is slow: the next one is asked beside it. */
const SLOW_MS = 2_000;
/** Servers of which it is remembered that they were slow the last time. */
const MAX_SLOW = 10_000;
/** Bytes of answers that one request may hold together, with what the values in them weigh. */
export const MAX_ANSWERS_BYTES = 16 * 1024 * 1024;
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

/** Servers that were slow the last time. */
type SlowServers = LRUCache<string, true>;

interface KeyQuestionsOptions {
  readonly api: UserKeysApi;
  readonly timers: Timers;
  readonly slow: SlowServers;
  readonly timeoutMs: number;
  /** Counts the answers. */
  readonly held: HeldAnswers;
  /** Waits until few other requests of the same user ask, or the time is over. */
  readonly inTurn: () => Promise<unknown>;
  /** Aborted when the time is over, or nobody waits any more. */
  readonly deadline: AbortSignal;
}

/** The keys of other servers' users that one request asks for: of some servers at once, all within one time limit. Servers that are slow do not hold up the others. */
export class KeyQuestions {
  readonly #api: UserKeysApi;
  readonly #timers: Timers;
  readonly #slow: SlowServers;
  readonly #timeoutMs: number;
  readonly #held: HeldAnswers;
  readonly #inTurn: () => Promise<unknown>;
  readonly #deadline: AbortSignal;
  readonly #gate = new Gate(SERVERS_AT_ONCE);
  /** The same for servers that were slow the last time. */
  readonly #gateOfSlow = new Gate(SERVERS_AT_ONCE);

  constructor({ api, deadline, held, slow, timeoutMs, timers, inTurn }: KeyQuestionsOptions) {
    this.#api = api;
    this.#timers = timers;
    this.#slow = slow;
    this.#timeoutMs = timeoutMs;
    this.#held = held;
    this.#inTurn = inTurn;
    this.#deadline = deadline;
  }

  /**
   * The keys of users of one server.
   *
   * @param devices user -> device ids; none for all devices
   * @throws MatrixError when the server cannot be reached in time
   */
  query(server: string, devices: Readonly<Record<string, readonly string[]>>): Promise<RemoteUserKeys> {
    return this.#ask(server, () => this.#api.query(server, devices, { signal: this.#deadline, held: this.#held }));
  }

  /**
   * Claims one-time keys: user -> device -> algorithm.
   *
   * @throws MatrixError when the server cannot be reached in time
   */
  async claim(
    server: string,
    wanted: Readonly<Record<string, Readonly<Record<string, string>>>>,
  ): Promise<RemoteClaimedKeys> {
    const claim = (): ReturnType<UserKeysApi['claim']> =>
      this.#api.claim(server, wanted, { signal: this.#deadline, held: this.#held });
    return (await this.#ask(server, claim)).claimed;
  }

  /** The master keys of users of other servers, as they are now; those that cannot be asked for are missing. */
  async masterKeys(userIds: readonly string[]): Promise<CrossSigningKeyRecord[]> {
    const servers = Map.groupBy(userIds.filter(isUserId), (userId) => domainOf(userId) ?? '');
    assertFewServers(servers);
    const answers = await Promise.allSettled(
      [...servers].map(([server, users]) =>
        this.query(server, Object.fromEntries(users.map((userId) => [userId, []]))),
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

  /** The result of work that another server may delay; after the time limit it continues by itself. @throws MatrixError M_CONNECTION_TIMEOUT */
  async inTime<T>(server: string, work: Promise<T>): Promise<T> {
    try {
      return await orAborted(work, this.#deadline);
    } catch (error) {
      throw this.#deadline.aborted ? tooLate(server, this.#timeoutMs) : error;
    }
  }

  /** Asks when it is the server's turn, and gives up when the time is over. @throws MatrixError */
  async #ask<A extends { readonly ok: true }>(server: string, ask: () => Promise<A | FederationFailure>): Promise<A> {
    await this.#inTurn();
    const gate = this.#slow.has(server) ? this.#gateOfSlow : this.#gate;
    const { asking } = await gate.run(async () => {
      if (this.#deadline.aborted) throw tooLate(server, this.#timeoutMs);
      const begun = ask();
      await this.#whileQuick(server, begun);
      return { asking: begun };
    });
    const answer = await asking;
    if (answer.ok) return answer;
    if (!this.#deadline.aborted) throw matrixErrorOf(answer);
    throw tooLate(server, this.#timeoutMs);
  }

  /** Waits for a server, but not for one that is slow: what bounds the memory for answers is `held`. */
  async #whileQuick(server: string, asking: Promise<unknown>): Promise<void> {
    const late = Promise.withResolvers<boolean>();
    const timer = this.#timers.after(SLOW_MS, () => late.resolve(true));
    try {
      if (await Promise.race([asking.then(() => false), late.promise])) this.#slow.set(server, true);
      else if (!this.#deadline.aborted) this.#slow.delete(server);
    } finally {
      timer.cancel();
    }
  }
}

export interface RemoteKeysOptions {
  readonly api: UserKeysApi;
  readonly client: Pick<FederationClient, 'hold'>;
  readonly timers: Timers;
}

/** Queries and claims keys of users of other servers. Server-Server API, "End-to-End Encryption". */
export class RemoteKeys {
  readonly #options: RemoteKeysOptions;
  readonly #slow: SlowServers = new LRUCache<string, true>(atMost(MAX_SLOW));
  /** By whom they are made. */
  readonly #asking = new GateByKey<string>(REQUESTS_AT_ONCE);

  constructor(options: RemoteKeysOptions) {
    this.#options = options;
  }

  /**
   * Does what needs keys of other servers' users; their answers are held until it is done. Of many requests of one user some wait for others, as a part of
   * their time.
   *
   * @param timeoutMs how long all of these servers are waited for
   * @param signal ends the waiting, since nobody waits for the answer any more
   */
  async ask<T>(
    timeoutMs: number,
    signal: AbortSignal | undefined,
    work: (questions: KeyQuestions) => Promise<T>,
  ): Promise<T> {
    const { api, client, timers } = this.#options;
    const deadline = new AbortController();
    const end = (): void => deadline.abort();
    const timer = timers.after(timeoutMs, end);
    signal?.addEventListener('abort', end, { once: true });
    if (signal?.aborted === true) end();
    const party = currentWork()?.party?.() ?? '';
    let entering: Promise<() => void> | undefined;
    let turn: Promise<unknown> | undefined;
    // One turn for all questions of the request, and none where it asks nobody.
    const inTurn = (): Promise<unknown> =>
      (turn ??= Promise.race([(entering = this.#asking.enter(party)), aborted(deadline.signal)]));
    const held = client.hold(MAX_ANSWERS_BYTES);
    try {
      const slow = this.#slow;
      return await work(new KeyQuestions({ api, timers, slow, timeoutMs, held, inTurn, deadline: deadline.signal }));
    } finally {
      timer.cancel();
      signal?.removeEventListener('abort', end);
      held.release();
      // Also where it did not wait so long.
      void entering?.then((leave) => leave());
    }
  }
}
