import { type IdentifiedPdu, referencedIds } from './pdu.ts';

/**
 * Events in an order in which each comes after those that it names, as far as these are among them. Each id once; those that name each other
 * in a circle come in any order.
 *
 * @param by what it is that they name
 */
export const causalOrder = (
  events: readonly IdentifiedPdu[],
  by: 'prev_events' | 'auth_events',
): readonly IdentifiedPdu[] => {
  const byId = new Map(events.map((event) => [event.eventId, event]));
  const ordered = new Map<string, IdentifiedPdu>();
  const begun = new Set<string>();
  for (const first of byId.values()) {
    const path = [first];
    for (let event = path.at(-1); event !== undefined; event = path.at(-1)) {
      const before = begun.has(event.eventId)
        ? []
        : referencedIds(event.pdu[by]).flatMap((id) => (begun.has(id) ? [] : (byId.get(id) ?? [])));
      begun.add(event.eventId);
      if (before.length > 0) path.push(...before);
      else {
        path.pop();
        ordered.set(event.eventId, event);
      }
    }
  }
  return [...ordered.values()];
};
