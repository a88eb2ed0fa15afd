import {
  decodeSyncToken,
  encodeSyncToken,
  type PositionVector,
  SHARDS,
  shardOfPosition,
} from '#src/protocol/wire/position.ts';
import type { NotifyingRecord } from '#src/storage/push/notifications.ts';

/**
 * The newest notifications first. Within a shard that is the order of their positions, whatever time their senders say; the shards count
 * for themselves, and are merged by these times: where one is wrong, notifications of other shards come in another place, and that is all.
 *
 * @param records as many of each shard as are taken, or all that it has
 */
export const newestFirst = (records: readonly NotifyingRecord[], take: number): NotifyingRecord[] => {
  const shards = Map.groupBy(records, ({ nid }) => shardOfPosition(nid));
  const streams = [...shards.values()].map((stream) => ({ next: 0, stream: stream.toSorted((a, b) => b.nid - a.nid) }));
  const taken: NotifyingRecord[] = [];
  while (taken.length < take) {
    let best:
      | { readonly from: (typeof streams)[number]; readonly record: NotifyingRecord; readonly ts: number }
      | undefined;
    for (const from of streams) {
      const record = from.stream[from.next];
      if (record === undefined) continue;
      // A timestamp that is older than the one before it is ignored.
      const ts = Math.max(record.ts, from.stream[from.next + 1]?.ts ?? record.ts);
      if (best === undefined || ts > best.ts) best = { from, record, ts };
    }
    if (best === undefined) break;
    best.from.next++;
    taken.push(best.record);
  }
  return taken;
};

/** The positions from which the page after these notifications continues. */
export const upToAfter = (upTo: PositionVector, taken: readonly NotifyingRecord[]): PositionVector => {
  const rest = [...upTo];
  for (const { nid } of taken) {
    const shard = shardOfPosition(nid);
    rest[shard] = Math.min(rest[shard] ?? 0, nid - SHARDS);
  }
  return rest;
};

/** The token for a place in the list of notifications. Opaque to clients; the leading letter and digit name kind and version. */
export const encodeNotificationToken = (upTo: PositionVector): string =>
  `n2_${encodeSyncToken({ vector: upTo, ephemeral: { run: '0', count: 0 } })}`;

/** Reads a `next_token`; undefined when it is not one of ours. */
export const decodeNotificationToken = (token: string): PositionVector | undefined =>
  token.startsWith('n2_') ? decodeSyncToken(token.slice(3))?.vector : undefined;
