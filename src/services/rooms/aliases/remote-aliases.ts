import type { Clock } from '#src/kernel/clock.ts';
import { TimedCache } from '#src/kernel/caches/timed-cache.ts';
import { matrixErrorOf } from '#src/remote/federation/federation-result.ts';
import type { QueriesApi, RemoteAlias } from '#src/remote/federation/queries-api.ts';

type Answer = Awaited<ReturnType<QueriesApi['directory']>>;

/** Milliseconds for which an answer is believed: an alias can be moved at any time, and a user may wait for just that. */
const KNOWN_MS = 30_000;
const FAILED_MS = 5_000;

/** Resolves aliases of other servers and caches their answers. An answer grants nothing: whether a user may join is decided as for any room. */
export class RemoteAliases {
  readonly #api: QueriesApi;
  readonly #answers: TimedCache<Answer>;

  /** @param options `cacheBytes` for answers in memory */
  constructor(options: { readonly api: QueriesApi; readonly clock: Clock; readonly cacheBytes: number }) {
    this.#api = options.api;
    this.#answers = new TimedCache({
      name: 'remote_aliases',
      clock: options.clock,
      maxSize: options.cacheBytes,
      sizeOf: (answer, alias) => 300 + 2 * alias.length + (answer.ok ? 2 * answer.servers.join().length : 0),
      lifetimeMs: (answer) => (answer.ok ? KNOWN_MS : FAILED_MS),
    });
  }

  /**
   * The room that an alias points to; undefined when its server says that there is none.
   *
   * @param isFresh asks its server, whatever it said before: a user who goes there should not come to where it led once
   * @throws MatrixError M_FORBIDDEN when its server is not asked by this one; M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT
   */
  async resolve(alias: string, isFresh = false): Promise<RemoteAlias | undefined> {
    if (isFresh) this.#answers.forget(alias);
    const answer = await this.#answers.get(alias, () => this.#api.directory(alias));
    if (answer.ok) return answer;
    if (answer.kind === 'refused' && (answer.status === 404 || answer.status === 400)) return undefined;
    throw matrixErrorOf(answer);
  }
}
