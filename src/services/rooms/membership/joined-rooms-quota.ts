import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import type { Database } from '#src/storage/database.ts';
import { countJoinedRooms } from '#src/storage/room-model/joined-rooms.ts';

const REMEMBERED_USERS = 20_000;
/** Milliseconds in which a join that was let in is surely counted as one. */
const JOIN_MS = 1_000;

interface Left {
  rooms: number;
  /** Milliseconds since the epoch. */
  readonly countedTs: number;
}

/** How many rooms a user may be in. Rooms are counted when a user first joins one, and again when that number may have been reached. */
export class JoinedRoomsQuota {
  readonly #database: Database;
  readonly #most: number;
  readonly #clock: Clock;
  /** How many more rooms a user may join before they are counted again. */
  readonly #left = new LRUCache<string, Left>(atMost(REMEMBERED_USERS));
  /** Those who join at once share one count. */
  readonly #counting = new OnceByKey<string, Left>();

  constructor(database: Database, most: number, clock: Clock) {
    this.#database = database;
    this.#most = most;
    this.#clock = clock;
  }

  /** Counts a join that is about to be made. @throws MatrixError M_TOO_LARGE when the user is in as many rooms as they may be */
  async take(userId: string): Promise<void> {
    const known = this.#left.get(userId);
    const isSpent = known !== undefined && known.rooms <= 0 && known.countedTs + JOIN_MS <= this.#clock.now();
    const left = known === undefined || isSpent ? await this.#counting.run(userId, () => this.#count(userId)) : known;
    if (left.rooms <= 0) {
      throw quotaFull(
        'quotas.joined_rooms',
        `A user is in at most ${this.#most} rooms at once on this server. Leave some of them first.`,
      );
    }
    left.rooms -= 1;
  }

  async #count(userId: string): Promise<Left> {
    const countedTs = this.#clock.now();
    const left = { rooms: this.#most - (await countJoinedRooms(this.#database, userId)), countedTs };
    this.#left.set(userId, left);
    return left;
  }
}
