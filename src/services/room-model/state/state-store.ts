import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import type { LRUCache } from 'lru-cache';
import { unpackEntries } from '#src/protocol/wire/packed-state.ts';
import type { Database } from '#src/storage/database.ts';
import { type StateDeltaRecord, stateChains } from '#src/storage/room-model/state-reads.ts';
import { EntryList } from './entry-list.ts';
import { type Delta, StateChain } from './state-chain.ts';

const deltaOf = ({ nid, seq, others, members }: StateDeltaRecord): Delta => ({
  nid,
  seq,
  others: new EntryList(unpackEntries(nid, others)),
  members: new EntryList(unpackEntries(nid, members)),
});

/** Reads states by their ids. The most recently used ones stay in memory, bounded in bytes. */
export class StateStore {
  readonly #database: Database;
  readonly #cache: LRUCache<number, StateChain>;

  /** @param cacheBytes about how much memory the cache may take */
  constructor(database: Database, cacheBytes = 64 * 1024 * 1024) {
    this.#database = database;
    this.#cache = new CountedCache('states', { maxSize: cacheBytes, sizeCalculation: (chain) => chain.size });
  }

  /** Adds a state that was just written. */
  remember(chain: StateChain): void {
    this.#cache.set(chain.nid, chain);
  }

  /** Forgets states that were rewritten: they are read again. */
  forget(ids: Iterable<number>): void {
    for (const id of ids) this.#cache.delete(id);
  }

  /** The states with these ids, in one statement at most. State 0 is empty. */
  async load(ids: Iterable<number>): Promise<Map<number, StateChain>> {
    const found = new Map<number, StateChain>();
    const missing: number[] = [];
    for (const id of new Set(ids)) {
      const known = id === 0 ? StateChain.EMPTY : this.#cache.get(id);
      if (known === undefined) missing.push(id);
      else found.set(id, known);
    }
    if (missing.length === 0) return found;
    const byState = Map.groupBy(await stateChains(this.#database, missing), (record) => record.state);
    // States that are read together have most of their rows in common.
    const deltas = new Map<number, Delta>();
    const delta = (record: StateDeltaRecord): Delta => {
      const known = deltas.get(record.nid) ?? deltaOf(record);
      deltas.set(record.nid, known);
      return known;
    };
    for (const id of missing) {
      const records = byState.get(id);
      if (records === undefined) throw new Error(`state ${id} is not in the database`);
      const chain = new StateChain(records.map(delta));
      this.#cache.set(id, chain);
      found.set(id, chain);
    }
    return found;
  }

  /** One state by its id. */
  async get(id: number): Promise<StateChain> {
    const chain = (await this.load([id])).get(id);
    if (chain === undefined) throw new Error(`state ${id} was not loaded`);
    return chain;
  }
}
