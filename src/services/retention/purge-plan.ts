import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { Database } from '#src/storage/database.ts';
import { newestEvents } from '#src/storage/room-model/event-reads.ts';
import {
  addEventsNamedByDeltas,
  authOfEvents,
  chainsOfStates,
  deltasOfRoom,
  type PurgeScanRecord,
  roomTail,
  scanForPurge,
} from '#src/storage/retention/purges.ts';

import type { PurgeCriteria } from './purge-criteria.ts';

const WINDOW = 2_000;

export interface PurgePlanOptions {
  readonly database: Database;
  readonly room: number;
  readonly criteria: PurgeCriteria;
  readonly signal: AbortSignal;
  readonly pause: (workMs: number) => Promise<void>;
  /** Does something while no remote event is accepted. */
  readonly alone: <T>(work: () => Promise<T>) => Promise<T>;
}

/** What a purge of a room has to keep. */
export class PurgePlan {
  /** Events that stay as they are, whatever their age: the newest one and the forward extremities. */
  readonly staying: ReadonlySet<number>;
  /** Events that the state of kept ones names, and their auth events. */
  readonly needed = new Set<number>();
  /** The newest event that is old: nothing after it is looked at again. */
  readonly oldUpTo: number;
  readonly #database: Database;
  readonly #room: number;
  /** Rows of state that kept events need. */
  readonly #used: Set<number>;
  readonly #unused: number[];
  #seenUpTo: number;

  private constructor(
    { database, room }: PurgePlanOptions,
    parts: {
      readonly staying: ReadonlySet<number>;
      readonly oldUpTo: number;
      readonly seenUpTo: number;
      readonly used: Set<number>;
      readonly unused: number[];
    },
  ) {
    this.#database = database;
    this.#room = room;
    this.staying = parts.staying;
    this.oldUpTo = parts.oldUpTo;
    this.#seenUpTo = parts.seenUpTo;
    this.#used = parts.used;
    this.#unused = parts.unused;
  }

  /**
   * Looks through a room once, in small steps. What is sent while it looks lies after everything that it judges, and is built on
   * states that it keeps; of remote events `catchUp` has to hear.
   *
   * @returns undefined when the room has nothing old, or the signal came
   */
  static async make(options: PurgePlanOptions): Promise<PurgePlan | undefined> {
    const { criteria, database, room, signal, pause } = options;
    // The tail first: all rows up to there are in the list then, and what comes after them is not judged.
    const found = await options.alone(async () => {
      const tail = await roomTail(database, room);
      return tail === undefined ? undefined : { tail, deltas: await deltasOfRoom(database, room) };
    });
    if (found === undefined) return undefined;
    const { tail, deltas } = found;
    const [newest] = await newestEvents(database, [{ room, after: -Number.MAX_SAFE_INTEGER, upTo: tail.last_pos }], 1);
    const staying = new Set([...tail.extremities, ...(newest === undefined ? [] : [newest.nid])]);
    const states = new Set([tail.state]);
    const auth = new Set<number>();
    let oldUpTo = -Infinity;
    for (let cursor = -Number.MAX_SAFE_INTEGER; ;) {
      if (signal.aborted) return undefined;
      const records = await scanForPurge(database, room, cursor, tail.last_pos, WINDOW);
      await criteria.prepare(records);
      for (const record of records) {
        if (!staying.has(record.nid) && criteria.isOld(record)) oldUpTo = record.nid;
        else addKept(record, states, auth);
      }
      const last = records.at(-1);
      if (last === undefined || records.length < WINDOW) break;
      cursor = last.nid;
      await pause(1);
    }
    if (oldUpTo === -Infinity) return undefined;
    const used = new Set<number>();
    for (const { nid, chain } of deltas) {
      if (!states.has(nid) && nid <= tail.last_pos) continue;
      used.add(nid);
      for (const earlier of chain) used.add(earlier);
    }
    const unused = deltas.filter(({ nid }) => !used.has(nid)).map(({ nid }) => nid);
    const plan = new PurgePlan(options, { staying, oldUpTo, seenUpTo: tail.last_pos, used, unused });
    await plan.#need(used, auth);
    return plan;
  }

  /**
   * Keeps what events need that were accepted since it was made, or since the last call. To be called, and to be acted upon, while no
   * remote event is accepted: such a one may be built on an old event, and so on a state that nothing else needs.
   */
  async catchUp(): Promise<void> {
    for (;;) {
      const records = await scanForPurge(this.#database, this.#room, this.#seenUpTo, Number.MAX_SAFE_INTEGER, WINDOW);
      const last = records.at(-1);
      if (last === undefined) return;
      const states = new Set<number>();
      const auth = new Set<number>();
      for (const record of records) addKept(record, states, auth);
      const fresh = new Set<number>();
      const unknown = [...states].filter((nid) => nid !== 0 && !this.#used.has(nid));
      for (const { nid, chain } of unknown.length === 0 ? [] : await chainsOfStates(this.#database, unknown)) {
        for (const row of [nid, ...chain]) if (!this.#used.has(row)) fresh.add(row);
      }
      for (const row of fresh) this.#used.add(row);
      await this.#need(fresh, auth);
      this.#seenUpTo = last.nid;
    }
  }

  /** Takes rows of state that nothing needs, a few at a time; none are left when it gives none. */
  takeUnused(count: number): number[] {
    const taken: number[] = [];
    while (taken.length < count) {
      const nid = this.#unused.pop();
      if (nid === undefined) break;
      if (!this.#used.has(nid)) taken.push(nid);
    }
    return taken;
  }

  /**
   * What rows of state name, and auth events. Resolving a fork looks at the auth events of state events, and at theirs, down to the
   * room's creation.
   */
  async #need(rows: ReadonlySet<number>, auth: ReadonlySet<number>): Promise<void> {
    const named = new Set(auth);
    await addEventsNamedByDeltas(this.#database, [...rows], named);
    let layer = [...named].filter((nid) => !this.needed.has(nid));
    for (const nid of layer) this.needed.add(nid);
    while (layer.length > 0) {
      const next: number[] = [];
      for (let start = 0; start < layer.length; start += WINDOW) {
        for (const nid of await authOfEvents(this.#database, this.#room, layer.slice(start, start + WINDOW))) {
          if (this.needed.has(nid)) continue;
          this.needed.add(nid);
          next.push(nid);
        }
      }
      layer = next;
    }
  }
}

const isOutlier = (record: PurgeScanRecord): boolean => (record.flags & EVENT_FLAGS.outlier) !== 0;

/** What a kept event needs. */
const addKept = (record: PurgeScanRecord, states: Set<number>, auth: Set<number>): void => {
  if (!isOutlier(record)) states.add(record.state);
  if ((record.flags & EVENT_FLAGS.state) !== 0) states.add(record.nid);
  if (record.current_state !== null) states.add(record.current_state);
  for (const nid of record.auth) auth.add(nid);
};
