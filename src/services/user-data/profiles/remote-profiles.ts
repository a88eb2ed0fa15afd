import type { Clock } from '#src/kernel/clock.ts';
import { TimedCache } from '#src/kernel/caches/timed-cache.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { matrixErrorOf } from '#src/remote/federation/federation-result.ts';
import type { QueriesApi } from '#src/remote/federation/queries-api.ts';

type Answer = Awaited<ReturnType<QueriesApi['profile']>>;

/** Milliseconds for which a profile is cached, the answer that there is none, and a failure. */
const KNOWN_MS = 300_000;
const MISSING_MS = 60_000;
const FAILED_MS = 15_000;

/** Fetches profiles of remote users on demand, and caches them. */
export class RemoteProfiles {
  readonly #api: QueriesApi;
  readonly #answers: TimedCache<Answer>;
  /** The last answers: used when a server cannot be reached. */
  readonly #told: TimedCache<JsonObject>;

  /** @param options `cacheBytes` in memory: for what servers answered, and for what of it is better than nothing */
  constructor(options: {
    readonly api: QueriesApi;
    readonly clock: Clock;
    readonly cacheBytes: { readonly answers: number; readonly told: number };
  }) {
    const { api, cacheBytes, clock } = options;
    this.#api = api;
    const sizeOf = (fields: JsonObject, userId: string): number =>
      300 + 2 * userId.length + 2 * JSON.stringify(fields).length;
    this.#answers = new TimedCache({
      name: 'remote_profile_answers',
      clock,
      maxSize: cacheBytes.answers,
      sizeOf: (answer, userId) => sizeOf(answer.ok ? answer.fields : {}, userId),
      lifetimeMs: (answer) => (answer.ok ? KNOWN_MS : answer.kind === 'refused' ? MISSING_MS : FAILED_MS),
    });
    this.#told = new TimedCache({
      name: 'remote_profiles',
      clock,
      maxSize: cacheBytes.told,
      sizeOf,
      lifetimeMs: () => KNOWN_MS,
    });
  }

  /**
   * The profile of a user, as their server answers.
   *
   * @throws MatrixError M_NOT_FOUND when it knows no such user; M_FORBIDDEN when it does not tell, or is not asked by this one; M_CONNECTION_FAILED,
   *   M_CONNECTION_TIMEOUT
   */
  async read(userId: string): Promise<JsonObject> {
    const answer = await this.#answers.get(userId, () => this.#api.profile(userId));
    if (answer.ok) {
      this.#told.set(userId, answer.fields);
      return answer.fields;
    }
    if (answer.kind === 'refused' && (answer.status === 404 || answer.status === 400))
      throw new MatrixError('M_NOT_FOUND', `Profile not found: ${answer.destination} tells of no such user.`);
    const outdated = answer.kind === 'refused' && answer.status === 403 ? undefined : this.#told.outdated(userId);
    if (outdated !== undefined) return outdated;
    throw matrixErrorOf(answer);
  }
}
