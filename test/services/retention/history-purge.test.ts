import { expect } from 'chai';
import { packChain } from '#src/protocol/wire/packed-state.ts';
import { sql } from '#src/storage/database.ts';
import { ALICE, BOB, eventServices, makeRoom, membership, message, topic } from '#test/support/event-services.ts';
import { CAROL, DAVE } from '#test/support/federation/remote-room.ts';
import { PurgeWorld } from './purge-world.ts';

const DELTAS = sql('test_deltas', 'select nid from state_delta where room = $1');
const ORPHAN = sql('test_orphan_state', 'insert into state_delta values ($1, $2, 900, $3, $4, $4)');

describe('purging the history of a room', function () {
  this.timeout(60_000);
  let world: PurgeWorld;
  beforeEach(async () => {
    world = await PurgeWorld.open();
  });
  afterEach(() => world.close());

  it('takes old messages and superseded state away, and leaves the state, the newest event and what is young', async () => {
    const room = await makeRoom(world.services);
    await world.say(room, 30, 'old');
    for (let i = 0; i < 40; i++) await world.services.events.send(room, topic(ALICE, `topic ${i}`));
    await world.services.events.send(room, membership(BOB, BOB, 'join'));
    await world.say(room, 5, 'older');
    await world.age(room);
    await world.say(room, 3, 'young');
    const outcome = await world.purger().purgeHistory(room, world.before());
    expect(outcome.isDone).to.equal(true);
    const left = await world.stored(room);
    const visible = left.filter(({ flags }) => (flags & 14) === 0);
    expect(visible).to.have.length(3);
    expect(outcome.deleted).to.be.greaterThan(60);
    const names = [...room.state.values()].map(({ event }) => event.nid);
    const members = [...room.members.values()].map(({ event }) => event);
    expect(left.map(({ nid }) => nid)).to.include.members([...names, ...members]);
    const hidden = left.filter(({ flags }) => (flags & 8) !== 0);
    expect(hidden.every(({ flags, state }) => (flags & 1) === 0 && state === 0)).to.equal(true);
    expect(room.stateText('m.room.topic', 'topic')).to.equal('topic 39');
    expect(room.ring.events.map((event) => event.content['body'])).to.deep.equal(['young0', 'young1', 'young2']);
    expect((await world.services.database.query(DELTAS, [room.nid])).length).to.be.below(10);
    await world.assertStatesReadable(room);
  });

  it('leaves the newest event of a room that nobody writes in any more, and the room continues', async () => {
    const room = await makeRoom(world.services, ALICE, '10');
    await world.say(room, 20);
    await world.age(room);
    await world.purger().purgeHistory(room, world.before());
    const visible = (await world.stored(room)).filter(({ flags }) => (flags & 14) === 0);
    expect(visible.map(({ nid }) => nid)).to.deep.equal([room.lastPosition]);
    const next = await eventServices(world.services.database);
    const again = (await next.rooms.byNid(room.nid))!;
    await next.events.send(again, message(ALICE, 'still here'));
    await next.events.send(again, topic(ALICE, 'new'));
    await next.events.send(again, membership(BOB, BOB, 'join'));
    expect(again.joinedCount).to.equal(2);
    await world.assertStatesReadable(again);
    await next.writer.close();
  });

  it('judges every event by its own time: a forged one takes no others along', async () => {
    const room = await makeRoom(world.services);
    await world.age(room);
    await world.services.events.send(room, { ...message(ALICE, 'forged'), originServerTs: 1 });
    await world.say(room, 3, 'young');
    await world.purger().purgeHistory(room, world.before());
    expect(room.ring.events.map((event) => event.content['body'])).to.deep.equal(['young0', 'young1', 'young2']);
  });

  it('shows nobody what a deleted state event said before', async () => {
    const room = await makeRoom(world.services);
    await world.services.events.send(room, topic(ALICE, 'secret'));
    await world.age(room);
    const shown = await world.services.events.send(room, topic(ALICE, 'public'));
    expect(shown.clientJson({ now: 0 }, true)).to.contain('secret');
    await world.say(room, 70);
    for (let i = 0; i < 70; i++) await world.services.events.send(room, { ...topic(ALICE, `${i}`), type: 'm.other' });
    await world.purger().purgeHistory(room, world.before());
    const again = await world.services.loader.one(room, shown.nid);
    const rows = await world.stored(room);
    const isGone = !rows.some(({ nid }) => nid === shown.replaces);
    expect(again!.clientJson({ now: 0 }, true).includes('secret')).to.equal(!isGone);
  });

  it('stops at its signal, and resumes at its checkpoint', async () => {
    const room = await makeRoom(world.services);
    await world.say(room, 60);
    await world.age(room);
    await world.say(room, 1, 'young');
    const ending = new AbortController();
    const purge = world.purger();
    const time = world.before();
    let steps = 0;
    world.services.stream.on('purged', () => {
      if (++steps === 2) ending.abort();
    });
    const first = await purge.purgeHistory(room, time, ending.signal);
    expect(first.isDone).to.equal(false);
    expect(first.deleted).to.be.within(1, 25);
    const second = await world.purger().purgeHistory(room, time);
    expect(second.isDone).to.equal(true);
    expect(second.deleted).to.be.greaterThan(first.deleted);
    expect((await world.stored(room)).filter(({ flags }) => (flags & 14) === 0)).to.have.length(1);
  });

  it('lets events be sent while it runs, and loses none of them', async () => {
    const room = await makeRoom(world.services);
    await world.say(room, 150);
    await world.age(room);
    const purging = world.purger({ batchSize: 5 }).purgeHistory(room, world.before());
    for (let i = 0; i < 40; i++) {
      await world.services.events.send(room, i % 4 === 0 ? topic(ALICE, `live ${i}`) : message(ALICE, `live ${i}`));
    }
    await purging;
    await world.purger().purgeHistory(room, world.before());
    expect((await world.stored(room)).filter(({ flags }) => (flags & 14) === 0)).to.have.length(40);
    await world.assertStatesReadable(room);
  });

  it('keeps what remote events need that come while it runs, whatever old event they are built on', async () => {
    const remote = await world.remoteRoom();
    const { room } = remote;
    const old: string[] = [];
    for (let i = 0; i < 40; i++) {
      old.push(await remote.accepted(topic(CAROL, `old ${i}`)).catch(() => ''));
      await world.services.events.send(room, topic(ALICE, `topic ${i}`));
      await world.services.events.send(room, message(ALICE, `said ${i}`));
      await remote.catchUp();
      old.push(await remote.accepted(message(DAVE, `heard ${i}`)));
    }
    await world.age(room);
    await world.say(room, 1, 'young');
    await remote.catchUp();
    const built = old
      .filter((id) => id !== '')
      .map((id, i) => remote.build({ ...message(i % 2 === 0 ? CAROL : DAVE, `late ${i}`), prev: [id] }));
    const state = old
      .filter((id) => id !== '')
      .map((id, i) => remote.build({ ...membership(CAROL, CAROL, 'join', { displayname: `late ${i}` }), prev: [id] }));
    const purge = world.purger({ batchSize: 7 });
    const outcomes: string[] = [];
    const arriving: Promise<unknown>[] = [];
    let next = 0;
    // After each step some arrive, the first of which are built on the oldest events that are still there.
    world.services.stream.on('purged', () => {
      for (const event of [built[next], state[next]]) {
        if (event !== undefined) arriving.push(remote.receive(event).then(({ outcome }) => outcomes.push(outcome)));
      }
      next += 1;
    });
    expect((await purge.purgeHistory(room, world.before())).isDone).to.equal(true);
    await Promise.all(arriving);
    expect(new Set(outcomes)).to.include('accepted');
    expect(outcomes.filter((outcome) => outcome === 'accepted').length).to.be.greaterThan(4);
    await world.assertStatesReadable(room);
    await world.purger().purgeHistory(room, world.before());
    await world.assertStatesReadable(room);
  });

  it('leaves what comes later the choice between an old event with its state and none at all', async () => {
    const remote = await world.remoteRoom();
    const { room } = remote;
    const joined = remote.replay.extremities;
    await world.services.events.send(room, topic(ALICE, 'a'));
    await world.services.events.send(room, topic(ALICE, 'b'));
    await remote.catchUp();
    const onGone = remote.build({ ...message(CAROL, 'late'), prev: joined });
    await world.age(room);
    await world.say(room, 1, 'young');
    await world.purger().purgeHistory(room, world.before());
    // The join is kept, hidden, because the state names it: what stood before it is gone.
    expect(await remote.receive(onGone)).to.deep.equal({ outcome: 'missing', ids: joined });
  });

  it('deletes rows of state that nothing refers to, in batches, and nothing else', async () => {
    const remote = await world.remoteRoom();
    const { room } = remote;
    const fork = remote.replay.extremities;
    await remote.accepted({ ...topic(ALICE, 'left'), prev: fork }).catch(() => undefined);
    for (let i = 0; i < 30; i++) await world.services.events.send(room, topic(ALICE, `${i}`));
    const rows = async (): Promise<number> => (await world.services.database.query(DELTAS, [room.nid])).length;
    const all = await rows();
    // One that stands alone, and two that are built on each other and on one in use.
    const inUse = room.stateId;
    for (const [nid, chain] of [
      [inUse - 3, []],
      [inUse - 5, []],
      [inUse - 6, [inUse - 5]],
      [inUse - 7, [inUse - 5, inUse - 32]],
    ] as const) {
      const packed = Buffer.from(packChain(nid, chain));
      await world.services.database.query(ORPHAN, [nid, room.nid, packed, Buffer.of()]);
    }
    expect(await rows()).to.equal(all + 4);
    await world.services.events.send(room, { ...message(ALICE, 'old'), originServerTs: 1 });
    await world.services.events.send(room, message(ALICE, 'after'));
    expect(await world.purger({ batchSize: 3 }).purgeHistory(room, world.before())).to.deep.equal({
      deleted: 1,
      isDone: true,
    });
    expect(await rows()).to.equal(all);
    await world.assertStatesReadable(room);
  });
});
