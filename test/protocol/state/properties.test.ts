import { expect } from 'chai';
import fc from 'fast-check';
import { resolveLargeState } from '#src/protocol/state/packed/resolve-large-state.ts';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import type { StateMap, StateResolutionAccess } from '#src/protocol/state/state-map.ts';
import { authDifference, conflictedStateSubgraph } from '#src/protocol/state/full-conflicted-set.ts';
import { entries, numbered, RESOLVING_VERSIONS } from './agreement.ts';
import { Dice, randomDag } from './random-dag.ts';
import type { RandomDag } from './random-dag.ts';
import type { RoomDag } from './room-dag.ts';

const RUNS = 120;

/** A random room with what there is to resolve, small numbers first. */
const dag = fc
  .record({ version: fc.constantFrom(...RESOLVING_VERSIONS), seed: fc.nat({ max: 1_000_000 }) })
  .map(({ version, seed }) => ({ version, seed, ...randomDag(version, seed) }));

function forEachCase(check: (room: RoomDag, stateSets: readonly StateMap<string>[], dice: Dice) => void): void {
  const property = fc.property(dag, ({ room, cases, seed }: RandomDag & { readonly seed: number }) => {
    for (const stateSets of cases) check(room, stateSets, new Dice(seed));
  });
  fc.assert(property, { numRuns: RUNS });
}

/** The same events, looked up and listed in another order. */
function shuffled(room: RoomDag, dice: Dice): StateResolutionAccess<string> {
  return {
    create: room.access.create,
    event: (id) => room.access.event(id),
    authEvents: (id) => dice.some(room.access.authEvents(id), Infinity),
  };
}

describe('state resolution of random rooms', function () {
  this.timeout(60_000);

  it('does not depend on the order of the states', () => {
    forEachCase((room, stateSets, dice) => {
      const resolved = entries(resolveState(room.version, stateSets, room.access));
      const other = dice.some(stateSets, stateSets.length);
      expect(entries(resolveState(room.version, other, room.access))).to.deep.equal(resolved);
      expect(entries(resolveState(room.version, [...stateSets].reverse(), room.access))).to.deep.equal(resolved);
    });
  });

  it('does not depend on the order of the entries and auth events', () => {
    forEachCase((room, stateSets, dice) => {
      const resolved = entries(resolveState(room.version, stateSets, room.access));
      const others = stateSets.map((stateSet) => new Map(dice.some([...stateSet], Infinity)));
      expect(entries(resolveState(room.version, others, shuffled(room, dice)))).to.deep.equal(resolved);
    });
  });

  it('changes nothing where the states agree, however often they are given', () => {
    forEachCase((room, stateSets) => {
      const resolved = resolveState(room.version, stateSets, room.access);
      expect(resolveState(room.version, [resolved], room.access)).to.deep.equal(resolved);
      expect(entries(resolveState(room.version, [resolved, resolved, resolved], room.access))).to.deep.equal(
        entries(resolved),
      );
      const twice = resolveState(room.version, [...stateSets, ...stateSets], room.access);
      expect(entries(twice)).to.deep.equal(entries(resolved));
    });
  });

  it('keeps every entry on which all states agree, and invents no events', () => {
    forEachCase((room, stateSets) => {
      const resolved = resolveState(room.version, stateSets, room.access);
      for (const [key, id] of stateSets[0] ?? []) {
        if (stateSets.every((stateSet) => stateSet.get(key) === id)) expect(resolved.get(key)).to.equal(id);
      }
      for (const id of resolved.values()) expect(room.events.has(id)).to.equal(true);
    });
  });

  it('comes to the same state whichever order the events of a room arrive in', () => {
    const property = fc.property(dag, ({ room, seed }) => {
      const dice = new Dice(seed);
      // Each event's state is computed anew, in a random linear extension of the graph.
      const after = new Map<string, StateMap<string>>();
      const pending = new Set(room.events.values());
      while (pending.size > 0) {
        const ready = [...pending].filter(({ pdu }) => pdu.prev_events.every((id) => after.has(referenced(id))));
        const event = dice.of(ready);
        pending.delete(event);
        const before = resolveState(
          room.version,
          event.pdu.prev_events.map((id) => after.get(referenced(id)) ?? new Map<string, string>()),
          room.access,
        );
        after.set(event.eventId, new Map(before).set(`${event.pdu.type}\0${event.pdu.state_key ?? ''}`, event.eventId));
      }
      for (const [id, state] of after) expect(entries(state)).to.deep.equal(entries(room.stateAfter(id)));
    });
    fc.assert(property, { numRuns: RUNS });
  });

  it('comes to the same state on typed arrays, with event ids or integers', () => {
    forEachCase((room, stateSets) => {
      const resolved = resolveState(room.version, stateSets, room.access);
      expect(entries(resolveLargeState(room.version, stateSets, room.access))).to.deep.equal(entries(resolved));
      const ids = [...room.events.keys()].reverse();
      const numbers = new Map(ids.map((id, index) => [id, index * 3 + 1]));
      const number = (id: string): number => numbers.get(id) ?? -1;
      const id = (name: number): string => ids[(name - 1) / 3] ?? '';
      const access: StateResolutionAccess<number> = {
        create: number(room.access.create),
        event: (name) => room.access.event(id(name)),
        authEvents: (name) => room.access.authEvents(id(name)).map(number),
      };
      const expected = entries(numbered([resolved], number)[0] ?? new Map<string, number>());
      const sets = numbered(stateSets, number);
      expect(entries(resolveLargeState(room.version, sets, access))).to.deep.equal(expected);
      expect(entries(resolveState(room.version, sets, access))).to.deep.equal(expected);
    });
  });

  it('comes to the same state when the caller finds the auth difference and the subgraph', () => {
    forEachCase((room, stateSets) => {
      let asked = 0;
      const access: StateResolutionAccess<string> = {
        ...room.access,
        authDifference: (sets) => {
          asked++;
          return authDifference(room.access, sets);
        },
        conflictedStateSubgraph: (conflicted) => conflictedStateSubgraph(room.access, conflicted),
      };
      const resolved = entries(resolveState(room.version, stateSets, room.access));
      expect(entries(resolveState(room.version, stateSets, access))).to.deep.equal(resolved);
      expect(entries(resolveLargeState(room.version, stateSets, access))).to.deep.equal(resolved);
      if (room.version.stateResolution === 'v1') expect(asked).to.equal(0);
    });
  });
});

function referenced(reference: string | readonly [string, ...unknown[]]): string {
  return typeof reference === 'string' ? reference : reference[0];
}
