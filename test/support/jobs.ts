import { Value } from 'typebox/value';
import type { JobHandler } from '#src/jobs/job-definition.ts';
import { type Database, sql } from '#src/storage/database.ts';
import { claimOutbox, deleteOutbox } from '#src/storage/delivery/outbox.ts';

const WAITING = sql('test_outbox', 'select job, payload from outbox order by id');
const NEVER = new AbortController().signal;

/** The jobs that wait in the outbox, in the order in which they were made. */
export const waitingJobs = (database: Database): Promise<{ readonly job: string; readonly payload: unknown }[]> =>
  database.query(WAITING);

/**
 * Does the jobs of the outbox, as the relay and the workers do: one after the other, until none is left that one of these handlers does.
 *
 * @returns how many it did
 */
export const doJobs = async (
  database: Database,
  handlers: readonly JobHandler[],
  signal: AbortSignal = NEVER,
): Promise<number> => {
  const byName = new Map(handlers.map((handler) => [handler.definition.name, handler]));
  for (let count = 0; ; count++) {
    const waiting = await database.write((tx) => claimOutbox(tx, 1_000));
    const next = waiting.find(({ job }) => byName.has(job));
    const handler = next === undefined ? undefined : byName.get(next.job);
    if (next === undefined || handler === undefined) return count;
    if (!Value.Check(handler.definition.payload, next.payload)) throw new Error(`this is no payload of ${next.job}`);
    if ((await handler.run(next.payload, signal)) === 'interrupted') return count;
    await database.write((tx) => deleteOutbox(tx, [next.id]));
  }
};
