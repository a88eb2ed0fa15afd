import { STICKY } from '#src/protocol/events/sticky.ts';
import type { Section, SectionRequest, SectionView } from '../engine/section.ts';
import type { EventEncoder } from './event-encoder.ts';
import type { RoomEventsSection } from './room-events.ts';

/** The sticky events that a room's timeline does not have. MSC4354, "Sync API changes". */
export class StickySection implements Section {
  readonly name = 'sticky';
  readonly #timelines: Pick<RoomEventsSection, 'draftOf'>;
  readonly #encoder: EventEncoder;

  /** @param timelines which of them stand in timelines */
  constructor(timelines: Pick<RoomEventsSection, 'draftOf'>, encoder: EventEncoder) {
    this.#timelines = timelines;
    this.#encoder = encoder;
  }

  open({ userId, deviceId, filter }: SectionRequest): SectionView {
    return {
      room: (plan) => {
        const sticky = this.#timelines.draftOf(plan)?.sticky;
        if (sticky === undefined || sticky.events.length === 0) return undefined;
        const { member } = plan;
        const events = sticky.events.map((event) => {
          const membership = event.nid >= member.since ? member.membership : 'leave';
          const ttl = sticky.view.ttl(event);
          return this.#encoder.event({ event, membership }, { userId, deviceId }, filter, undefined, ttl);
        });
        return { list: STICKY, events, isNews: true };
      },
    };
  }
}
