import type { SyncPosition } from '#src/protocol/wire/position.ts';
import type { RoomPlan } from './room-plan.ts';
import type { Part } from './section.ts';

/** What a section says, with its name. */
export interface SectionPart {
  readonly section: string;
  readonly part: Part;
}

/** Writes one response. It is told of rooms in any order, and of everything else after them. */
export interface SyncEncoder<Body> {
  /** A room of which there is news, with the parts of all sections that have any, in the order of the sections. */
  room(plan: RoomPlan, parts: readonly SectionPart[]): void;
  /** What is told beside the rooms. */
  general(parts: readonly SectionPart[]): void;
  /** @param next where the next response begins */
  end(next: SyncPosition): Body;
}
