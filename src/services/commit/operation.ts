import type { WasAwaited } from '#src/storage/events/event-writes.ts';
import type { EventWrite } from '#src/storage/events/event-rows.ts';
import type { StreamWrite } from '#src/storage/commit/stream-writes.ts';
import type { DeviceWrite } from '#src/storage/e2ee/device-writes.ts';

/** A write in the Writer's queue: events or streams, and what settles its caller. */
export interface Operation {
  /** Positions that the operation took, ascending in each shard. */
  readonly positions: readonly number[];
  readonly events: EventWrite | undefined;
  readonly streams: StreamWrite | undefined;
  readonly devices: DeviceWrite | undefined;
  /** Whether something it was built on failed in the meantime. */
  readonly isStale: () => boolean;
  /** Makes it visible to readers; runs after the commit, in order. */
  readonly publish: (wasAwaited: WasAwaited) => void;
  /** Takes back what was prepared in memory; runs when the database refused it. */
  readonly revert: () => void;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
  /** It takes long to write, so it gets a batch of its own. */
  readonly isLarge: boolean;
  /** Its events are in the database already: only the rest is left to write. */
  areEventsWritten: boolean;
}

/** An operation before the writer has taken it. */
export interface WriteRequest {
  readonly positions: readonly number[];
  readonly events?: EventWrite;
  readonly streams?: StreamWrite;
  readonly devices?: DeviceWrite;
  readonly isStale?: () => boolean;
  readonly publish: (wasAwaited: WasAwaited) => void;
  readonly revert?: () => void;
}
