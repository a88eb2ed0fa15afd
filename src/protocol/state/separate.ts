import type { EventName, StateMap } from './state-map.ts';

/** States taken apart. */
export interface SeparatedState<Id extends EventName> {
  readonly unconflicted: ReadonlyMap<string, Id>;
  /** The conflicted events, by their keys. */
  readonly conflicted: ReadonlyMap<string, ReadonlySet<Id>>;
}

/**
 * "If a given key K is present in every Si with the same value V in each state map, then the pair (K, V) belongs to the
 * unconflicted state map. Otherwise, V belongs to the conflicted state set." Since v2.
 */
export function separate<Id extends EventName>(stateSets: readonly StateMap<Id>[]): SeparatedState<Id> {
  return separateBy(stateSets, (values, occurrences) => values.size === 1 && occurrences === stateSets.length);
}

/**
 * "A conflict occurs between states where those states have different event_ids for the same (event_type, state_key)": a state
 * that has no entry does not conflict. Room version 1.
 */
export function separateV1<Id extends EventName>(stateSets: readonly StateMap<Id>[]): SeparatedState<Id> {
  return separateBy(stateSets, (values) => values.size === 1);
}

function separateBy<Id extends EventName>(
  stateSets: readonly StateMap<Id>[],
  agrees: (values: ReadonlySet<Id>, occurrences: number) => boolean,
): SeparatedState<Id> {
  const byKey = new Map<string, { readonly values: Set<Id>; occurrences: number }>();
  for (const stateSet of stateSets) {
    for (const [key, id] of stateSet) {
      const entry = byKey.get(key);
      if (entry === undefined) byKey.set(key, { values: new Set([id]), occurrences: 1 });
      else {
        entry.values.add(id);
        entry.occurrences++;
      }
    }
  }
  const unconflicted = new Map<string, Id>();
  const conflicted = new Map<string, ReadonlySet<Id>>();
  for (const [key, { values, occurrences }] of byKey) {
    const [value] = values;
    if (value !== undefined && agrees(values, occurrences)) unconflicted.set(key, value);
    else conflicted.set(key, values);
  }
  return { unconflicted, conflicted };
}

/** "The conflicted state set": all conflicted events, whatever their key. */
export function conflictedStateSet<Id extends EventName>({ conflicted }: SeparatedState<Id>): Set<Id> {
  const set = new Set<Id>();
  for (const values of conflicted.values()) for (const id of values) set.add(id);
  return set;
}
