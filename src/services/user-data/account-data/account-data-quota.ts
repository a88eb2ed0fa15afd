import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import { fitsBytes } from '#src/protocol/identifiers/byte-length.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { assertTag } from './tag-content.ts';
import { accountDataUsage, type Usage } from '#src/storage/user-data/account-data.ts';

export interface AccountDataQuotaOptions {
  /** Pieces of account data and tags that a user may have. */
  readonly pieces: number;
  /** Bytes of all of them together, names included. */
  readonly bytes: number;
  readonly tagsPerRoom: number;
}

const REMEMBERED_USERS = 20_000;

/** Limits users' account data. Reducing it is always allowed. */
export class AccountDataQuota {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #options: AccountDataQuotaOptions;
  readonly #withoutTypes: readonly string[];
  /** Of users who changed something lately, what is on its way to the database included. */
  readonly #usage = new LRUCache<string, { pieces: number; bytes: number }>(atMost(REMEMBERED_USERS));
  readonly #counting = new OnceByKey<string, { pieces: number; bytes: number }>();

  /** @param withoutTypes types that do not count: the server writes them */
  constructor(
    database: Database,
    interner: Interner,
    options: AccountDataQuotaOptions,
    withoutTypes: readonly string[],
  ) {
    this.#database = database;
    this.#interner = interner;
    this.#options = options;
    this.#withoutTypes = withoutTypes;
  }

  /**
   * Runs a write that changes how much a user has.
   *
   * @throws MatrixError M_TOO_LARGE when that would be more than they may have
   */
  async reserve(userId: string, difference: Usage, write: () => Promise<void>): Promise<void> {
    const usage = this.#usage.get(userId) ?? (await this.#counting.run(userId, () => this.#count(userId)));
    const { pieces, bytes } = this.#options;
    if (difference.bytes > 0 && usage.bytes + difference.bytes > bytes) {
      throw quotaFull(
        'quotas.account_data.bytes',
        `With this you would have more account data than this server keeps for one user (${bytes} bytes). Make some of it shorter.`,
      );
    }
    if (difference.pieces > 0 && usage.pieces + difference.pieces > pieces) {
      throw quotaFull(
        'quotas.account_data.pieces',
        `With this you would have more pieces of account data and tags than this server keeps for one user (${pieces}).`,
      );
    }
    const change = (sign: 1 | -1): void => {
      usage.pieces += sign * difference.pieces;
      usage.bytes += sign * difference.bytes;
    };
    change(1);
    try {
      await write();
    } catch (error) {
      change(-1);
      throw error;
    }
  }

  async #count(userId: string): Promise<{ pieces: number; bytes: number }> {
    const user = await this.#interner.userNid(userId);
    const usage = { ...(await accountDataUsage(this.#database, user, this.#withoutTypes)) };
    this.#usage.set(userId, usage);
    return usage;
  }

  /** @throws MatrixError M_INVALID_PARAM for a name that cannot be one; M_TOO_LARGE for more tags in a room, or more said of one, than may be there */
  assertTags(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): void {
    for (const [tag, about] of after) {
      if (before.get(tag) !== about) assertTag(about);
      if (before.has(tag)) continue;
      if (!fitsBytes(tag))
        throw new MatrixError('M_INVALID_PARAM', 'The name of a tag must not be longer than 255 bytes.');
      if (tag.includes('\0') || !tag.isWellFormed())
        throw new MatrixError(
          'M_INVALID_PARAM',
          'The name of a tag must be text: no NUL, and no half of a surrogate pair.',
        );
    }
    const { tagsPerRoom } = this.#options;
    if (after.size > before.size && after.size > tagsPerRoom)
      throw quotaFull('quotas.tags_per_room', `A room has at most ${tagsPerRoom} tags.`);
  }
}
