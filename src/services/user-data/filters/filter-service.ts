import { hash } from 'node:crypto';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import type { Filter } from '#src/protocol/filters/filter.ts';
import { NO_FILTER, parseFilter } from '#src/protocol/filters/parse-filter.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Database } from '#src/storage/database.ts';
import { filterById, storeFilter } from '#src/storage/user-data/filters.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { takeUserTurn } from '#src/storage/user-turn.ts';

const FILTER_ID = /^[0-9]{1,15}$/;
/** Characters of JSON of one filter. */
export const MAX_LENGTH = 65_536;
/** Filters that are given in full in every request are parsed once, up to this many characters. */
const MAX_CACHED_LENGTH = 4_096;
const CACHE_BYTES = 16 * 1024 * 1024;

/** About what a parsed filter takes in memory, in bytes: its text, the lists, and what is compiled of them. */
const weightOf = (json: string): number => 500 + 5 * json.length;

export interface FilterQuota {
  /** Filters that a user may store. */
  readonly pieces: number;
  /** Bytes that they may have together. */
  readonly bytes: number;
}

/** Stores filters, and parses those of requests. Client-Server API, "Filtering". */
export class FilterService {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #quota: FilterQuota;
  readonly #stored: CountedCache<string, { readonly json: string; readonly filter: Filter }>;
  readonly #inline: CountedCache<string, Filter>;

  /** @param cacheBytes that filters may take in memory: those that are stored, and those that are given in full */
  constructor(
    database: Database,
    interner: Interner,
    quota: FilterQuota,
    cacheBytes = { stored: CACHE_BYTES, inline: CACHE_BYTES },
  ) {
    this.#stored = new CountedCache('stored_filters', {
      maxSize: cacheBytes.stored,
      sizeCalculation: ({ json }) => weightOf(json),
    });
    this.#inline = new CountedCache('inline_filters', {
      maxSize: cacheBytes.inline,
      sizeCalculation: (_, json) => weightOf(json),
    });
    this.#database = database;
    this.#interner = interner;
    this.#quota = quota;
  }

  /** Forgets an erased user. */
  forget(userId: string): void {
    for (const key of this.#stored.keys()) if (key.startsWith(`${userId} `)) this.#stored.delete(key);
  }

  /**
   * Stores a filter. The same filter gets the same id.
   *
   * @throws MatrixError M_BAD_JSON, M_INVALID_PARAM when it is no filter; M_TOO_LARGE when it or all of the user are more than is kept
   */
  async define(userId: string, content: JsonObject): Promise<string> {
    const json = JSON.stringify(content);
    assertNotTooLong(json);
    const filter = parseFilter(content);
    const user = await this.#interner.userNid(userId);
    const digest = hash('sha256', canonicalJson(content, 'lenient'), 'buffer');
    const nid = await this.#database.write(async (tx) => {
      await takeUserTurn(tx, userId);
      return storeFilter(tx, user, digest, json, this.#quota);
    });
    if (nid === 'full') {
      throw quotaFull(
        'quotas.filters',
        `You have as many filters as this server keeps for one user (${this.#quota.pieces}, or ${this.#quota.bytes} bytes).`,
      );
    }
    this.#stored.set(`${userId} ${nid}`, { json, filter });
    return String(nid);
  }

  /**
   * The JSON of a stored filter.
   *
   * @throws MatrixError M_NOT_FOUND
   */
  async get(userId: string, filterId: string): Promise<string> {
    return (await this.#byId(userId, filterId)).json;
  }

  /**
   * The filter that a request asks for.
   *
   * @param parameter an id, a filter as JSON, or undefined for no filter
   * @throws MatrixError M_NOT_FOUND for an unknown id; M_NOT_JSON, M_BAD_JSON or M_INVALID_PARAM for what is no filter; M_TOO_LARGE
   */
  async filterFor(userId: string, parameter: string | undefined): Promise<Filter> {
    if (parameter === undefined || parameter === '') return NO_FILTER;
    if (!parameter.startsWith('{')) return (await this.#byId(userId, parameter)).filter;
    const known = this.#inline.get(parameter);
    if (known !== undefined) return known;
    assertNotTooLong(parameter);
    let json: unknown;
    try {
      json = JSON.parse(parameter);
    } catch {
      throw new MatrixError('M_NOT_JSON', 'The filter begins like JSON but is not valid JSON.');
    }
    const filter = parseFilter(json);
    if (parameter.length <= MAX_CACHED_LENGTH) this.#inline.set(parameter, filter);
    return filter;
  }

  async #byId(userId: string, filterId: string): Promise<{ readonly json: string; readonly filter: Filter }> {
    const known = this.#stored.get(`${userId} ${filterId}`);
    if (known !== undefined) return known;
    const nid = FILTER_ID.test(filterId) ? Number(filterId) : undefined;
    const json =
      nid === undefined ? undefined : await filterById(this.#database, await this.#interner.userNid(userId), nid);
    if (json === undefined) throw new MatrixError('M_NOT_FOUND', `You have no filter with the id ${filterId}.`);
    const found = { json, filter: parseFilter(JSON.parse(json)) };
    this.#stored.set(`${userId} ${filterId}`, found);
    return found;
  }
}

const assertNotTooLong = (json: string): void => {
  if (json.length > MAX_LENGTH) throw new MatrixError('M_TOO_LARGE', `A filter has at most ${MAX_LENGTH} characters.`);
};
