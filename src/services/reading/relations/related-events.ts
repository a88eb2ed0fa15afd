import { ANNOTATION } from '#src/services/room-model/event/annotation.ts';

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
