import { compareEventIds } from '../event-order.ts';
import { isPowerEvent } from '../power-ordering.ts';
import type { PackedResolution } from './packed-resolution.ts';

/** The places of the full conflicted set by `origin_server_ts`, then event id: the end of both comparison relations. */
export function timeRanks({ events, fullCount }: PackedResolution): Int32Array {
  const times = Float64Array.from({ length: fullCount }, (_, number) => events[number]?.pdu.origin_server_ts ?? 0);
  const order = Uint32Array.from({ length: fullCount }, (_, number) => number);
  order.sort(
    (x, y) => (times[x] ?? 0) - (times[y] ?? 0) || compareEventIds(events[x]?.eventId ?? '', events[y]?.eventId ?? ''),
  );
  const ranks = new Int32Array(fullCount);
  order.forEach((number, rank) => (ranks[number] = rank));
  return ranks;
}

/** The power events of the full conflicted set and what belongs to them: 1 for each. See `selectPowerEvents`. */
export function packedPowerEvents({ events, fullCount, authEvents }: PackedResolution): Uint8Array {
  const { offsets, edges } = authEvents;
  const selected = new Uint8Array(fullCount);
  const list: number[] = [];
  for (let number = 0; number < fullCount; number++) {
    const event = events[number];
    if (event === undefined || !isPowerEvent(event.pdu)) continue;
    selected[number] = 1;
    list.push(number);
  }
  for (const number of list) {
    for (let edge = offsets[number] ?? 0, end = offsets[number + 1] ?? 0; edge < end; edge++) {
      const cited = edges[edge] ?? 0;
      if (cited >= fullCount || selected[cited] === 1) continue;
      selected[cited] = 1;
      list.push(cited);
    }
  }
  return selected;
}

/**
 * The reverse topological power ordering. See `reverseTopologicalPowerOrdering`.
 *
 * @param selected the events to order
 * @param senderLevel the power level of an event's sender
 */
export function packedPowerOrdering(
  { fullCount, authEvents }: PackedResolution,
  selected: Uint8Array,
  ranks: Int32Array,
  senderLevel: (number: number) => number,
): Int32Array {
  const { offsets, edges } = authEvents;
  const chosen: number[] = [];
  for (let number = 0; number < fullCount; number++) if (selected[number] === 1) chosen.push(number);
  const levels = new Map(chosen.map((number) => [number, senderLevel(number)]));
  chosen.sort((x, y) => {
    const [a, b] = [levels.get(x) ?? 0, levels.get(y) ?? 0];
    if (a !== b) return a > b ? -1 : 1;
    return (ranks[x] ?? 0) - (ranks[y] ?? 0);
  });
  // From here on an event is its place among the chosen ones, so that the smallest candidate is the smallest number.
  const places = new Int32Array(fullCount).fill(-1);
  chosen.forEach((number, place) => (places[number] = place));
  const waitingFor = new Int32Array(chosen.length);
  const citedBy: number[][] = chosen.map(() => []);
  chosen.forEach((number, place) => {
    for (let edge = offsets[number] ?? 0, end = offsets[number + 1] ?? 0; edge < end; edge++) {
      const cited = edges[edge] ?? 0;
      const citedPlace = cited < fullCount ? (places[cited] ?? -1) : -1;
      if (citedPlace < 0) continue;
      // An event that is named twice is waited for twice, and crossed off twice.
      citedBy[citedPlace]?.push(place);
      waitingFor[place] = (waitingFor[place] ?? 0) + 1;
    }
  });
  const candidates = new IntHeap(chosen.length);
  waitingFor.forEach((count, place) => {
    if (count === 0) candidates.push(place);
  });
  const ordering: number[] = [];
  while (candidates.size > 0) {
    const smallest = candidates.pop();
    ordering.push(chosen[smallest] ?? 0);
    for (const place of citedBy[smallest] ?? []) {
      const left = (waitingFor[place] ?? 0) - 1;
      waitingFor[place] = left;
      if (left === 0) candidates.push(place);
    }
  }
  return Int32Array.from(ordering);
}

/**
 * The mainline ordering of what is left of the full conflicted set. See `mainlineOrdering`.
 *
 * @param powerLevels the event that the mainline begins with, or -1
 * @param powerLevelsOf the `m.room.power_levels` among the auth events of each event, or -1
 */
export function packedMainlineOrdering(
  { fullCount, events }: PackedResolution,
  selected: Uint8Array,
  ranks: Int32Array,
  powerLevels: number,
  powerLevelsOf: Int32Array,
): Int32Array {
  const unknown = -1;
  const never = events.length;
  // Mainline positions of power levels; `never` stands for infinity.
  const positions = new Int32Array(events.length).fill(unknown);
  for (let next = powerLevels, i = 0; next >= 0 && positions[next] === unknown; next = powerLevelsOf[next] ?? -1) {
    positions[next] = i++;
  }
  const positionOf = (number: number): number => {
    const passed: number[] = [];
    let next = powerLevelsOf[number] ?? -1;
    // What is passed is marked at once, so that a circle ends the walk.
    while (next >= 0 && positions[next] === unknown) {
      positions[next] = never;
      passed.push(next);
      next = powerLevelsOf[next] ?? -1;
    }
    const position = next < 0 ? never : (positions[next] ?? never);
    for (const number of passed) positions[number] = position;
    return position;
  };
  const remaining: number[] = [];
  const ofEvents = new Int32Array(fullCount);
  for (let number = 0; number < fullCount; number++) {
    if (selected[number] === 1) continue;
    remaining.push(number);
    ofEvents[number] = positionOf(number);
  }
  remaining.sort((x, y) => (ofEvents[y] ?? 0) - (ofEvents[x] ?? 0) || (ranks[x] ?? 0) - (ranks[y] ?? 0));
  return Int32Array.from(remaining);
}

/** A binary heap of integers, the smallest on top. */
class IntHeap {
  readonly #items: Int32Array;
  size = 0;

  constructor(capacity: number) {
    this.#items = new Int32Array(capacity);
  }

  push(item: number): void {
    const items = this.#items;
    let at = this.size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent] ?? 0;
      if (above <= item) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  /** Takes the smallest out. The heap must not be empty. */
  pop(): number {
    const items = this.#items;
    const top = items[0] ?? 0;
    const last = items[--this.size] ?? 0;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.size) break;
      if (child + 1 < this.size && (items[child + 1] ?? 0) < (items[child] ?? 0)) child++;
      const below = items[child] ?? 0;
      if (below >= last) break;
      items[at] = below;
      at = child;
    }
    items[at] = last;
    return top;
  }
}
