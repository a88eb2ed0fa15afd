import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { EphemeralCounter } from '#src/services/commit/ephemeral-counter.ts';
import { Writer } from '#src/services/commit/writer.ts';
import { Interner } from '#src/storage/room-model/interner.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';

/** Interned ids, and the writer that gives commits their stream positions. */
export interface Commit {
  readonly interner: Interner;
  readonly writer: Writer;
  readonly ephemeral: EphemeralCounter;
}

export function composeCommit(platform: Platform): Slice<Commit> {
  const { config, clock, database, logger, metrics, random, timers } = platform;
  const writer = new Writer({ database, clock, timers, logger, metrics });
  return {
    name: 'commit',
    services: {
      interner: new Interner(database, (userId) => domainOf(userId) === config.serverName, {
        cacheBytes: config.cache.namesBytes,
      }),
      writer,
      ephemeral: new EphemeralCounter(random),
    },
    start: () => writer.start(),
    idle: () => writer.idle(),
    close: () => writer.close(),
  };
}
