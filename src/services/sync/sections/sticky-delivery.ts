import { isIgnored } from '#src/services/user-data/account-data/ignored-users.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomPlan } from '../engine/room-plan.ts';
import type { StickySource, StickyView } from '#src/services/events/sticky/sticky-view.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';

/** A room of a response, as far as sticky events go. */
export interface StickyDraft {
  readonly plan: {
    readonly room: Room;
    readonly member: Pick<Member, 'since'>;
    readonly section: RoomPlan['section'];
    /** What came up to here is known to the client. */
    readonly after: number;
    readonly upTo: number;
  };
  /** The timeline. */
  readonly events: readonly VisibleEvent[];
}

/** Sticky events of a room in a response. */
export interface StickyDelivery {
  readonly view: StickyView;
  /** The timeline without events that become visible only after the response's end. */
  readonly timeline: readonly VisibleEvent[];
  /** Sticky events that the timeline does not have. */
  readonly events: readonly StoredEvent[];
}

/**
 * The sticky events that are new to the client and not in its filtered timeline: they come in a section of their own. A user who has
 * just joined gets all of them. MSC4354, "Sync API changes".
 */
export const stickyDeliveries = async <Draft extends StickyDraft>(
  source: StickySource,
  drafts: readonly Draft[],
  ignored: ReadonlySet<string>,
): Promise<ReadonlyMap<Draft, StickyDelivery>> => {
  const joined = drafts.filter(({ plan }) => plan.section === 'join');
  const views = await source.forRooms(joined.map(({ plan }) => plan.room));
  const deliveries = new Map<Draft, StickyDelivery>();
  if (views.size === 0) return deliveries;
  for (const draft of joined) {
    const { plan } = draft;
    const view = views.get(plan.room.nid);
    if (view === undefined) continue;
    // What was hidden for a while has a place in the timeline before the position by which it is told.
    const timeline = draft.events.filter(({ event }) => (view.positionOf(event) ?? 0) <= plan.upTo);
    const shown = new Set(timeline.map(({ event }) => event.nid));
    const isNew = plan.member.since > plan.after;
    const events = view
      .between(isNew ? 0 : plan.after, plan.upTo)
      .filter((event) => !shown.has(event.nid) && !isIgnored(event, ignored));
    deliveries.set(draft, { view, timeline, events });
  }
  return deliveries;
};
