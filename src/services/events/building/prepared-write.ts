import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import type { EventWrite } from '#src/storage/events/event-rows.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import { tailRowOf } from '#src/services/room-model/room/tail-row.ts';
import type { PreparedEvent } from './event-builder.ts';
import type { StateStep } from './follow-ups.ts';

/** How these events change the room. */
export const stepOf = (room: Room, prepared: readonly PreparedEvent[]): StateStep => ({
  room,
  state: prepared.flatMap(({ change, event }) => (change === undefined ? [] : event)),
  members: prepared.flatMap(({ event: { previous }, member }) => {
    if (member === undefined) return [];
    const { userId, local, membership: after } = member;
    return { userId, local, before: previous === undefined ? undefined : membershipIn(previous.content), after };
  }),
  redacted: prepared.flatMap(({ redaction }) => redaction?.target ?? []),
});

/**
 * What is written of events that were built one on the other.
 *
 * @param last the last one of them
 * @param transaction the key of the transaction that they are, if they are one
 */
export const writeOf = (
  room: Room,
  prepared: readonly PreparedEvent[],
  last: PreparedEvent,
  transaction: string | undefined,
  now: number,
): EventWrite => ({
  events: prepared.map((one) => one.row),
  deltas: prepared.flatMap((one) => one.delta ?? []),
  members: prepared.flatMap((one) => one.memberRow ?? []),
  mentions: prepared.flatMap((one) => one.mentions),
  redactions: prepared.flatMap((one) => one.redaction?.row ?? []),
  awaitedRedactions: prepared.flatMap(({ awaited, event }) =>
    awaited === undefined ? [] : [{ room: room.nid, target: eventIdBytes(awaited), redaction: event.nid }],
  ),
  stickies: prepared.flatMap(({ event: { nid }, stickyUntil: expires }) =>
    expires === undefined ? [] : [{ room: room.nid, event: nid, pos: nid, expires }],
  ),
  sentDelayed: prepared.flatMap(({ event, row: { delayId } }) =>
    delayId === undefined ? [] : [{ delayId, eventId: event.eventId, sentTs: now }],
  ),
  txns:
    transaction === undefined ? [] : [{ key: transaction, eventId: last.event.eventId, day: Math.floor(now / DAY_MS) }],
  // Deeper than the event where others have come meanwhile.
  tails: [tailRowOf(room, last.head, Math.max(last.event.topo, room.headDepth), last.event.nid)],
});
