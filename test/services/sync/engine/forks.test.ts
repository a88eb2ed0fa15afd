import { expect } from 'chai';
import fc from 'fast-check';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message, topic } from '#test/support/event-services.ts';
import { forkStep, levels, perform } from '#test/support/random-forks.ts';
import { CAROL, DAVE, EVE, RemoteRoom } from '#test/support/federation/remote-room.ts';
import { ModelClient } from './model-client.ts';
import {
  type ClientEvent,
  type RoomBody,
  type SyncBody,
  syncRequest,
  type SyncWorld,
  syncWorld,
} from './sync-world.ts';

describe('sync over forks', function () {
  this.timeout(120_000);
  let clone: TestDatabase;
  let world: SyncWorld;

  before(async () => {
    clone = await cloneDatabase();
    world = await syncWorld(clone.database);
  });
  after(() => clone.drop());

  const body = async (...request: Parameters<typeof syncRequest>): Promise<SyncBody> =>
    JSON.parse((await world.sync.sync(syncRequest(...request))).body) as SyncBody;
  const ids = (events: readonly ClientEvent[] | undefined): string[] => (events ?? []).map((event) => event.event_id);

  /** A room with ALICE and BOB here, CAROL who may do all, DAVE who may set the topic, and EVE. */
  const room = async (version = '12'): Promise<RemoteRoom> => {
    const remote = new RemoteRoom(world, await makeRoom(world, ALICE, version));
    await world.events.send(remote.room, membership(BOB, BOB, 'join'));
    await remote.catchUp();
    for (const user of [CAROL, DAVE, EVE]) await remote.accepted(membership(user, user, 'join'));
    const creators = remote.room.version.auth.privilegedCreators ? {} : { [ALICE]: 100 };
    const users = { ...creators, [CAROL]: 100, [DAVE]: 50, [BOB]: 50 };
    await world.events.send(remote.room, levels({ users, state_default: 50 }));
    await world.events.send(remote.room, topic(ALICE, 'as it was'));
    await remote.catchUp();
    return remote;
  };

  /** DAVE sets the topic; on a branch without that, CAROL bans him: his topic goes. */
  const fork = async (remote: RemoteRoom): Promise<{ readonly first: string; readonly ban: () => Promise<string> }> => {
    const [base] = remote.replay.extremities;
    const first = remote.replay.current.get('m.room.topic\0')!;
    await remote.accepted(topic(DAVE, 'his'));
    expect(remote.room.stateText('m.room.topic', 'topic')).to.equal('his');
    return { first, ban: () => remote.accepted({ ...membership(CAROL, DAVE, 'ban'), prev: [base!] }) };
  };

  for (const version of ['10', '12']) {
    for (const field of ['state', 'state_after'] as const) {
      const more = field === 'state' ? {} : { stateAfter: field };
      it(`shows in ${field} what the resolution changed (room version ${version})`, async () => {
        const remote = await room(version);
        const { first, ban } = await fork(remote);
        const since = (await body(BOB, undefined)).next_batch;
        const banned = await ban();
        expect(remote.room.stateText('m.room.topic', 'topic')).to.equal('as it was');
        const one = (await body(BOB, since, {}, more)).rooms!.join![remote.room.roomId]!;
        expect(ids(one.timeline.events)).to.deep.equal([banned]);
        expect(ids(one[field]?.events)).to.have.members(field === 'state' ? [first] : [first, banned]);
      });

      it(`shows it in ${field} also when the events themselves are filtered out (room version ${version})`, async () => {
        const remote = await room(version);
        const { first, ban } = await fork(remote);
        const since = (await body(BOB, undefined)).next_batch;
        const banned = await ban();
        await world.events.send(remote.room, message(ALICE, 'merged'));
        const filter = { timeline: { types: ['m.room.message'] } };
        const one = (await body(BOB, since, filter, more)).rooms!.join![remote.room.roomId]!;
        expect(one.timeline.events).to.have.length(1);
        expect(ids(one[field]?.events)).to.have.members([first, banned]);
        const next = await body(BOB, (await body(BOB, since, filter, more)).next_batch, filter, more);
        expect(next.rooms?.join?.[remote.room.roomId]).to.equal(undefined);
      });
    }

    it(`shows it in a limited timeline, and from a token that is older than the fork (room version ${version})`, async () => {
      const remote = await room(version);
      const old = (await body(BOB, undefined)).next_batch;
      const { first, ban } = await fork(remote);
      const between = (await body(BOB, old)).next_batch;
      const banned = await ban();
      for (let i = 0; i < 30; i++) await world.events.send(remote.room, message(ALICE, `${i}`));
      const after = (await body(BOB, between, { timeline: { limit: 5 } })).rooms!.join![remote.room.roomId]!;
      expect(after.timeline.limited).to.equal(true);
      expect(ids(after.state?.events)).to.have.members([first, banned]);
      // Who never saw his topic is not told that it is gone.
      const before = (await body(BOB, old, { timeline: { limit: 5 } })).rooms!.join![remote.room.roomId]!;
      expect(ids(before.state?.events)).to.have.members([banned]);
      world = await syncWorld(clone.database);
      const reread = (await body(BOB, between, { timeline: { limit: 5 } })).rooms!.join![remote.room.roomId]!;
      expect(ids(reread.state?.events)).to.have.members([first, banned]);
    });

    it(`shows who loses against a ban that they left (room version ${version})`, async () => {
      const remote = await room(version);
      const base = [...remote.replay.extremities];
      await world.events.send(remote.room, membership(BOB, BOB, 'join', { displayname: 'Bob' }));
      await remote.catchUp();
      const since = (await body(BOB, undefined)).next_batch;
      const banned = await remote.accepted({ ...membership(CAROL, BOB, 'ban'), prev: base });
      await world.events.send(remote.room, message(ALICE, 'he is gone'));
      const answer = await body(BOB, since);
      expect(answer.rooms?.join?.[remote.room.roomId]).to.equal(undefined);
      expect(ids(answer.rooms!.leave![remote.room.roomId]!.timeline.events)).to.deep.equal([banned]);
      const next = await body(BOB, answer.next_batch);
      expect(next.rooms?.leave?.[remote.room.roomId]).to.equal(undefined);
      const others = (await body(ALICE, since)).rooms!.join![remote.room.roomId]!;
      expect(ids(others.timeline.events)).to.include(banned);
    });

    it(`shows whose join the resolution takes back that they are out (room version ${version})`, async () => {
      const remote = await room(version);
      const base = [...remote.replay.extremities];
      const frank = '@frank:example.org';
      await world.events.send(remote.room, membership(frank, frank, 'join'));
      await remote.catchUp();
      const answered = await body(frank, undefined);
      expect(answered.rooms?.join?.[remote.room.roomId]).to.not.equal(undefined);
      const waiting = world.sync.sync(syncRequest(frank, answered.next_batch, {}, { timeout: 10_000 }));
      await remote.accepted({
        type: 'm.room.join_rules',
        sender: CAROL,
        stateKey: '',
        content: { join_rule: 'invite' },
        prev: base,
      });
      expect(remote.room.isJoined(frank)).to.equal(false);
      const answer = JSON.parse((await waiting).body) as SyncBody;
      expect(answer.rooms?.join?.[remote.room.roomId]).to.equal(undefined);
      const left = answer.rooms?.leave?.[remote.room.roomId] as RoomBody;
      expect(left.timeline.events.map((event) => event.type)).to.not.include('m.room.member');
      const secret = (await world.events.send(remote.room, message(ALICE, 'among us'))).eventId;
      const next = await world.sync.sync(syncRequest(frank, answer.next_batch));
      expect(next.body).to.not.include(secret);
      const refused = await world.events
        .send(remote.room, message(frank, 'still here'))
        .catch((error: unknown) => error);
      expect(refused).to.include({ errcode: 'M_FORBIDDEN' });
      await remote.verify();
      world = await syncWorld(clone.database);
      expect((await world.rooms.byNid(remote.room.nid))!.member(frank)).to.include({ membership: 'leave', event: 0 });
    });

    it(`leaves every client with the room as it is, however it forks (room version ${version})`, async () => {
      const look = fc.record({ client: fc.nat(3), limit: fc.constantFrom(1, 3, 10, 100) });
      const steps = fc.array(fc.oneof({ weight: 3, arbitrary: forkStep }, { weight: 2, arbitrary: look }), {
        minLength: 5,
        maxLength: 50,
      });
      await fc.assert(
        fc.asyncProperty(steps, async (all) => {
          world = await syncWorld(clone.database);
          const remote = await room(version);
          const clients = [ALICE, BOB, ALICE, BOB].map(
            (userId, n) =>
              new ModelClient(() => world.sync, {
                userId,
                deviceId: `D${n}`,
                stateAfter: n >= 2,
                lazy: false,
                includeLeave: false,
                forks: true,
              }),
          );
          for (const step of all) {
            if ('client' in step) await clients[step.client]!.step(step);
            else await perform(world, remote, step);
          }
          await remote.catchUp();
          const order = [...remote.replay.events].filter(([, { verdict }]) => verdict === 'accepted').map(([id]) => id);
          for (const client of clients) {
            await client.step({ limit: 100 });
            client.compare(remote.room, order, remote.replay.current);
          }
        }),
        { numRuns: 15, endOnFailure: true, interruptAfterTimeLimit: 40_000 },
      );
    });
  }
});
