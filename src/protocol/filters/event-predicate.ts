/** Filters as predicates over events. */

import { type Glob, globMatches, parseAsteriskGlob } from '#src/protocol/matching/glob.ts';
import type { StepBudget } from '#src/protocol/matching/step-budget.ts';
import type { EventFilter, RoomEventFilter, RoomFilter } from './filter.ts';

/** What filters read of an event. */
export interface FilterableEvent {
  readonly type: string;
  readonly sender?: string | undefined;
  readonly room_id?: string | undefined;
  readonly content: Readonly<Record<string, unknown>>;
}

/** A relation that some other event has to the event in question. */
export interface Relation {
  readonly sender: string;
  readonly relType: string;
}

/**
 * @param relations the relations that other events have to this one; needed for filters with `needsRelations`, which match
 *   nothing without them
 */
export type EventPredicate = (event: FilterableEvent, relations?: readonly Relation[]) => boolean;

/** Whether the filter asks about relations, which the event itself does not hold. */
export function needsRelations(filter: EventFilter | RoomEventFilter): boolean {
  return 'relatedBySenders' in filter || 'relatedByRelTypes' in filter;
}

/**
 * Parses a filter once, for many events.
 *
 * @param budget counts the steps that patterns take
 */
export function compileEventFilter(filter: EventFilter | RoomEventFilter, budget?: StepBudget): EventPredicate {
  const tests: EventPredicate[] = [];
  const { types, notTypes, senders, notSenders } = filter;
  if (types !== undefined) {
    const wanted = compileTypes(types, budget);
    if (wanted !== undefined) tests.push((event) => wanted(event.type));
  }
  if (notTypes !== undefined && notTypes.length > 0) {
    const unwanted = compileTypes(notTypes, budget);
    tests.push(unwanted === undefined ? () => false : (event) => !unwanted(event.type));
  }
  if (senders !== undefined) {
    const wanted = new Set(senders);
    tests.push((event) => event.sender !== undefined && wanted.has(event.sender));
  }
  if (notSenders !== undefined && notSenders.length > 0) {
    const unwanted = new Set(notSenders);
    tests.push((event) => event.sender === undefined || !unwanted.has(event.sender));
  }
  if ('lazyLoadMembers' in filter) tests.push(...roomTests(filter));
  const [only, second] = tests;
  if (only === undefined) return () => true;
  if (second === undefined) return only;
  return (event, relations) => {
    for (const test of tests) if (!test(event, relations)) return false;
    return true;
  };
}

function roomTests(filter: RoomEventFilter): EventPredicate[] {
  const tests: EventPredicate[] = [];
  const { containsUrl, relatedBySenders, relatedByRelTypes } = filter;
  if (filter.rooms !== undefined || filter.notRooms !== undefined) {
    const wanted = compileRooms(filter);
    tests.push((event) => event.room_id === undefined || wanted(event.room_id));
  }
  if (containsUrl !== undefined) tests.push((event) => Object.hasOwn(event.content, 'url') === containsUrl);
  if (filter.relTypes !== undefined) {
    const wanted = new Set<unknown>(filter.relTypes);
    tests.push((event) => wanted.has(relTypeOf(event)));
  }
  if (filter.notRelTypes !== undefined && filter.notRelTypes.length > 0) {
    const unwanted = new Set<unknown>(filter.notRelTypes);
    tests.push((event) => !unwanted.has(relTypeOf(event)));
  }
  if (relatedBySenders !== undefined || relatedByRelTypes !== undefined) {
    // One relation must satisfy both: "events that Alice replied to in a thread", not "replied to in a thread, and by Alice somehow".
    const senders = relatedBySenders === undefined ? undefined : new Set(relatedBySenders);
    const relTypes = relatedByRelTypes === undefined ? undefined : new Set(relatedByRelTypes);
    tests.push((_event, relations = []) =>
      relations.some(({ sender, relType }) => senders?.has(sender) !== false && relTypes?.has(relType) !== false),
    );
  }
  return tests;
}

/** In which way an event relates to another one, as it says itself. */
function relTypeOf({ content }: FilterableEvent): unknown {
  const relation = content['m.relates_to'];
  return typeof relation === 'object' && relation !== null ? (relation as { rel_type?: unknown }).rel_type : undefined;
}

/** Whether events of a room are wanted at all, by the `rooms` and `not_rooms` of a filter. */
export function compileRooms({ rooms, notRooms }: Pick<RoomFilter, 'rooms' | 'notRooms'>): (roomId: string) => boolean {
  const wanted = rooms === undefined ? undefined : new Set(rooms);
  const unwanted = new Set(notRooms);
  return (roomId) => !unwanted.has(roomId) && wanted?.has(roomId) !== false;
}

/** The predicate of a list of types with wildcards; undefined if it takes every type. */
function compileTypes(types: readonly string[], budget?: StepBudget): ((type: string) => boolean) | undefined {
  const exact = new Set<string>();
  const globs: Glob[] = [];
  for (const type of types) {
    if (type === '*') return undefined;
    if (type.includes('*')) globs.push(parseAsteriskGlob(type));
    else exact.add(type);
  }
  if (globs.length === 0) return (type) => exact.has(type);
  // A room has few types of events, and many events: no list of patterns, however long, is gone through for each of them.
  const known = new Map<string, boolean>();
  return (type) => {
    if (exact.has(type)) return true;
    let matches = known.get(type);
    if (matches === undefined) {
      matches = globs.some((glob) => globMatches(glob, type, budget));
      if (known.size >= MAX_KNOWN_TYPES) known.clear();
      known.set(type, matches);
    }
    return matches;
  };
}

/** Verdicts on types that a predicate remembers. */
const MAX_KNOWN_TYPES = 200;
