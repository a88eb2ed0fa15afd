import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { TimedCache } from '#src/kernel/caches/timed-cache.ts';
import { domainOf, isServerName } from '#src/protocol/identifiers/server-name.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { RemoteSpace, SpacesApi } from '#src/remote/federation/spaces-api.ts';

type Answer = Awaited<ReturnType<SpacesApi['hierarchy']>>;

/** A room as another server described it, and that server. */
export interface RemoteSpaceSummary extends RemoteSpace {
  readonly server: string;
}

/** "Responses to this endpoint should be cached for a period of time." Milliseconds. */
const KNOWN_MS = 300_000;
const FAILED_MS = 60_000;
/** Servers that are asked about one room. */
const MAX_ASKED = 3;
const REMEMBERED_SERVERS = 10_000;

/** What other servers say of rooms that this one is not in. Each server's answer is cached by itself, and used only for requests that name it. */
export class RemoteRooms {
  readonly #api: SpacesApi;
  readonly #serverName: string;
  readonly #answers: TimedCache<Answer>;
  /** How often users of a server came or went in rooms here: what it may tell ours depends on who of them it has met. */
  readonly #moves = new LRUCache<string, number>(atMost(REMEMBERED_SERVERS));

  constructor(options: {
    readonly api: SpacesApi;
    readonly stream: RoomEventStream;
    readonly clock: Clock;
    readonly serverName: string;
    /** Of memory for answers. */
    readonly cacheBytes: number;
  }) {
    this.#api = options.api;
    options.stream.on('appended', ({ events }) => {
      for (const { member } of events)
        if (member?.after.local === false && member.before?.membership !== member.after.membership)
          this.#moved(domainOf(member.after.userId) ?? '');
    });
    this.#serverName = options.serverName;
    this.#answers = new TimedCache({
      name: 'remote_rooms',
      clock: options.clock,
      maxSize: options.cacheBytes,
      sizeOf: (answer, key) => 300 + 2 * key.length + (answer.ok ? sizeOf(answer.space) : 0),
      lifetimeMs: (answer) => (answer.ok ? KNOWN_MS : FAILED_MS),
    });
  }

  /**
   * A room as one of these servers tells of it: the first that does. A few of them are asked, one after the other.
   *
   * @param count is called for each request that this makes
   */
  async find(
    roomId: string,
    servers: readonly string[],
    suggestedOnly: boolean,
    count?: () => void,
  ): Promise<RemoteSpaceSummary | undefined> {
    const asked = new Set(servers.filter((server) => server !== this.#serverName && isServerName(server)));
    for (const server of [...asked].slice(0, MAX_ASKED)) {
      const key = JSON.stringify([server, roomId, suggestedOnly, this.#moves.get(server) ?? 0]);
      const answer = await this.#answers.get(key, async () => {
        const summary = await this.#api.hierarchy(server, roomId, suggestedOnly);
        if (summary.ok || !WITHOUT_ASKING.has(summary.kind)) count?.();
        return summary;
      });
      if (answer.ok) return { ...answer.space, server };
    }
    return undefined;
  }

  #moved(server: string): void {
    this.#moves.set(server, (this.#moves.get(server) ?? 0) + 1);
  }
}

/** Failures that need no request. */
const WITHOUT_ASKING: ReadonlySet<string> = new Set(['disabled', 'denied', 'unreachable']);

const sizeOf = ({ room, children, inaccessible }: RemoteSpace): number =>
  2 * (JSON.stringify(room).length + JSON.stringify([...children.values()]).length) + 100 * inaccessible.size;
