import { compareEventIds } from './event-order.ts';
import { authEventOfType } from './state-map.ts';
import type { EventName, StateResolutionAccess } from './state-map.ts';

/**
 * "Starting with i = 0, repeatedly fetch Pi+1, the m.room.power_levels event in the auth_events of Pi. Increment i and repeat until
 * Pi has no m.room.power_levels event in its auth_events."
 *
 * @param powerLevels P0, or undefined if the state has no power levels: then the mainline is empty
 * @returns Pi -> i
 */
export function mainlineOf<Id extends EventName>(
  access: StateResolutionAccess<Id>,
  powerLevels: Id | undefined,
): ReadonlyMap<Id, number> {
  const mainline = new Map<Id, number>();
  let next = powerLevels;
  while (next !== undefined && !mainline.has(next)) {
    mainline.set(next, mainline.size);
    next = authEventOfType(access, next, 'm.room.power_levels');
  }
  return mainline;
}

/**
 * "Find the smallest index j >= 1 for which ej belongs to the mainline of P. If such a j exists, then ej = Pi for some unique index
 * i >= 0. Otherwise set i = ∞ ... In both cases, the mainline position of e is i."
 */
export function mainlinePosition<Id extends EventName>(
  access: StateResolutionAccess<Id>,
  mainline: ReadonlyMap<Id, number>,
  id: Id,
): number {
  const seen = new Set<Id>();
  let next = authEventOfType(access, id, 'm.room.power_levels');
  while (next !== undefined && !seen.has(next)) {
    const position = mainline.get(next);
    if (position !== undefined) return position;
    seen.add(next);
    next = authEventOfType(access, next, 'm.room.power_levels');
  }
  return Infinity;
}

/** "The mainline ordering based on P of a set of events is the ordering, from smallest to largest". */
export function mainlineOrdering<Id extends EventName>(
  access: StateResolutionAccess<Id>,
  powerLevels: Id | undefined,
  ids: Iterable<Id>,
): Id[] {
  const mainline = mainlineOf(access, powerLevels);
  const placed: { id: Id; eventId: string; position: number; originServerTs: number }[] = [];
  for (const id of ids) {
    const event = access.event(id);
    if (event === undefined) continue;
    const { eventId, pdu } = event;
    placed.push({
      id,
      eventId,
      position: mainlinePosition(access, mainline, id),
      originServerTs: pdu.origin_server_ts,
    });
  }
  placed.sort((x, y) => {
    // "the mainline position of x is greater than the mainline position of y ...; or"
    if (x.position !== y.position) return x.position > y.position ? -1 : 1;
    // "... but x's origin_server_ts is less than y's origin_server_ts; or"
    if (x.originServerTs !== y.originServerTs) return x.originServerTs - y.originServerTs;
    // "... but x's event_id is less than y's event_id."
    return compareEventIds(x.eventId, y.eventId);
  });
  return placed.map(({ id }) => id);
}
