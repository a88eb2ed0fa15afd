import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { EventRow } from '#src/storage/events/event-rows.ts';
import type { Names } from '#src/storage/room-model/names.ts';
import { annotationOf } from './annotation.ts';
import { eventIdBytes } from './event-ids.ts';
import { relationOf, type StoredEventParts } from './stored-event.ts';

/** What an event refers to in its room's history, by position. */
export interface EventLinks {
  readonly prev: readonly number[];
  readonly auth: readonly number[];
  readonly relation: Pick<EventRow, 'rel'> & { readonly relType: string | undefined };
  readonly redactedBy?: number | undefined;
}

/** The relation that an event's content declares, to an event whose position may be in memory. */
export const relationLink = (
  { content }: Pick<Pdu, 'content'>,
  positionOf: (eventId: string) => number | undefined = () => undefined,
): EventLinks['relation'] => {
  const relation = relationOf(content);
  if (relation === undefined) return { rel: undefined, relType: undefined };
  return { rel: positionOf(relation.eventId) ?? eventIdBytes(relation.eventId), relType: relation.relType };
};

/**
 * The row of an event, whichever way it came: made here, received, or out of an archive. `names` has to know those in it.
 * What is in `parts`, in the PDU or in the links is a column by one line in `storage/events/event-tables.ts`.
 */
export const eventRow = (
  names: Names,
  { room, eventId, pdu, ...parts }: StoredEventParts & { readonly pdu: Pdu },
  { prev, auth, relation, redactedBy }: EventLinks,
): EventRow => ({
  ...parts,
  currentState: parts.currentState,
  pdu,
  room: room.nid,
  eventId: eventIdBytes(eventId),
  type: names.type(pdu.type),
  skey: pdu.state_key === undefined ? undefined : names.stateKey(pdu.type, pdu.state_key),
  sender: names.user(pdu.sender),
  prev,
  auth,
  rel: relation.rel,
  relType: relation.relType === undefined ? undefined : names.type(relation.relType),
  annotation: relation.relType === undefined ? undefined : annotationOf(pdu),
  redactedBy,
});
