import type { EventName } from '../state-map.ts';

/**
 * The auth events of numbered events: those of event `i` are `edges[offsets[i]]` up to before `edges[offsets[i + 1]]`
 * (compressed sparse rows).
 */
export interface AuthGraph {
  readonly size: number;
  readonly offsets: Int32Array;
  readonly edges: Int32Array;
}

/** Numbers things as they come, from 0. */
export class Numbering<Id> {
  readonly ids: Id[] = [];
  readonly #numbers = new Map<Id, number>();

  get size(): number {
    return this.ids.length;
  }

  /** The number of an id, a new one if it has none yet. */
  add(id: Id): number {
    const known = this.#numbers.get(id);
    if (known !== undefined) return known;
    const number = this.ids.length;
    this.ids.push(id);
    this.#numbers.set(id, number);
    return number;
  }

  get(id: Id): number | undefined {
    return this.#numbers.get(id);
  }
}

/** Numbers all events in the auth chains of those that are numbered already, and collects the edges. */
export function authGraphOf<Id extends EventName>(
  numbering: Numbering<Id>,
  authEvents: (id: Id) => readonly Id[],
): AuthGraph {
  const offsets: number[] = [0];
  const edges: number[] = [];
  // The list grows while it is walked.
  for (let number = 0; number < numbering.size; number++) {
    for (const authId of authEvents(numbering.ids[number] as Id)) edges.push(numbering.add(authId));
    offsets.push(edges.length);
  }
  return { size: numbering.size, offsets: Int32Array.from(offsets), edges: Int32Array.from(edges) };
}

/** The same graph with all edges reversed. */
function reversed({ size, offsets, edges }: AuthGraph): AuthGraph {
  const reversedOffsets = new Int32Array(size + 1);
  for (const cited of edges) reversedOffsets[cited + 1] = (reversedOffsets[cited + 1] ?? 0) + 1;
  for (let i = 0; i < size; i++) reversedOffsets[i + 1] = (reversedOffsets[i + 1] ?? 0) + (reversedOffsets[i] ?? 0);
  const reversedEdges = new Int32Array(edges.length);
  const next = reversedOffsets.slice();
  for (let citing = 0; citing < size; citing++) {
    for (let edge = offsets[citing] ?? 0, end = offsets[citing + 1] ?? 0; edge < end; edge++) {
      const cited = edges[edge] ?? 0;
      const place = next[cited] ?? 0;
      next[cited] = place + 1;
      reversedEdges[place] = citing;
    }
  }
  return { size, offsets: reversedOffsets, edges: reversedEdges };
}

/** A set of numbers, one bit each. */
class BitSet {
  readonly #words: Uint32Array;

  constructor(size: number) {
    this.#words = new Uint32Array((size + 31) >>> 5);
  }

  has(number: number): boolean {
    return (((this.#words[number >>> 5] ?? 0) >>> (number & 31)) & 1) === 1;
  }

  /** Adds a number. False if it was there. */
  add(number: number): boolean {
    const word = this.#words[number >>> 5] ?? 0;
    const bit = 1 << (number & 31);
    if ((word & bit) !== 0) return false;
    this.#words[number >>> 5] = word | bit;
    return true;
  }
}

/** Some events and all that can be reached from them. */
function reachable(graph: AuthGraph, from: Int32Array): { readonly set: BitSet; readonly list: Int32Array } {
  const { offsets, edges } = graph;
  const set = new BitSet(graph.size);
  const list = new Int32Array(graph.size);
  let length = 0;
  for (const number of from) if (set.add(number)) list[length++] = number;
  for (let i = 0; i < length; i++) {
    const number = list[i] ?? 0;
    for (let edge = offsets[number] ?? 0, end = offsets[number + 1] ?? 0; edge < end; edge++) {
      const next = edges[edge] ?? 0;
      if (set.add(next)) list[length++] = next;
    }
  }
  return { set, list: list.subarray(0, length) };
}

/**
 * The auth difference: "taking every event that doesn't appear in every auth chain". The events of a state count as members of
 * its chain.
 *
 * @param stateSets the events of each state
 */
export function packedAuthDifference(graph: AuthGraph, stateSets: readonly Int32Array[]): Int32Array {
  const occurrences = new Int32Array(graph.size);
  for (const stateSet of stateSets) {
    for (const number of reachable(graph, stateSet).list) occurrences[number] = (occurrences[number] ?? 0) + 1;
  }
  const difference: number[] = [];
  for (let number = 0; number < graph.size; number++) {
    const count = occurrences[number] ?? 0;
    if (count > 0 && count < stateSets.length) difference.push(number);
  }
  return Int32Array.from(difference);
}

/** The conflicted state subgraph: what lies on a path from one conflicted event to another. v2.1. */
export function packedConflictedSubgraph(graph: AuthGraph, conflicted: Int32Array): Int32Array {
  const down = reachable(graph, conflicted);
  const up = reachable(reversed(graph), conflicted);
  return up.list.filter((number) => down.set.has(number));
}
