import type { SyncPosition } from '#src/protocol/wire/position.ts';
import type { RoomPlan } from './room-plan.ts';
import type { Part } from './section.ts';

/** A part, with the name of its section. */
export interface SectionPart {
  readonly section: string;
  readonly part: Part;
}

/** Writes one response. It gets the rooms in any order, and everything else after them. */
export interface SyncEncoder<Body> {
  /** A room with changes, with the parts of all sections, in the order of the sections. */
  room(plan: RoomPlan, parts: readonly SectionPart[]): void;
  /** The parts outside of rooms. */
  general(parts: readonly SectionPart[]): void;
  /** @param next where the next response begins */
  end(next: SyncPosition): Body;
}
