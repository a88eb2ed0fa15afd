import type { Clock } from '#src/kernel/clock.ts';
import { TimedCache } from '#src/kernel/caches/timed-cache.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isServerName } from '#src/protocol/identifiers/server-name.ts';
import { matrixErrorOf } from '#src/remote/federation/federation-result.ts';
import type {
  PublicRoomsApi,
  RemotePublicRoomsPage,
  RemotePublicRoomsQuery,
} from '#src/remote/federation/public-rooms-api.ts';

type Answer = Awaited<ReturnType<PublicRoomsApi['list']>>;

/** Milliseconds for which a page is believed: this list is open to everybody, and no way to make this server ask others as often as one likes. */
const KNOWN_MS = 60_000;
const FAILED_MS = 15_000;

/** Lists rooms of other servers. Client-Server API, `GET /publicRooms`, the parameter `server`. */
export class RemotePublicRooms {
  readonly #api: PublicRoomsApi;
  readonly #answers: TimedCache<Answer>;

  /** @param options `cacheBytes` for pages in memory */
  constructor(options: { readonly api: PublicRoomsApi; readonly clock: Clock; readonly cacheBytes: number }) {
    this.#api = options.api;
    this.#answers = new TimedCache({
      name: 'remote_public_rooms',
      clock: options.clock,
      maxSize: options.cacheBytes,
      sizeOf: (answer, key) => 300 + 2 * key.length + (answer.ok ? 2 * JSON.stringify(answer.page).length : 0),
      lifetimeMs: (answer) => (answer.ok ? KNOWN_MS : FAILED_MS),
    });
  }

  /** @throws MatrixError M_INVALID_PARAM for what is no server; M_FORBIDDEN, M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT; what the server refuses with */
  async list(server: string, query: RemotePublicRoomsQuery): Promise<RemotePublicRoomsPage> {
    if (!isServerName(server)) throw new MatrixError('M_INVALID_PARAM', 'The parameter server is no server name.');
    const answer = await this.#answers.get(JSON.stringify([server, query]), () => this.#api.list(server, query));
    if (answer.ok) return answer.page;
    throw matrixErrorOf(answer);
  }
}
