import type { Database } from '#src/storage/database.ts';
import { newestEvents } from '#src/storage/repositories/event-reads.ts';
import { EVENT_FLAGS } from '#src/storage/repositories/event-writes.ts';
import {
  authOfEvents,
  deltasOfRoom,
  eventsNamedByDeltas,
  roomTail,
  scanForPurge,
} from '#src/storage/repositories/purges.ts';

const WINDOW = 2_000;

/** What a purge of a room has to keep, as of the moment in which it begins. */
export interface PurgePlan {
  /** Events that stay as they are, whatever their age: the newest one and the forward extremities. */
  readonly staying: ReadonlySet<number>;
  /** Events that the state of kept ones names, and their auth events. */
  readonly needed: ReadonlySet<number>;
  /** Rows of state that nothing kept needs. */
  readonly unusedStates: readonly number[];
  /** The newest event that is old: nothing after it is looked at again. */
  readonly oldUpTo: number;
}

/**
 * Looks through a room once, in small steps. What is written while it looks lies after everything that it judges, and is built on
 * states that it keeps.
 *
 * @returns undefined when the room has nothing old, or the signal came
 */
export async function planPurge(options: {
  readonly database: Database;
  readonly room: number;
  /** Milliseconds since the epoch. */
  readonly beforeTs: number;
  readonly signal: AbortSignal;
  readonly pause: (workMs: number) => Promise<void>;
}): Promise<PurgePlan | undefined> {
  const { database, room, beforeTs, signal, pause } = options;
  // Before the tail: rows of state that come in between then count as used by nobody only if they are not in this list.
  const deltas = await deltasOfRoom(database, room);
  const tail = await roomTail(database, room);
  if (tail === undefined) return undefined;
  const [newest] = await newestEvents(database, [{ room, after: -Number.MAX_SAFE_INTEGER, upTo: tail.last_pos }], 1);
  const staying = new Set([...tail.extremities, ...(newest === undefined ? [] : [newest.nid])]);
  const states = new Set([tail.state]);
  const needed = new Set<number>();
  let oldUpTo = -Infinity;
  for (let cursor = -Number.MAX_SAFE_INTEGER; ;) {
    if (signal.aborted) return undefined;
    const records = await scanForPurge(database, room, cursor, tail.last_pos, WINDOW);
    for (const record of records) {
      const isOutlier = (record.flags & EVENT_FLAGS.outlier) !== 0;
      if (!staying.has(record.nid) && (record.ts < beforeTs || isOutlier)) {
        oldUpTo = record.nid;
        continue;
      }
      states.add(record.state);
      if ((record.flags & EVENT_FLAGS.state) !== 0) states.add(record.nid);
      if (record.current_state !== null) states.add(record.current_state);
      for (const auth of record.auth) needed.add(auth);
    }
    const last = records.at(-1);
    if (last === undefined || records.length < WINDOW) break;
    cursor = last.nid;
    await pause(1);
  }
  if (oldUpTo === -Infinity) return undefined;
  const used = new Set<number>();
  const horizon = tail.last_pos;
  for (const { nid, chain } of deltas) {
    if (!states.has(nid) && nid <= horizon) continue;
    used.add(nid);
    for (const earlier of chain) used.add(earlier);
  }
  for (const nid of await eventsNamedByDeltas(database, [...used])) needed.add(nid);
  await addAuthEvents(database, room, needed);
  return {
    staying,
    needed,
    unusedStates: deltas.filter(({ nid }) => !used.has(nid)).map(({ nid }) => nid),
    oldUpTo,
  };
}

/** Resolving a fork looks at the auth events of state events, and at theirs, down to the room's creation. */
async function addAuthEvents(database: Database, room: number, needed: Set<number>): Promise<void> {
  for (let layer = [...needed]; layer.length > 0;) {
    const next = new Set<number>();
    for (let start = 0; start < layer.length; start += WINDOW) {
      for (const auth of await authOfEvents(database, room, layer.slice(start, start + WINDOW))) {
        if (!needed.has(auth)) next.add(auth);
      }
    }
    for (const nid of next) needed.add(nid);
    layer = [...next];
  }
}
