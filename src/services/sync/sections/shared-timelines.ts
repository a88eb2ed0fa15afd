import type { Clock } from '#src/kernel/clock.ts';
import { isSameList } from '#src/kernel/same-list.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { StickySource } from '#src/services/events/sticky/sticky-view.ts';
import { isFresh, type StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { RoomPlan } from '../engine/room-plan.ts';
import type { Part, SectionRequest } from '../engine/section.ts';
import type { SyncFilter } from '../engine/sync-filter.ts';
import type { EventEncoder } from './event-encoder.ts';
import { beginOfTimeline } from './timeline-window.ts';

/** Cached ranges per room, so that readers at adjacent positions do not evict each other's. */
const STRETCHES = 4;

/** A stretch of a room's messages, in the text that all its readers get. */
interface Stretch {
  readonly after: number;
  readonly upTo: number;
  readonly events: readonly StoredEvent[];
  /** Of the events as they are kept. */
  readonly bytes: number;
  /** Who sent them, each once. */
  readonly senders: readonly string[];
  /** By sender, their member events, and the state in which these stand: for those who are told members lazily. */
  readonly memberEvents: readonly number[];
  readonly state: StateChain;
  /** The text says how old the events are. */
  readonly writtenAt: number;
  readonly part: Part;
}

export interface SharedTimelinesOptions {
  readonly clock: Clock;
  readonly stream: RoomEventStream;
  readonly encoder: Pick<EventEncoder, 'common'>;
  readonly sticky: Pick<StickySource, 'mayHaveAny'>;
  readonly bytes: { readonly timeline: number };
}

/**
 * Timelines that are the same text for many readers, because nothing in them depends on the reader: a few messages of others, which came
 * while they were members. The text is made once for all of them. Everything else (state, gaps, filters, the reader's own messages ...) is
 * written for each reader.
 */
export class SharedTimelines {
  readonly #options: SharedTimelinesOptions;
  readonly #byRoom = new WeakMap<Room, { readonly stretches: Stretch[]; oldest: number }>();

  constructor(options: SharedTimelinesOptions) {
    this.#options = options;
    // A redaction changes its event in place: what was written before must not be handed out any more.
    options.stream.on('appended', ({ room, events }) => {
      if (events.some(({ event }) => event.type === 'm.room.redaction')) this.#byRoom.delete(room);
    });
  }

  /**
   * The shared text, if it is what this reader gets.
   *
   * @param left how many bytes of events the response has room for
   */
  of(plan: RoomPlan, request: SectionRequest, left: number): Stretch | undefined {
    const { room, member, after, upTo } = plan;
    const { filter, userId } = request;
    if (plan.section !== 'join' || plan.isFull || plan.isNew || plan.onlyLeave || after < member.since)
      return undefined;
    // The members of the room became known.
    if (room.fullSince > after && room.fullSince <= upTo) return undefined;
    if (request.stateAfter !== undefined || !takesAll(filter) || !filter.timelineRoom(room.roomId)) return undefined;
    if (this.#options.sticky.mayHaveAny(room)) return undefined;
    const stretch = this.#stretch(room, after, upTo);
    if (stretch === undefined || stretch.events.length > filter.timelineLimit) return undefined;
    if (stretch.bytes > Math.min(left, this.#options.bytes.timeline) || stretch.senders.includes(userId))
      return undefined;
    const ignored = request.ignored();
    if (ignored.size > 0 && stretch.senders.some((sender) => ignored.has(sender))) return undefined;
    return filter.lazyLoadMembers && !knowsSenders(plan, request, stretch) ? undefined : stretch;
  }

  #stretch(room: Room, after: number, upTo: number): Stretch | undefined {
    const events = room.ring.between(after, upTo);
    if (events === undefined || events.some(isMore)) return undefined;
    let known = this.#byRoom.get(room);
    if (known === undefined) this.#byRoom.set(room, (known = { stretches: [], oldest: 0 }));
    const { stretches } = known;
    const now = this.#options.clock.now();
    for (const stretch of stretches) {
      const isSame = stretch.after === after && stretch.upTo === upTo && isSameList(stretch.events, events);
      if (isSame && isFresh(stretch.writtenAt, now)) return stretch;
    }
    const made = this.#make(room, after, upTo, events, now);
    stretches[known.oldest] = made;
    known.oldest = (known.oldest + 1) % STRETCHES;
    return made;
  }

  #make(room: Room, after: number, upTo: number, events: readonly StoredEvent[], now: number): Stretch {
    const senders = [...new Set(events.map(({ sender }) => sender))];
    const text = this.#options.encoder.common(room, events, now);
    const begin = beginOfTimeline(room, events[0], upTo, upTo);
    const members = {
      state: '{"events":[]}',
      timeline: `{"events":[${text}],"limited":false,"prev_batch":"${begin}"}`,
    };
    return {
      after,
      upTo,
      events,
      bytes: events.reduce((sum, { json }) => sum + json.length, 0),
      senders,
      memberEvents: senders.map((sender) => room.member(sender)?.event ?? 0),
      state: room.stateChain,
      writtenAt: now,
      part: { members, isNews: events.length > 0 },
    };
  }
}

/** Whether an event is more than a message: it changes state, may have changed more state than it says, or comes after a gap. */
const isMore = (event: StoredEvent): boolean =>
  event.isState ||
  event.stateKey !== undefined ||
  event.currentState !== undefined ||
  (event.flags & EVENT_FLAGS.afterGap) !== 0;

/** Whether nothing is left out of a timeline, or written otherwise. */
const takesAll = ({ federationFormat, needsRelations, reshape, timeline }: SyncFilter): boolean =>
  timeline === undefined && !needsRelations && reshape === undefined && !federationFormat;

/** Whether a device was sent the member events of all senders, and does not get them again. Client-Server API, "Lazy-loading room members". */
const knowsSenders = (plan: RoomPlan, request: SectionRequest, stretch: Stretch): boolean => {
  if (request.filter.includeRedundantMembers || plan.end !== stretch.state) return false;
  const sent = request.user.sentMembers(request.deviceId ?? '');
  return stretch.senders.every((sender, index) => sent.has(memberKey(plan, sender), stretch.memberEvents[index] ?? 0));
};

/** Under which key it is remembered that a device has a user's member event. A reader who rejoins a room gets all of its state. */
export const memberKey = ({ member, room }: RoomPlan, userId: string): string =>
  `${room.nid} ${member.since} ${userId}`;
