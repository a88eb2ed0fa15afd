import type { Database } from '#src/storage/database.ts';
import { deleteStateDeltas, stateDeltas, statesInUse } from '#src/storage/repositories/state-sweeps.ts';

const BATCH = 1000;

/**
 * Deletes the rows of a room's states that nothing refers to any more: no event, not the room's tail, and no state that one of them
 * names is built on them. Events that come in meanwhile only build on states that are in use.
 *
 * @param room the room's integer
 * @param batchSize rows deleted in one transaction
 * @returns how many were deleted
 */
export async function sweepStates(database: Database, room: number, batchSize = BATCH): Promise<number> {
  // The rows first: what comes after them is not looked at, and whatever they are needed for is there when the events are read.
  const deltas = await stateDeltas(database, room);
  const chains = new Map(deltas.map((delta) => [delta.nid, delta.chain]));
  const needed = new Set<number>();
  for (const state of await statesInUse(database, room)) {
    needed.add(state);
    for (const earlier of chains.get(state) ?? []) needed.add(earlier);
  }
  const unused = deltas.filter((delta) => !needed.has(delta.nid)).map((delta) => delta.nid);
  for (let at = 0; at < unused.length; at += batchSize) {
    await deleteStateDeltas(database, room, unused.slice(at, at + batchSize));
  }
  return unused.length;
}
