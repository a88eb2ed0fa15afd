import { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Database } from '#src/storage/database.ts';
import { stateAtPositions, stateIdAfter } from '#src/storage/room-model/state-reads.ts';

/** Reads the states that rooms had at earlier positions. */
export class PastStates {
  readonly #database: Database;
  readonly #states: StateStore;

  constructor(database: Database, states: StateStore) {
    this.#database = database;
    this.#states = states;
  }

  /** The states of rooms after all that had arrived up to a position, by room; two statements for all of them. */
  async at(wanted: readonly { readonly room: number; readonly upTo: number }[]): Promise<Map<number, StateChain>> {
    if (wanted.length === 0) return new Map();
    const rows = await stateAtPositions(this.#database, wanted);
    const chains = await this.#states.load(rows.map(stateIdAfter));
    return new Map(rows.map((row) => [row.room, chains.get(stateIdAfter(row)) ?? StateChain.EMPTY]));
  }

  /** States by their ids. */
  byId(ids: readonly number[]): Promise<ReadonlyMap<number, StateChain>> {
    return this.#states.load(ids);
  }
}
