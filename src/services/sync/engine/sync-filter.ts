import { type PageLimits, pageLimit } from '#src/kernel/limits/page-limit.ts';
import { compileEventFields } from '#src/protocol/filters/event-fields.ts';
import { compileEventFilter, compileRooms, type EventPredicate } from '#src/protocol/filters/event-predicate.ts';
import type { EventFilter, Filter, RoomEventFilter } from '#src/protocol/filters/filter.ts';

type RoomTest = (roomId: string) => boolean;

/** A filter as sync uses it: compiled once, kept as long as the filter object lives. */
export interface SyncFilter {
  readonly source: Filter;
  readonly timelineLimit: number;
  /** Undefined: takes every event. */
  readonly timeline: EventPredicate | undefined;
  /** `timeline` needs the relations of the events. */
  readonly needsRelations: boolean;
  readonly state: EventPredicate | undefined;
  readonly ephemeral: EventPredicate | undefined;
  readonly roomAccountData: EventPredicate | undefined;
  readonly presence: EventPredicate | undefined;
  readonly accountData: EventPredicate | undefined;
  readonly room: RoomTest;
  readonly timelineRoom: RoomTest;
  readonly stateRoom: RoomTest;
  readonly ephemeralRoom: RoomTest;
  readonly accountDataRoom: RoomTest;
  readonly includeLeave: boolean;
  readonly lazyLoadMembers: boolean;
  readonly includeRedundantMembers: boolean;
  readonly threadCounts: boolean;
  /** Undefined: whole events in the usual format, which can be shared between readers. */
  readonly reshape: ((event: Record<string, unknown>) => Record<string, unknown>) | undefined;
  readonly federationFormat: boolean;
  /** Fields of profiles that are told; undefined: none. */
  readonly profileFields: ReadonlySet<string> | undefined;
}

const RESTRICTIONS = [
  'types',
  'notTypes',
  'senders',
  'notSenders',
  'containsUrl',
  'relatedBySenders',
  'relatedByRelTypes',
  'relTypes',
  'notRelTypes',
] as const;

const predicate = (filter: EventFilter | RoomEventFilter): EventPredicate | undefined => {
  if (filter.limit === 0) return () => false;
  const restricts = RESTRICTIONS.some((name) => (filter as unknown as Record<string, unknown>)[name] !== undefined);
  return restricts ? compileEventFilter(filter) : undefined;
};

/** Makes filters ready for sync, each of them once. */
export class SyncFilters {
  readonly #limits: PageLimits;
  readonly #compiled = new WeakMap<Filter, SyncFilter>();

  constructor(limits: PageLimits) {
    this.#limits = limits;
  }

  of(source: Filter): SyncFilter {
    const known = this.#compiled.get(source);
    if (known !== undefined) return known;
    const filter = compile(source, this.#limits);
    this.#compiled.set(source, filter);
    return filter;
  }
}

const compile = (source: Filter, limits: PageLimits): SyncFilter => {
  const { room } = source;
  const { limit, ...timeline } = room.timeline;
  return {
    source,
    timelineLimit: pageLimit(limit, limits),
    timeline: predicate(timeline),
    needsRelations: timeline.relatedBySenders !== undefined || timeline.relatedByRelTypes !== undefined,
    state: predicate(room.state),
    ephemeral: predicate(room.ephemeral),
    roomAccountData: predicate(room.accountData),
    presence: predicate(source.presence),
    accountData: predicate(source.accountData),
    room: compileRooms(room),
    timelineRoom: compileRooms(room.timeline),
    stateRoom: compileRooms(room.state),
    ephemeralRoom: compileRooms(room.ephemeral),
    accountDataRoom: compileRooms(room.accountData),
    includeLeave: room.includeLeave,
    lazyLoadMembers: room.state.lazyLoadMembers || room.timeline.lazyLoadMembers,
    includeRedundantMembers: room.state.includeRedundantMembers || room.timeline.includeRedundantMembers,
    threadCounts: room.timeline.unreadThreadNotifications,
    reshape: source.eventFields === undefined ? undefined : compileEventFields(source.eventFields),
    federationFormat: source.eventFormat === 'federation',
    profileFields: source.profileFields === undefined ? undefined : new Set(source.profileFields),
  };
};
