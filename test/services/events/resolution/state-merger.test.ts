import { expect } from 'chai';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { referencedIds } from '#src/protocol/events/pdu.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { AuthGraphs } from '#src/services/events/resolution/auth-graph.ts';
import { ResolutionThread } from '#src/services/events/resolution/resolution-thread.ts';
import { entriesOf } from '#src/services/events/resolution/state-entries.ts';
import { identified } from '#src/services/room-model/event/identified-event.ts';
import { StateMerger } from '#src/services/events/resolution/state-merger.ts';
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

  /** What the merger comes to, and what the plain algorithm does on the whole states. */
  const bothWays = async (
    room: Room,
    states: readonly number[],
  ): Promise<{ readonly merged: unknown[]; readonly plain: unknown[] }> => {
    const sets = [...(await services.states.load(states)).values()].map(entriesOf);
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
    return { merged: [...named(resolved)].sort(), plain: [...plain].sort() };
  };

  for (const version of ['1', '10', '12']) {
    it(`comes to what the plain algorithm comes to (room version ${version})`, async () => {
      const { room, states } = await largeFork(version, 400);
      const { merged, plain } = await bothWays(room, states);
      expect(merged).to.deep.equal(plain);
      services = await eventServices(clone.database);
    });

    it(`comes to the same where states agree on most, and differ in who may do what (room version ${version})`, async () => {
      const room = await makeRoom(services, ALICE, version);
      const bob = `@bob:${SERVER}`;
      const carol = `@carol:${SERVER}`;
      const others = Array.from({ length: 20 }, (_, i) => `@other${i}:${SERVER}`);
      const states: number[] = [];
      const levels = async (users: Readonly<Record<string, number>>): Promise<void> => {
        const listed = version === '12' ? users : { ...users, [ALICE]: 100 };
        const content = { users: listed, events: {}, state_default: 50 };
        await services.events.send(room, { type: 'm.room.power_levels', sender: ALICE, stateKey: '', content });
        states.push(room.stateId);
      };
      const topic = (sender: string, text: string): Promise<unknown> =>
        services.events.send(room, { type: 'm.room.topic', sender, stateKey: '', content: { topic: text } });
      await services.events.sendAll(
        room,
        [bob, carol, ...others].map((user) => membership(user, user, 'join')),
      );
      await levels({ [bob]: 50 });
      await topic(bob, 'said by bob');
      await levels({ [bob]: 50, [carol]: 50 });
      await topic(carol, 'said by carol');
      await services.events.send(room, membership(bob, others[0]!, 'ban'));
      states.push(room.stateId);
      await levels({ [carol]: 50 });
      await services.events.send(room, membership(carol, bob, 'ban'));
      states.push(room.stateId);
      for (const some of [states, states.slice(0, 2), states.slice(1, 4), [states[0]!, states.at(-1)!]]) {
        const { merged, plain } = await bothWays(room, some);
        expect(merged).to.deep.equal(plain);
      }
      services = await eventServices(clone.database);
    });
  }

  it('runs in the thread also where one entry is disputed that was changed very often', async () => {
    const room = await makeRoom(services, ALICE, '10');
    const before = room.stateId;
    const change = (events: number) => ({
      type: 'm.room.power_levels',
      sender: ALICE,
      stateKey: '',
      content: { users: { [ALICE]: 100 }, events: { 'org.example': events } },
    });
    await services.events.sendAll(
      room,
      Array.from({ length: 510 }, (_, i) => change(i % 100)),
    );
    const runs: number[] = [];
    class Watched extends ResolutionThread {
      override resolve(...[task, first, read]: Parameters<ResolutionThread['resolve']>): Promise<Map<string, number>> {
        runs.push(first.length);
        return super.resolve(task, first, read);
      }
    }
    const watched = new Watched();
    const sets = [...(await services.states.load([before, room.stateId])).values()].map(entriesOf);
    const resolved = await (await merger(watched)).resolve(room, sets);
    await watched.close();
    expect(runs).to.have.length(1);
    expect(runs[0]).to.be.at.least(510);
    expect([...resolved].sort()).to.deep.equal([...entriesOf(room.head.chain)].sort());
    services = await eventServices(clone.database);
  });

  it('compares a bounded number of entries in one turn of the event loop, however large states are and however many', async () => {
    const room = await makeRoom(services, ALICE, '12');
    const own = entriesOf(room.head.chain);
    const name = await services.events.send(room, {
      type: 'm.room.name',
      sender: ALICE,
      stateKey: '',
      content: { name: 'another' },
    });
    expect(name).to.exist;
    const later = entriesOf(room.head.chain);
    let looks = 0;
    let most = 0;
    const looked = (): void => {
      looks += 1;
      if (looks === 1)
        setImmediate(() => {
          most = Math.max(most, looks);
          looks = 0;
        });
    };
    class Watched extends Map<number, number> {
      override get(skey: number): number | undefined {
        looked();
        return super.get(skey);
      }
      override has(skey: number): boolean {
        looked();
        return super.has(skey);
      }
    }
    // State that nobody disputes: of any event, under keys that nothing asks for.
    const many = Array.from({ length: 30_000 }, (_, i) => [10_000_000 + i, own.values().next().value!] as const);
    const states = Array.from({ length: 20 }, (_, i) => new Watched([...(i % 2 === 0 ? own : later), ...many]));
    most = 0;
    const resolved = await (await merger()).resolve(room, states);
    expect(resolved.size).to.equal(later.size + many.length);
    expect([...later].every(([skey, nid]) => resolved.get(skey) === nid)).to.equal(true);
    expect(most).to.be.greaterThan(0).and.at.most(50_000);
    services = await eventServices(clone.database);
  });

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
