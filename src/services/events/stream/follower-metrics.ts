import type { Counter, Metrics } from '#src/kernel/metrics.ts';
import { type PositionVector, sequenceOf } from '#src/protocol/wire/position.ts';

/** Registers how far a follower is behind. */
export const measureFollowerLag = (metrics: Metrics, follower: string, lag: () => number): void => {
  const help = 'committed events that a follower has not processed yet; as many positions while it reads them back';
  metrics.gaugeOf('tsudoi_follower_lag', help, lag, { follower });
};

/** Counts what a follower gives up. */
export const countGivenUp = (metrics: Metrics): Counter =>
  metrics.counter('tsudoi_follower_given_up_total', 'events that a follower failed to process again and again', [
    'follower',
  ]);

/** How many positions of all shards together are committed and not reached. */
export const positionsBehind = (committed: PositionVector, reached: PositionVector): number =>
  committed.reduce((lag, pos, shard) => lag + Math.max(sequenceOf(pos) - sequenceOf(reached[shard] ?? 0), 0), 0);
