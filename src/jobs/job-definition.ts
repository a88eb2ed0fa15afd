import type { Static, TSchema } from 'typebox';

/** The queues, each with the number of its jobs that run at the same time in one process. */
export const QUEUES = {
  /** Background work on stored data: one after the other, so that requests feel as little of it as possible. */
  maintenance: { concurrency: 1 },
  /** What users notice soon: it must not wait behind a long purge. */
  prompt: { concurrency: 4 },
  /** What goes through all the rooms of a user, or all the users of a room: long ones must not keep the prompt ones waiting. */
  rounds: { concurrency: 4 },
  /** What administrators ask for, which may take hours: nothing else waits for it. */
  tasks: { concurrency: 2 },
  /** Mail: a slow mail server must not keep anything else waiting. */
  mail: { concurrency: 4 },
} as const;

export type QueueName = keyof typeof QUEUES;

/** A kind of job: its name, payload and retries. Its handler is in src/workers/. */
export interface JobDefinition<Payload extends TSchema = TSchema> {
  readonly name: string;
  readonly queue: QueueName;
  readonly payload: Payload;
  /** How often it is tried before it counts as failed. */
  readonly attempts: number;
  /** Milliseconds before the second attempt; each further wait is twice as long, up to an hour. */
  readonly backoffMs: number;
  /** Jobs with the same key are one job as long as it has not started. If it has started, it is done once more: the start may have been too early. */
  readonly uniqueBy?: (payload: Static<Payload>) => string;
}

/** For what must happen: tried for days, in case the operator has to repair something first. */
export const PERSISTENT = { attempts: 100, backoffMs: 500 } as const;

/** For mail: tried for a day and a half, as servers that send mail do. RFC 5321, 4.5.4.1. */
export const UNTIL_STALE = { attempts: 44, backoffMs: 5_000 } as const;

/** A job that something makes necessary. */
export interface JobRequest {
  readonly job: string;
  readonly payload: unknown;
}

/** Asks for a job of this kind. */
export const requestJob = <Payload extends TSchema>(
  { name }: JobDefinition<Payload>,
  payload: Static<Payload>,
): JobRequest => ({ job: name, payload });

export const defineJob = <Payload extends TSchema>(definition: JobDefinition<Payload>): JobDefinition<Payload> =>
  definition;

/** What does a job. It may be done twice: a process can be killed between doing it and saying so. */
export interface JobHandler {
  readonly definition: JobDefinition;
  /** @param signal aborted when the process ends, or the queue is paused: then return `interrupted`, and the job is resumed after the next start or pause */
  readonly run: (payload: unknown, signal: AbortSignal) => Promise<'interrupted' | undefined>;
}

/** Ties what does a job to its definition. */
export const jobHandler = <Payload extends TSchema>(
  definition: JobDefinition<Payload>,
  run: (payload: Static<Payload>, signal: AbortSignal) => Promise<'interrupted' | undefined>,
): JobHandler => ({ definition: definition as unknown as JobDefinition, run: run as JobHandler['run'] });
