import { STICKY } from '#src/protocol/events/sticky.ts';
import type { Section, SectionRequest, SectionView } from '../engine/section.ts';
import type { EventEncoder } from './event-encoder.ts';
import type { RoomEventsSection } from './room-events.ts';
import type { VisibilitySource } from './timeline-sources.ts';

/** The sticky events that a room's timeline does not have. MSC4354, "Sync API changes". */
export class StickySection implements Section {
  readonly name = 'sticky';
  readonly #timelines: Pick<RoomEventsSection, 'draftOf'>;
  readonly #encoder: EventEncoder;
  readonly #visibility: Pick<VisibilitySource, 'asMember'>;

  /** @param timelines which of them stand in timelines */
  constructor(
    timelines: Pick<RoomEventsSection, 'draftOf'>,
    encoder: EventEncoder,
    visibility: Pick<VisibilitySource, 'asMember'>,
  ) {
    this.#timelines = timelines;
    this.#encoder = encoder;
    this.#visibility = visibility;
  }

  open({ userId, deviceId, filter }: SectionRequest): SectionView {
    return {
      room: (plan) => {
        const sticky = this.#timelines.draftOf(plan)?.sticky;
        if (sticky === undefined || sticky.events.length === 0) return undefined;
        const events = this.#visibility
          .asMember(plan.room, plan.member, sticky.events)
          // Events of erased users are not sticky any more.
          .filter(({ event }) => event.stickyDuration !== undefined)
          .map((visible) => {
            const ttl = sticky.view.ttl(visible.event);
            return this.#encoder.event(visible, { userId, deviceId }, filter, undefined, ttl);
          });
        return events.length === 0 ? undefined : { list: STICKY, events, isNews: true };
      },
    };
  }
}
