import type { Clock } from '#src/kernel/clock.ts';
import { TimedCache } from '#src/kernel/caches/timed-cache.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { ApplicationServicesApi } from '#src/remote/application-services.ts';
import type { UserService } from '#src/services/accounts/users/user-service.ts';
import type { ApplicationService } from './application-service.ts';
import type { Appservices } from './appservices.ts';

/** Answers of services to whether a user or alias exists. */
type Verdict = 'there' | 'unknown' | 'unreachable';

/** How long the answers "does not exist" and "unreachable" are cached. */
const UNKNOWN_MS = 60_000;
const UNREACHABLE_MS = 10_000;
const REMEMBERED = 10_000;
/** "If the homeserver does not receive a response to this request, the homeserver should retry several times before timing out." */
const TRIES = 2;
const TIMEOUTS = { headersMs: 5_000, bodyMs: 2_000, totalMs: 6_000 };
/** Questions to one service at once. A request waits for each of them. */
export const CONCURRENCY = 32;

export interface AppserviceQueriesDependencies {
  readonly appservices: Appservices;
  readonly api: Pick<ApplicationServicesApi, 'request'>;
  readonly users: UserService;
  readonly clock: Clock;
}

/**
 * Asks application services for users and aliases of their namespaces that do not exist yet: they create those that they want, before they
 * answer. Application Service API, "Querying".
 */
export class AppserviceQueries {
  readonly #deps: AppserviceQueriesDependencies;
  readonly #verdicts: TimedCache<Verdict>;
  readonly #open = new Map<string, number>();

  constructor(deps: AppserviceQueriesDependencies) {
    this.#deps = deps;
    this.#verdicts = new TimedCache({
      name: 'appservice_answers',
      clock: deps.clock,
      maxSize: REMEMBERED,
      // What exists is found without asking; if it was deleted, the service has to be asked again.
      lifetimeMs: (verdict) => (verdict === 'there' ? 0 : verdict === 'unknown' ? UNKNOWN_MS : UNREACHABLE_MS),
    });
    deps.appservices.changed.subscribe(() => this.#verdicts.clear());
  }

  /**
   * Whether there is a user of this server, by now.
   *
   * @throws MatrixError M_CONNECTION_TIMEOUT (408) when a service whose user it would be cannot be asked
   */
  async userExists(userId: string): Promise<boolean> {
    const { appservices, users } = this.#deps;
    if (await users.exists(userId)) return true;
    if (!users.isLocal(userId) || userId.includes('\0')) return false;
    return (await this.#isThere(appservices.interestedInUser(userId), 'users', userId)) && users.exists(userId);
  }

  /** Lets a service create a user who is about to be invited. A service that cannot be reached is not waited for again. */
  async beforeInvite(userId: string): Promise<void> {
    if (this.#deps.appservices.interestedInUser(userId).length === 0) return;
    try {
      await this.userExists(userId);
    } catch (error) {
      if (!(error instanceof MatrixError)) throw error;
    }
  }

  /**
   * Whether a service says that it has made an alias that was not there.
   *
   * @throws MatrixError M_CONNECTION_TIMEOUT (408) when a service whose alias it would be cannot be asked
   */
  aliasExists(alias: string): Promise<boolean> {
    return this.#isThere(this.#deps.appservices.interestedInAlias(alias), 'rooms', alias);
  }

  async #isThere(services: readonly ApplicationService[], kind: 'users' | 'rooms', name: string): Promise<boolean> {
    const reachable = services.filter(({ url }) => url !== null);
    if (reachable.length === 0) return false;
    const verdict = await this.#verdicts.get(name, () => this.#ask(reachable, kind, name));
    if (verdict === 'unreachable')
      throw new MatrixError(
        'M_CONNECTION_TIMEOUT',
        `The bridge that would know ${name} does not answer: try again later.`,
        {},
        408,
      );
    return verdict === 'there';
  }

  async #ask(services: readonly ApplicationService[], kind: 'users' | 'rooms', name: string): Promise<Verdict> {
    let verdict: Verdict = 'unknown';
    for (const service of services) {
      const said = await this.#askOne(service, `/${kind}/${encodeURIComponent(name)}`);
      if (said === 'there') return said;
      if (said === 'unreachable') verdict = said;
    }
    return verdict;
  }

  async #askOne({ hsToken, id, url }: ApplicationService, path: string): Promise<Verdict> {
    const open = this.#open.get(id) ?? 0;
    if (url === null || open >= CONCURRENCY) return 'unreachable';
    this.#open.set(id, open + 1);
    try {
      for (let tried = 0; tried < TRIES; tried++) {
        const request = { method: 'GET', path, legacyPath: path, timeouts: TIMEOUTS } as const;
        const answer = await this.#deps.api.request({ id, url, hsToken }, request);
        if (answer.ok && answer.status < 500) return answer.status >= 200 && answer.status < 300 ? 'there' : 'unknown';
      }
      return 'unreachable';
    } finally {
      this.#open.set(id, (this.#open.get(id) ?? 1) - 1);
    }
  }
}
