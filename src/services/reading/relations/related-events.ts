import { ANNOTATION } from '#src/services/room-model/event/annotation.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RelatedRecord } from '#src/storage/reading/relation-reads.ts';
import type { Names } from '#src/storage/room-model/names.ts';

/** An event that relates to another one, as far as aggregations need to know it. */
export interface RelatedEvent {
  readonly nid: number;
  readonly topo: number;
  readonly eventId: string;
  readonly ts: number;
  readonly sender: string;
  readonly type: string;
  readonly relType: string;
  readonly isState: boolean;
}

/** The same of what was read, with its names. */
export const relatedEvent = (record: RelatedRecord, room: Pick<Room, 'version'>, names: Names): RelatedEvent => ({
  nid: record.nid,
  topo: record.topo,
  eventId: eventIdText(room.version, record.event_id),
  ts: record.ts,
  sender: names.userName(record.sender),
  type: names.typeName(record.type),
  relType: names.typeName(record.rel_type),
  isState: record.is_state,
});

/** Topological order, the earliest first. */
export const byPlace = (a: Pick<RelatedEvent, 'topo' | 'nid'>, b: Pick<RelatedEvent, 'topo' | 'nid'>): number =>
  a.topo - b.topo || a.nid - b.nid;

/** The relation types that the specification gives a meaning. Client-Server API, "Relationship types". */
export const REL = {
  annotation: ANNOTATION,
  reference: 'm.reference',
  replace: 'm.replace',
  thread: 'm.thread',
} as const;
