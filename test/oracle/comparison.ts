import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { resolveLargeState } from '#src/protocol/state/packed/resolve-large-state.ts';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import { randomDag } from '#test/protocol/state/random-dag.ts';
import { pdusOf } from './synapse-resolver.ts';
import type { SynapseResolver } from './synapse-resolver.ts';

/** Room versions in the proportion in which they are tried: v1, six of v2 (whose authorization rules differ), v2.1. */
const VERSIONS = ['1', '2', '12', '3', '1', '6', '12', '8', '1', '10', '12', '11'];

/** What a room that resolves differently here and there looks like. */
export interface Difference {
  readonly seed: number;
  readonly version: string;
  readonly caseNumber: number;
  readonly onlyOurs: readonly string[];
  readonly onlyTheirs: readonly string[];
}

export interface Comparison {
  readonly rooms: number;
  /** Resolutions by algorithm. */
  readonly resolutions: ReadonlyMap<string, number>;
  /** How many of them had something to decide: the result is none of the states put in. */
  readonly decided: number;
  readonly differences: readonly Difference[];
}

/**
 * Resolves states of random rooms here and by Synapse.
 *
 * @param firstSeed the rooms are those of this seed and the ones after it
 * @throws Error if Synapse computes another event id, so that the events themselves are not the same
 */
export async function compare(synapse: SynapseResolver, count: number, firstSeed: number): Promise<Comparison> {
  const resolutions = new Map<string, number>();
  const differences: Difference[] = [];
  let decided = 0;
  for (let seed = firstSeed; seed < firstSeed + count; seed++) {
    const id = VERSIONS[seed % VERSIONS.length] ?? '12';
    const version = roomVersion(id);
    if (version === undefined) throw new Error(`no room version ${id}`);
    const { room, cases } = randomDag(version, seed);
    const answer = await synapse.ask({
      version: id,
      room_id: room.roomId,
      events: pdusOf(room.events.values()),
      cases: cases.map((stateSets) => stateSets.map((stateSet) => [...stateSet.values()])),
    });
    const ids = [...room.events.keys()];
    const stranger = ids.findIndex((eventId, index) => answer.event_ids[index] !== eventId);
    if (stranger >= 0) throw new Error(`seed ${seed}: ${ids[stranger]} is ${answer.event_ids[stranger]} to Synapse`);
    for (const [caseNumber, stateSets] of cases.entries()) {
      const ours = new Set(resolveState(version, stateSets, room.access).values());
      const fast = new Set(resolveLargeState(version, stateSets, room.access).values());
      const theirs = new Set(answer.resolved[caseNumber]);
      resolutions.set(version.stateResolution, (resolutions.get(version.stateResolution) ?? 0) + 1);
      if (stateSets.every((stateSet) => !isSame(new Set(stateSet.values()), ours))) decided++;
      if (isSame(ours, theirs) && isSame(fast, theirs)) continue;
      differences.push({
        seed,
        version: id,
        caseNumber,
        onlyOurs: missing(ours, theirs),
        onlyTheirs: missing(theirs, ours),
      });
    }
  }
  return { rooms: count, resolutions, decided, differences };
}

function missing(events: ReadonlySet<string>, from: ReadonlySet<string>): string[] {
  return [...events].filter((eventId) => !from.has(eventId));
}

function isSame(x: ReadonlySet<string>, y: ReadonlySet<string>): boolean {
  return x.size === y.size && missing(x, y).length === 0;
}
