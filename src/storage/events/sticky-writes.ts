/** A sticky event: how it is delivered. */
export interface StickyRow {
  readonly room: number;
  readonly event: number;
  /** The position by which it is delivered; null for a soft-failed one. */
  readonly pos: number | null;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

/** A sticky event that was soft-failed and is valid now. */
export interface RevivalRow {
  readonly room: number;
  readonly event: number;
  readonly pos: number;
}

/** What a batch of events writes of sticky ones. */
export interface StickyWrite {
  readonly stickies?: readonly StickyRow[];
  readonly revivals?: readonly RevivalRow[];
}

const END = ') select 1 from owned';

/**
 * The statement that writes a batch of events, with sticky events beside them. Their parameters come after all others.
 *
 * @param softFailed the flag that valid events do not have
 */
export const withStickyEvents = (text: string, softFailed: number): string => {
  const before = Math.max(...[...text.matchAll(/\$(\d+)/g)].map(([, number]) => Number(number)));
  const $ = (index: number): string => `$${before + index}`;
  return text.replace(
    END,
    () => `), new_stickies as (
    insert into sticky_events (room, event, pos, expires)
    select y.* from owned, unnest(${$(1)}::int[], ${$(2)}::bigint[], ${$(3)}::bigint[], ${$(4)}::bigint[]) y(room, event, pos, expires)
  ), revived as (
    update events e set flags = e.flags & ~${softFailed}
    from owned, unnest(${$(5)}::int[], ${$(6)}::bigint[]) v(room, nid) where e.room = v.room and e.nid = v.nid
  ), delivered as (
    update sticky_events y set pos = v.pos from owned, unnest(${$(5)}::int[], ${$(6)}::bigint[], ${$(7)}::bigint[]) v(room, event, pos)
    where y.room = v.room and y.event = v.event
  ${END}`,
  );
};

/** The values of these parameters; undefined when a batch has no sticky events. */
export const stickyValues = (writes: readonly StickyWrite[]): readonly unknown[] | undefined => {
  const stickies = writes.flatMap((write) => write.stickies ?? []);
  const revivals = writes.flatMap((write) => write.revivals ?? []);
  if (stickies.length + revivals.length === 0) return undefined;
  return [
    stickies.map((row) => row.room),
    stickies.map((row) => row.event),
    stickies.map((row) => row.pos),
    stickies.map((row) => row.expires),
    revivals.map((row) => row.room),
    revivals.map((row) => row.event),
    revivals.map((row) => row.pos),
  ];
};
