import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomPlan } from '../engine/room-plan.ts';
import type { Part, Section, SectionRequest, SectionView } from '../engine/section.ts';

/** Stripped state for a user who is invited or knocks. Client-Server API, "Stripped state". */
export interface StrippedStateSource {
  strippedStateFor(room: Room, userId: string): Promise<readonly object[]>;
}

/** `invite_state` and `knock_state` of rooms. */
export class StrippedStateSection implements Section {
  readonly name = 'stripped_state';
  readonly opensOnlyWhenWoken = true;
  readonly #source: StrippedStateSource;

  constructor(source: StrippedStateSource) {
    this.#source = source;
  }

  open({ userId }: SectionRequest): SectionView {
    return { room: (plan) => (isOutside(plan) ? this.#part(plan, userId) : undefined) };
  }

  async #part({ room, section }: RoomPlan, userId: string): Promise<Part> {
    const events = await this.#source.strippedStateFor(room, userId);
    return { list: `${section}_state`, events: events.map((event) => JSON.stringify(event)), isNews: true };
  }
}

const isOutside = ({ section }: RoomPlan): boolean => section === 'invite' || section === 'knock';
