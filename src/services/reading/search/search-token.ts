import { isRoomId, isUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { SearchPlace } from '#src/storage/reading/search.ts';

/** Where a search continues. */
export interface SearchPosition {
  /** Only what comes before this place. */
  readonly before: SearchPlace;
  /** By rank: the last place of the stretch that was sorted. */
  readonly until?: SearchPlace;
  /** By rank: the last result of that stretch that was handed out. */
  readonly last?: SearchPlace & { readonly rank: number };
  /** Only results of this group. */
  readonly group?: { readonly key: 'room_id' | 'sender'; readonly value: string };
  /** How many results were handed out before. */
  readonly seen: number;
  /** About how many results there are in all, as the first page said. */
  readonly count?: number;
}

type Wire = readonly [
  before: readonly [number, number],
  until: readonly [number, number] | null,
  last: readonly [number, number, number] | null,
  group: readonly ['r' | 's', string] | null,
  seen: number,
  count: number | null,
];

/** The token for a place in a search (`next_batch`). Opaque to clients; the leading letter and digit name kind and version. */
export const encodeSearchToken = ({ before, until, last, group, seen, count }: SearchPosition): string => {
  const wire: Wire = [
    [before.ts, before.event],
    until === undefined ? null : [until.ts, until.event],
    last === undefined ? null : [last.ts, last.event, last.rank],
    group === undefined ? null : [group.key === 'room_id' ? 'r' : 's', group.value],
    seen,
    count ?? null,
  ];
  return `f1_${Buffer.from(JSON.stringify(wire)).toString('base64url')}`;
};

/** Reads a `next_batch` of a search; undefined when it is not one of ours. */
export const decodeSearchToken = (token: string): SearchPosition | undefined => {
  if (!token.startsWith('f1_')) return undefined;
  let wire: unknown;
  try {
    wire = JSON.parse(Buffer.from(token.slice(3), 'base64url').toString('utf8'));
  } catch {
    return undefined;
  }
  if (!Array.isArray(wire) || wire.length !== 6) return undefined;
  const [before, until, last, group, seen, count] = wire as readonly unknown[];
  const from = placeIn(before);
  const to = until === null ? undefined : placeIn(until);
  const lastPlace = last === null ? undefined : placeIn(last);
  const rank: unknown = Array.isArray(last) ? last[2] : undefined;
  if (from === undefined || (until !== null && to === undefined)) return undefined;
  if (last !== null && (lastPlace === undefined || typeof rank !== 'number')) return undefined;
  if (!isCount(seen) || (count !== null && !isCount(count))) return undefined;
  const isGroup =
    Array.isArray(group) &&
    group.length === 2 &&
    ((group[0] === 'r' && isRoomId(group[1])) || (group[0] === 's' && isUserId(group[1])));
  if (group !== null && !isGroup) return undefined;
  return {
    before: from,
    ...(to === undefined ? {} : { until: to }),
    ...(lastPlace === undefined ? {} : { last: { ...lastPlace, rank: rank as number } }),
    ...(isGroup ? { group: { key: group[0] === 'r' ? 'room_id' : 'sender', value: group[1] as string } } : {}),
    seen,
    ...(count === null ? {} : { count }),
  };
};

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

const placeIn = (value: unknown): SearchPlace | undefined => {
  if (!Array.isArray(value)) return undefined;
  const [ts, event] = value as readonly unknown[];
  return Number.isSafeInteger(ts) && Number.isSafeInteger(event)
    ? { ts: ts as number, event: event as number }
    : undefined;
};
