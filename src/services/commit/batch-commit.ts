import type { Logger } from '#src/kernel/logger.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { sequenceOf, shardOfPosition } from '#src/protocol/wire/position.ts';
import type { Database } from '#src/storage/database.ts';
import { isConnectionLoss } from '#src/storage/failures.ts';
import type { WasAwaited } from '#src/storage/events/event-writes.ts';
import { eventExists } from '#src/storage/room-model/event-positions.ts';
import { writeEvents } from '#src/storage/events/event-writes.ts';
import type { ShardGuard } from '#src/storage/commit/guarded-batch.ts';
import { writeStreams } from '#src/storage/commit/stream-writes.ts';
import { writeDevices } from '#src/storage/e2ee/device-writes.ts';
import type { Operation } from './operation.ts';

/** Together a minute: a database that takes longer to come back is not coming back. */
const RECONNECT_ATTEMPTS = 300;
const RECONNECT_PAUSE_MS = 200;

/** For batches whose answer was lost: any of their events may have been one that other events waited for. */
const UNKNOWN: WasAwaited = () => true;

/** Commits the batches of the Writer. When the connection is lost in mid-commit, it finds out whether the batch was committed. */
export class BatchCommit {
  readonly #database: Database;
  readonly #timers: Timers;
  readonly #logger: Logger;

  constructor(database: Database, timers: Timers, logger: Logger) {
    this.#database = database;
    this.#timers = timers;
    this.#logger = logger;
  }

  /**
   * Commits events, streams and what concerns devices, each in one statement. When the connection is lost in between, it is not known
   * whether the batch was committed: whether its first event is there tells. The other two are simply written again.
   *
   * @param epochs of the shards, as they were claimed
   * @throws StaleEpochError when another process owns one of the shards by now
   */
  async commit(operations: readonly Operation[], epochs: readonly number[]): Promise<WasAwaited> {
    let wasAwaited: WasAwaited | undefined;
    const withEvents = operations.filter((operation) => operation.events !== undefined && !operation.areEventsWritten);
    const withStreams = operations.filter((operation) => operation.streams !== undefined);
    if (withEvents.length > 0) {
      const writes = withEvents.map((operation) => operation.events).filter((write) => write !== undefined);
      const first = writes.flatMap((write) => write.events)[0];
      wasAwaited = await this.#surely(
        () => writeEvents(this.#database, guardsOf(withEvents, epochs), writes),
        async () => first !== undefined && (await eventExists(this.#database, first.room, first.nid)),
      );
      for (const operation of withEvents) operation.areEventsWritten = true;
    }
    if (withStreams.length > 0) {
      const writes = withStreams.map((operation) => operation.streams).filter((write) => write !== undefined);
      await this.#surely(
        () => writeStreams(this.#database, guardsOf(withStreams, epochs), writes),
        () => Promise.resolve(false),
      );
    }
    const withDevices = operations.filter((operation) => operation.devices !== undefined);
    if (withDevices.length > 0) {
      const writes = withDevices.map((operation) => operation.devices).filter((write) => write !== undefined);
      await this.#surely(
        () => writeDevices(this.#database, guardsOf(withDevices, epochs), writes),
        () => Promise.resolve(false),
      );
    }
    return wasAwaited ?? UNKNOWN;
  }

  /**
   * Repeats a write of which it is unknown whether it was committed, until the database is back and answers.
   *
   * @returns undefined when it was committed without an answer
   */
  async #surely<T>(write: () => Promise<T>, isCommitted: () => Promise<boolean>): Promise<T | undefined> {
    let lost = false;
    for (let attempt = 0; ; attempt++) {
      try {
        if (lost && (await isCommitted())) return undefined;
        return await write();
      } catch (error) {
        if (!isConnectionLoss(error)) {
          // The first attempt went on in the database after its connection broke, and was committed before this one.
          if (lost && (await isCommitted())) return undefined;
          throw error;
        }
        if (attempt >= RECONNECT_ATTEMPTS) throw error;
        if (!lost)
          this.#logger.warn('the database connection was lost during a commit; waiting for the database', {
            err: error,
          });
        lost = true;
        await this.#timers.sleep(RECONNECT_PAUSE_MS);
      }
    }
  }
}

/** Under which epochs, and how far in each shard, the operations write. */
const guardsOf = (operations: readonly Operation[], epochs: readonly number[]): ShardGuard[] => {
  const newest = new Map<number, number>();
  for (const operation of operations) {
    for (const position of operation.positions) {
      const shard = shardOfPosition(position);
      newest.set(shard, Math.max(newest.get(shard) ?? 0, sequenceOf(position)));
    }
  }
  return [...newest].map(([shard, sequence]) => ({ shard, epoch: epochs[shard] ?? -1, sequence }));
};
