import { isIgnored } from '#src/services/user-data/account-data/ignored-users.ts';
import type { StickySource } from '#src/services/events/sticky/sticky-view.ts';
import type { Relation } from '#src/protocol/filters/event-predicate.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { RoomPlan } from '../engine/room-plan.ts';
import type { SectionRequest } from '../engine/section.ts';
import { stickyDeliveries, type StickyDelivery } from './sticky-delivery.ts';
import type { SyncFilter } from '../engine/sync-filter.ts';
import type { RelationsSource, VisibilitySource } from './timeline-sources.ts';
import type { TimelineBounds, TimelinePredicate, TimelineReader, TimelineWindow } from './timeline-window.ts';

export interface VisibleTimelinesOptions {
  readonly timelines: TimelineReader;
  readonly visibility: VisibilitySource;
  readonly relations: RelationsSource;
  readonly sticky: StickySource;
  /** Bounds of timelines: of each, and of all of a response together. */
  readonly bytes: { readonly timeline: number; readonly response: number };
}

/** A room of a response, with the events of its timeline that the reader may see. */
export interface SectionDraft {
  readonly plan: RoomPlan;
  readonly window: TimelineWindow;
  readonly events: readonly VisibleEvent[];
  readonly sticky?: StickyDelivery;
}

/** The timelines of a response, as its reader may see them. */
export class VisibleTimelines {
  readonly #options: VisibleTimelinesOptions;

  constructor(options: VisibleTimelinesOptions) {
    this.#options = options;
  }

  /** All rooms are read together. @param left how many bytes of events the response still has room for */
  async read(
    plans: readonly RoomPlan[],
    request: SectionRequest,
    left = this.#options.bytes.response,
  ): Promise<readonly SectionDraft[]> {
    const bytes = Math.min(this.#options.bytes.timeline, Math.floor(left / Math.max(plans.length, 1)));
    return this.#withSticky(await this.#windows(plans, request, bytes), request.ignored());
  }

  async #windows(plans: readonly RoomPlan[], request: SectionRequest, bytes: number): Promise<SectionDraft[]> {
    const { filter, userId } = request;
    const ignored = request.ignored();
    const takesStateFromTimeline = request.stateAfter === undefined;
    const shown = plans.filter((plan) => filter.timelineRoom(plan.room.roomId));
    const accepts = ignored.size === 0 ? filter.timeline : withoutIgnored(filter, ignored);
    const bounds = { limit: filter.timelineLimit, bytes };
    const windows = filter.needsRelations
      ? await this.#relatedWindows(shown, bounds, accepts)
      : await this.#options.timelines.read(shown, bounds, accepts);
    const byRoom = new Map(shown.map((plan, index) => [plan, windows[index]]));
    return Promise.all(
      plans.map(async (plan) => {
        const window = byRoom.get(plan) ?? { events: [], limited: false, hiddenState: [] };
        const visible = await this.#visible(plan, window, userId);
        if (plan.onlyLeave) return { plan, window: { ...window, limited: false, hiddenState: [] }, events: visible };
        const hiddenState = withUnseen(window, visible);
        const events = takesStateFromTimeline ? afterOverruled(visible, hiddenState) : visible;
        const limited = window.limited || plan.isNew || events.length < visible.length;
        return { plan, window: { ...window, hiddenState, limited }, events };
      }),
    );
  }

  async #withSticky(drafts: readonly SectionDraft[], ignored: ReadonlySet<string>): Promise<readonly SectionDraft[]> {
    const deliveries = await stickyDeliveries(this.#options.sticky, drafts, ignored);
    if (deliveries.size === 0) return drafts;
    return drafts.map((draft) => {
      const sticky = deliveries.get(draft);
      return sticky === undefined ? draft : { ...draft, events: sticky.timeline, sticky };
    });
  }

  /** Timelines of a filter that asks what relates to the events. */
  async #relatedWindows(
    shown: readonly RoomPlan[],
    bounds: TimelineBounds,
    accepts: TimelinePredicate | undefined,
  ): Promise<TimelineWindow[]> {
    const related = new Map<number, readonly Relation[]>();
    const passes: TimelinePredicate = (event) => accepts?.(event, related.get(event.nid)) !== false;
    return this.#options.timelines.read(shown, bounds, passes, async (events) => {
      for (const [nid, relations] of await this.#options.relations.relationsOf(events)) related.set(nid, relations);
    });
  }

  /** What of a timeline the user may see. A user who was a member all the time sees everything; others have it checked. */
  async #visible(plan: RoomPlan, window: TimelineWindow, userId: string): Promise<readonly VisibleEvent[]> {
    const { member, room } = plan;
    if (plan.onlyLeave) {
      const leave = plan.outOfBand ?? window.events.find((event) => event.nid === member.event);
      return leave === undefined ? [] : [{ event: leave, membership: member.membership }];
    }
    if (plan.section === 'join' && window.events.every((event) => event.nid >= member.since))
      return this.#options.visibility.asMember(room, member, window.events);
    const visible = await this.#options.visibility.visibleTo(room, userId, window.events);
    if (plan.section === 'join' || visible.some(({ event }) => event.nid === member.event)) return visible;
    // The reader's own leave is always visible.
    const leave = window.events.find((event) => event.nid === member.event);
    return leave === undefined ? visible : [...visible, { event: leave, membership: member.membership }];
  }
}

/** What of the state is hidden: what a filter took out, and what history visibility did. */
const withUnseen = (window: TimelineWindow, visible: readonly VisibleEvent[]): readonly StoredEvent[] => {
  if (visible.length >= window.events.length) return window.hiddenState;
  const seen = new Set(visible.map(({ event }) => event.nid));
  return [
    ...window.hiddenState,
    ...window.events.filter(({ nid, stateKey }) => stateKey !== undefined && !seen.has(nid)),
  ];
};

/**
 * The end of a timeline that can be put after the state. A client takes what a timeline says of the state for newer than what it was told
 * beside it: before a change that is hidden from it, it must not read an older value of the same entry.
 */
const afterOverruled = (
  events: readonly VisibleEvent[],
  hiddenState: readonly StoredEvent[],
): readonly VisibleEvent[] => {
  if (hiddenState.length === 0) return events;
  const hidden = new Map<string, number>();
  for (const event of hiddenState) {
    const key = `${event.type}\0${event.stateKey}`;
    hidden.set(key, Math.max(hidden.get(key) ?? -Infinity, event.nid));
  }
  const last = events.findLastIndex(
    ({ event }) =>
      event.stateKey !== undefined && event.nid < (hidden.get(`${event.type}\0${event.stateKey}`) ?? -Infinity),
  );
  return events.slice(last + 1);
};

const withoutIgnored =
  (filter: SyncFilter, ignored: ReadonlySet<string>): TimelinePredicate =>
  (event, relations) =>
    !isIgnored(event, ignored) && filter.timeline?.(event, relations) !== false;
