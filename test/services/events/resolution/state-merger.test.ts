import { expect } from 'chai';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { referencedIds } from '#src/protocol/events/pdu.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { AuthGraphs } from '#src/services/events/resolution/auth-graph.ts';
import { ResolutionThread } from '#src/services/events/resolution/resolution-thread.ts';
import { entriesOf, identified, StateMerger } from '#src/services/events/resolution/state-merger.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import {
  ALICE,
  type EventServices,
  eventServices,
  makeRoom,
  membership,
  SERVER,
} from '#test/support/event-services.ts';

describe('the resolution of large forks', function () {
  this.timeout(120_000);
  let clone: TestDatabase;
  let services: EventServices;
  const thread = new ResolutionThread();

  before(async () => {
    clone = await cloneDatabase();
    services = await eventServices(clone.database);
  });
  after(async () => {
    await thread.close();
    await clone.drop();
  });

  /** A room and two of its states, between which every member changed their name. */
  const largeFork = async (
    version: string,
    members: number,
  ): Promise<{ room: Room; states: readonly [number, number] }> => {
    const room = await makeRoom(services, ALICE, version);
    const users = Array.from({ length: members }, (_, i) => `@user${i}:${SERVER}`);
    const everybody = async (more: object): Promise<void> => {
      for (let at = 0; at < users.length; at += 500) {
        await services.events.sendAll(
          room,
          users.slice(at, at + 500).map((user) => membership(user, user, 'join', { ...more })),
        );
      }
    };
    await everybody({});
    const before = room.stateId;
    await everybody({ displayname: 'another' });
    return { room, states: [before, room.stateId] };
  };

  /** A merger of a process that has just been started. */
  const merger = async (by: ResolutionThread = thread): Promise<StateMerger> => {
    const fresh = await eventServices(clone.database);
    return new StateMerger({ ...fresh, graphs: new AuthGraphs(clone.database), thread: by });
  };

  for (const version of ['1', '10', '12']) {
    it(`comes to what the plain algorithm comes to (room version ${version})`, async () => {
      const { room, states } = await largeFork(version, 400);
      const chains = await services.states.load(states);
      const sets = [...chains.values()].map(entriesOf);
      const resolved = await (await merger()).resolve(room, sets);
      const nids = new Set(sets.flatMap((set) => [...set.values()]));
      const byId = new Map<string, StoredEvent>();
      for (const event of (await services.loader.load([...nids].map((nid) => ({ room, nid })))).values())
        byId.set(event.eventId, event);
      const find = async (id: string): Promise<void> => {
        if (byId.has(id)) return;
        const event = (await services.loader.byId(room, id))!;
        byId.set(id, event);
        for (const auth of referencedIds(event.pdu.auth_events)) await find(auth);
      };
      for (const event of [...byId.values()]) for (const auth of referencedIds(event.pdu.auth_events)) await find(auth);
      const idOf = new Map([...byId.values()].map((event) => [event.nid, event.eventId]));
      const names = await services.interner.named({ stateKeys: sets.flatMap((set) => [...set.keys()]) });
      const named = (set: ReadonlyMap<number, number>): Map<string, string> =>
        new Map(
          [...set].map(([skey, nid]) => {
            const { type, stateKey } = names.stateKeyNames(skey);
            return [stateMapKey(type, stateKey), idOf.get(nid)!];
          }),
        );
      const plain = resolveState(room.version, sets.map(named), {
        create: room.stateEvent('m.room.create')!.eventId,
        event: (id) => identified(byId.get(id)!),
        authEvents: (id) => referencedIds(byId.get(id)!.pdu.auth_events),
      });
      expect([...named(resolved)].sort()).to.deep.equal([...plain].sort());
      services = await eventServices(clone.database);
    });
  }

  it('resolves 5 000 conflicts in a thread, which is given events in pieces between turns of the event loop', async () => {
    const { room, states } = await largeFork('12', 5000);
    const sets = [...(await services.states.load(states)).values()].map(entriesOf);
    const pieces: { readonly size: number; readonly turn: number }[] = [];
    class Watched extends ResolutionThread {
      override resolve(...[task, first, read]: Parameters<ResolutionThread['resolve']>): Promise<Map<string, number>> {
        return super.resolve(task, first, (nids) => {
          pieces.push({ size: nids.length, turn });
          return read(nids);
        });
      }
    }
    let turn = 0;
    let isDone = false;
    const count = (): void => {
      turn += 1;
      if (!isDone) setImmediate(count);
    };
    const watched = new Watched();
    count();
    const resolved = await (await merger(watched)).resolve(room, sets);
    isDone = true;
    await watched.close();
    services = await eventServices(clone.database);
    expect(resolved.size).to.equal(sets[0]!.size);
    expect(pieces.reduce((all, { size }) => all + size, 0)).to.be.at.least(5_000);
    expect(Math.max(...pieces.map(({ size }) => size))).to.be.at.most(250);
    expect(new Set(pieces.map((piece) => piece.turn)).size).to.equal(pieces.length);
  });

  /** Ends as soon as events are read for it. */
  class EndedWhileReading extends ResolutionThread {
    override resolve(...[task, first, read]: Parameters<ResolutionThread['resolve']>): Promise<Map<string, number>> {
      return super.resolve(task, first, async (nids) => {
        await this.close();
        return read(nids);
      });
    }
  }

  /** Ends as soon as it has all events with which it begins. */
  class EndedWhileRunning extends ResolutionThread {
    override resolve(...[task, first, read]: Parameters<ResolutionThread['resolve']>): Promise<Map<string, number>> {
      let missing = first.length;
      return super.resolve(task, first, async (nids) => {
        const events = await read(nids);
        missing -= nids.length;
        if (missing === 0) setImmediate(() => void this.close());
        return events;
      });
    }
  }

  for (const [moment, ending] of [
    ['while events are read for it', new EndedWhileReading()],
    ['while it runs', new EndedWhileRunning()],
  ] as const) {
    it(`can be ended ${moment}`, async () => {
      const { room, states } = await largeFork('12', 300);
      const sets = [...(await services.states.load(states)).values()].map(entriesOf);
      const running = new StateMerger({ ...services, graphs: new AuthGraphs(clone.database), thread: ending })
        .resolve(room, sets)
        .catch((error: unknown) => error);
      expect(await running).to.be.instanceOf(Error);
      await ending.close();
    });
  }
});
