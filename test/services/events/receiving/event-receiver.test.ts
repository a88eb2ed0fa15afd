import { expect } from 'chai';
import fc from 'fast-check';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { sql } from '#src/storage/statement.ts';
import { forkStep, levels, perform } from '#test/support/random-forks.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import {
  ALICE,
  type EventServices,
  eventServices,
  makeRoom,
  membership,
  message,
  topic,
} from '#test/support/event-services.ts';
import { CAROL, DAVE, EVE, RemoteRoom, type RemoteDraft } from '#test/support/federation/remote-room.ts';

const VERSIONS = ['1', '2', '6', '10', '11', '12'];

describe('remote events', function () {
  this.timeout(120_000);
  let clone: TestDatabase;
  let services: EventServices;

  before(async () => {
    clone = await cloneDatabase();
  });
  beforeEach(async () => {
    services = await eventServices(clone.database);
  });
  after(() => clone.drop());

  /** A room with ALICE, and CAROL, DAVE and EVE on three other servers. */
  const remoteRoom = async (version = '12'): Promise<RemoteRoom> => {
    const room = await makeRoom(services, ALICE, version);
    const remote = new RemoteRoom(services, room);
    await remote.catchUp();
    for (const user of [CAROL, DAVE, EVE]) await remote.accepted(membership(user, user, 'join'));
    return remote;
  };
  const head = (remote: RemoteRoom): string[] => [...remote.replay.extremities];
  /** Power levels for who is not a creator by the room version. */
  const local = async (remote: RemoteRoom, draft: RemoteDraft): Promise<string> => {
    const event = await services.events.send(remote.room, draft);
    await remote.catchUp();
    return event.eventId;
  };
  const promoted = (remote: RemoteRoom, users: Record<string, number>, more: object = {}): Promise<string> => {
    const creators = remote.room.version.auth.privilegedCreators ? {} : { [ALICE]: 100 };
    return local(remote, levels({ users: { ...creators, ...users }, ...more }));
  };

  for (const version of VERSIONS) {
    it(`come in one after another (room version ${version})`, async () => {
      const remote = await remoteRoom(version);
      await remote.accepted(message(CAROL, 'one'));
      await remote.accepted(topic(DAVE, 'two'));
      await services.events.send(remote.room, message(ALICE, 'three'));
      await remote.catchUp();
      await remote.accepted(message(EVE, 'four'));
      expect(remote.room.head.extremities).to.have.length(1);
      await remote.verify();
    });

    it(`make forks that a local event ends (room version ${version})`, async () => {
      const remote = await remoteRoom(version);
      const fork = head(remote);
      await remote.accepted({ ...topic(CAROL, 'left'), prev: fork });
      await remote.accepted({ ...topic(DAVE, 'right'), prev: fork });
      await remote.accepted({ ...membership(EVE, EVE, 'join', { displayname: 'E' }), prev: fork });
      expect(remote.room.head.extremities).to.have.length(3);
      const merge = await services.events.send(remote.room, message(ALICE, 'all together'));
      expect(merge.pdu.prev_events).to.have.length(3);
      expect(remote.room.head.extremities).to.deep.equal([merge]);
      await remote.verify();
    });

    it(`may end forks themselves, and may be built on old events (room version ${version})`, async () => {
      const remote = await remoteRoom(version);
      const fork = head(remote);
      const left = await remote.accepted({ ...topic(CAROL, 'left'), prev: fork });
      const right = await remote.accepted({ ...topic(DAVE, 'right'), prev: fork });
      await remote.accepted({ ...message(EVE, 'merged'), prev: [right, left] });
      expect(remote.room.head.extremities).to.have.length(1);
      await remote.accepted({ ...topic(CAROL, 'late'), prev: [left] });
      await remote.accepted({ ...message(CAROL, 'very late'), prev: fork });
      expect(remote.room.head.extremities).to.have.length(3);
      await remote.verify();
    });
  }

  for (const version of VERSIONS) {
    it(`leave any room, however it forks, as the algorithms say and as it is read back (room version ${version})`, async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(forkStep, { minLength: 4, maxLength: 30 }), async (steps) => {
          services = await eventServices(clone.database);
          const remote = await remoteRoom(version);
          for (const one of steps) await perform(services, remote, one);
          await remote.verify();
        }),
        { numRuns: 12, endOnFailure: true },
      );
    });
  }

  it('are not stored while events are missing that they name', async () => {
    const remote = await remoteRoom();
    const last = remote.room.lastPosition;
    const first = remote.build(message(CAROL, 'first'));
    await remote.receive(first);
    await remote.catchUp();
    const second = remote.build(message(CAROL, 'second'));
    const other = await remoteRoom();
    await services.events.send(other.room, message(ALICE, 'x'));
    await other.catchUp();
    const unknown = { ...second, pdu: { ...second.pdu, prev_events: ['$nobodyknows', first.eventId] } };
    expect(await remote.receive(unknown)).to.deep.equal({ outcome: 'missing', ids: ['$nobodyknows'] });
    const foreign = other.replay.extremities[0]!;
    const strange = { ...second, pdu: { ...second.pdu, prev_events: [foreign] } };
    expect(await remote.receive(strange)).to.deep.equal({ outcome: 'missing', ids: [foreign] });
    const auth = { ...second, pdu: { ...second.pdu, auth_events: [...second.pdu.auth_events, '$noauth'] } };
    expect(await remote.receive(auth)).to.deep.equal({ outcome: 'missing', ids: ['$noauth'] });
    expect(remote.room.lastPosition).to.be.greaterThan(last);
    const [row] = await services.database.query<{ n: number }>(
      sql('test_count_after', 'select count(*)::int as n from events where room = $1 and nid > $2'),
      [remote.room.nid, last],
    );
    expect(row!.n).to.equal(1);
    await remote.verify();
  });

  it('are accepted once', async () => {
    const remote = await remoteRoom();
    const built = remote.build(message(CAROL, 'once'));
    const [one, two] = await Promise.all([remote.receive(built), remote.receive(built)]);
    expect([one.outcome, two.outcome].sort()).to.deep.equal(['accepted', 'known']);
    expect((await remote.receive(built)).outcome).to.equal('known');
    await remote.verify();
  });

  it('are rejected when their auth events do not allow them, or are rejected themselves', async () => {
    const remote = await remoteRoom('10');
    await promoted(remote, {}, { state_default: 50, events: { 'm.room.topic': 100 } });
    const forbidden = await remote.send(topic(CAROL, 'mine'));
    expect(forbidden.reception.outcome).to.equal('rejected');
    expect(remote.room.head.extremities.map((event) => event.eventId)).to.not.include(forbidden.id);
    expect(remote.room.ring.events.map((event) => event.eventId)).to.not.include(forbidden.id);
    const good = remote.build(message(CAROL, 'x'));
    const auth = good.pdu.auth_events.map(String);
    const badAuth = await remote.send({ ...message(CAROL, 'x'), auth: [...auth, forbidden.id] });
    expect(badAuth.reception.outcome).to.equal('rejected');
    const badPower = await remote.send({ ...levels({ users: { [CAROL]: 100 } }), sender: CAROL });
    expect(badPower.reception.outcome).to.equal('rejected');
    const create = auth.find((id) => remote.replay.events.get(id)?.event.pdu.type === 'm.room.create')!;
    const member = auth.find((id) => remote.replay.events.get(id)?.event.pdu.type === 'm.room.member')!;
    const onRejected = await remote.send({ ...topic(CAROL, 'now?'), auth: [create, member, badPower.id] });
    expect(onRejected.reception.outcome).to.equal('rejected');
    // A rejected event may still be built on: it changes nothing.
    await remote.accepted({ ...message(CAROL, 'after'), prev: [onRejected.id] });
    await remote.verify();
  });

  it('are rejected when their auth events belong to another room, which are not missing: what comes after them is accepted', async () => {
    const remote = await remoteRoom('10');
    const auth = remote.build(message(CAROL, 'x')).pdu.auth_events.map(String);
    const other = await remoteRoom('10');
    const foreign = await other.accepted(message(CAROL, 'of the other room'));
    const naming = (body: string, id: string): IdentifiedPdu => {
      const { eventId, pdu } = remote.build(message(CAROL, body));
      return { eventId, pdu: { ...pdu, auth_events: [...auth, id] } };
    };
    for (const id of [foreign, ...other.build(message(CAROL, 'y')).pdu.auth_events.map(String)]) {
      expect((await remote.receiver.receive(remote.room, naming('x', id))).outcome, id).to.equal('rejected');
      const outlier = naming('outlier', id);
      const stored = await remote.receiver.storeOutliers(remote.room, [outlier]);
      expect(stored.get(outlier.eventId)?.outcome, id).to.equal('rejected');
    }
    const rejected = naming('prev', foreign);
    expect((await remote.receiver.receive(remote.room, rejected)).outcome).to.equal('rejected');
    const after = remote.build(message(CAROL, 'after'));
    const child = { ...after, pdu: { ...after.pdu, prev_events: [rejected.eventId] } };
    expect((await remote.receiver.receive(remote.room, child)).outcome).to.equal('accepted');
  });

  for (const version of ['10', '12']) {
    it(`are rejected when they come after no other event (room version ${version})`, async () => {
      const remote = await remoteRoom(version);
      const { extremities } = remote.replay;
      const rootless = remote.build({ ...message(CAROL, 'out of nowhere'), depth: 1 });
      const reception = await remote.receive({ ...rootless, pdu: { ...rootless.pdu, prev_events: [] } });
      expect(reception.outcome).to.equal('rejected');
      expect(await remote.receive(rootless)).to.deep.equal({ outcome: 'known' });
      const create = remote.build({
        type: 'm.room.create',
        sender: ALICE,
        stateKey: '',
        content: { room_version: version, creator: ALICE },
        auth: [],
      });
      const second = await remote.receive({ ...create, pdu: { ...create.pdu, prev_events: [] } });
      expect(second.outcome).to.equal('rejected');
      expect(remote.room.head.extremities.map((event) => event.eventId)).to.deep.equal(extremities);
      expect(remote.room.stateEvent('m.room.create')!.eventId).to.not.equal(create.eventId);
      await services.events.send(remote.room, message(ALICE, 'goes on'));
    });
  }

  it('are rejected when the state before them does not allow them', async () => {
    const remote = await remoteRoom('11');
    const before = remote.build(message(EVE, 'still here'));
    await local(remote, membership(ALICE, EVE, 'ban'));
    const auth = before.pdu.auth_events.map(String);
    const late = await remote.send({ ...message(EVE, 'I name my join'), auth });
    expect(late.reception.outcome).to.equal('rejected');
    await remote.verify();
  });

  it('soft-fail when the current state does not allow them: not shown, yet built on', async () => {
    const remote = await remoteRoom();
    const fork = head(remote);
    await local(remote, membership(ALICE, EVE, 'ban'));
    const committed: string[] = [];
    const stop = services.stream.on('appended', ({ events }) => {
      committed.push(...events.map(({ event }) => event.eventId));
    });
    const soft = await remote.send({ ...topic(EVE, 'before the ban'), prev: fork });
    expect(soft.reception.outcome).to.equal('soft-failed');
    expect(committed).to.deep.equal([]);
    expect(remote.room.ring.events.map((event) => event.eventId)).to.not.include(soft.id);
    expect(remote.room.stateText('m.room.topic', 'topic')).to.equal(undefined);
    const child = await remote.accepted({ ...message(CAROL, 'after it'), prev: [soft.id, ...head(remote)] });
    expect(committed).to.deep.equal([child]);
    // The event that was soft-failed takes part in the state of those that come after it.
    expect(remote.replay.events.get(child)!.before.get('m.room.topic\0')).to.equal(
      remote.replay.current.get('m.room.topic\0'),
    );
    expect(remote.room.head.extremities.map((event) => event.eventId)).to.deep.equal([child]);
    stop();
    await remote.verify();
  });

  it('that follow a soft-failed event end the branch on which that one was built', async () => {
    const remote = await remoteRoom();
    const base = head(remote);
    const left = await remote.accepted({ ...message(CAROL, 'left'), prev: base });
    const leftTopic = await remote.accepted({ ...message(DAVE, 'left 2'), prev: [left] });
    await local(remote, membership(ALICE, EVE, 'ban'));
    const right = await remote.accepted({ ...message(CAROL, 'right'), prev: [leftTopic] });
    const soft = await remote.send({ ...message(EVE, 'soft'), prev: [right] });
    expect(soft.reception.outcome).to.equal('soft-failed');
    const next = await remote.accepted({ ...message(DAVE, 'next'), prev: [soft.id] });
    expect(remote.room.head.extremities.map((event) => event.eventId))
      .to.include(next)
      .and.not.include(right);
    await remote.verify();
  });

  for (const version of ['10', '11']) {
    it(`redact what their senders may redact (room version ${version})`, async () => {
      const remote = await remoteRoom(version);
      const mine = await remote.accepted(message(CAROL, 'mine'));
      const theirs = await remote.accepted(message(DAVE, 'theirs'));
      const redaction = (sender: string, redacts: string): RemoteDraft => ({
        type: 'm.room.redaction',
        sender,
        content: {},
        redacts,
      });
      expect((await remote.send(redaction(CAROL, theirs))).reception.outcome).to.equal('soft-failed');
      expect((await services.events.find(remote.room, theirs))!.content).to.deep.include({ body: 'theirs' });
      const own = await remote.accepted(redaction(CAROL, mine));
      const gone = (await services.events.find(remote.room, mine))!;
      expect(gone.content).to.deep.equal({});
      expect(gone.redactedBecause?.eventId).to.equal(own);
      await promoted(remote, { [CAROL]: 50 });
      await remote.accepted(redaction(CAROL, theirs));
      expect((await services.events.find(remote.room, theirs))!.content).to.deep.equal({});
      const elsewhere = await remoteRoom(version);
      const foreign = await elsewhere.accepted(message(CAROL, 'another room'));
      expect((await remote.send(redaction(CAROL, foreign))).reception.outcome).to.equal('soft-failed');
      expect((await services.events.find(elsewhere.room, foreign))!.content).to.deep.include({ body: 'another room' });
      await remote.verify();
      const fresh = await eventServices(clone.database);
      const room = (await fresh.rooms.byNid(remote.room.nid))!;
      expect((await fresh.loader.byId(room, mine))!.content).to.deep.equal({});
    });
  }

  it('leave 20 forward extremities at most', async () => {
    const remote = await remoteRoom();
    const fork = head(remote);
    for (let i = 0; i < 30; i++) await remote.accepted({ ...topic([CAROL, DAVE, EVE][i % 3]!, `${i}`), prev: fork });
    expect(remote.room.head.extremities).to.have.length(20);
    await remote.verify();
    const merge = await services.events.send(remote.room, message(ALICE, 'merge')).catch((error: unknown) => error);
    expect(merge).to.be.instanceOf(Error);
    services = await eventServices(clone.database);
    const room = (await services.rooms.byNid(remote.room.nid))!;
    expect((await services.events.send(room, message(ALICE, 'merge'))).pdu.prev_events).to.have.length(20);
    expect(room.head.extremities).to.have.length(1);
    await new RemoteRoom(services, room).verify();
  });

  it('do not take back what the room has become, however many forks of its past there are', async () => {
    const remote = await remoteRoom();
    await promoted(remote, { [CAROL]: 100 });
    const fork = head(remote);
    await promoted(remote, {});
    await local(remote, topic(ALICE, 'of now'));
    await local(remote, membership(ALICE, EVE, 'ban'));
    const [now] = remote.room.head.extremities;
    for (let i = 0; i < 25; i++) await remote.accepted({ ...message(CAROL, `${i}`), prev: fork });
    expect(remote.room.head.extremities).to.have.length(20).and.to.include(now);
    expect(remote.room.powerLevels().userLevel(CAROL)).to.equal(0);
    expect(remote.room.stateText('m.room.topic', 'topic')).to.equal('of now');
    expect(remote.room.member(EVE)?.membership).to.equal('ban');
    await remote.verify();
  });

  it('take the place of nothing that comes before what was told without the state after it', async () => {
    const remote = await remoteRoom();
    await promoted(remote, { [CAROL]: 100 });
    const told = [...remote.replay.current.values()];
    const entry = (type: string, stateKey: string): string => remote.replay.current.get(stateMapKey(type, stateKey))!;
    const auth = [entry('m.room.power_levels', ''), entry('m.room.member', CAROL), entry('m.room.member', EVE)];
    await promoted(remote, {});
    const [now] = remote.room.head.extremities;
    const learn = (event: IdentifiedPdu): IdentifiedPdu => {
      remote.replay.take(event.eventId, event.pdu);
      return event;
    };
    const outlier = learn(remote.build({ ...topic(CAROL, 'apart'), auth: [] }));
    const kept = await remote.receiver.storeOutliers(remote.room, [outlier]);
    expect(kept.get(outlier.eventId)?.outcome).to.equal('rejected');
    const afterGap = learn(remote.build({ ...membership(CAROL, EVE, 'ban'), prev: [outlier.eventId], auth }));
    const soft = await remote.receiver.receiveAt(remote.room, afterGap, told);
    expect(soft.outcome).to.equal('soft-failed');
    const last = remote.build({ ...message(CAROL, 'hello'), prev: [afterGap.eventId], auth: auth.slice(0, 2) });
    expect((await remote.receive(last)).outcome).to.equal('accepted');
    expect(remote.room.head.extremities).to.include(now);
    expect(remote.room.powerLevels().userLevel(CAROL)).to.equal(0);
    expect(remote.room.member(EVE)?.membership).to.equal('join');
  });

  /** A ban that its auth events allow, and the room's state does not any more. */
  const banOfPast = async () => {
    const remote = await remoteRoom();
    await promoted(remote, { [CAROL]: 100 });
    const entry = (type: string, stateKey: string): string => remote.replay.current.get(stateMapKey(type, stateKey))!;
    const auth = [entry('m.room.power_levels', ''), entry('m.room.member', CAROL), entry('m.room.member', EVE)];
    await promoted(remote, {});
    return { remote, event: remote.build({ ...membership(CAROL, EVE, 'ban'), auth }) };
  };

  it('are rejected by the state of the room where only their auth events were known before, and what comes after them is accepted', async () => {
    const { event, remote } = await banOfPast();
    const kept = await remote.receiver.storeOutliers(remote.room, [event]);
    expect(kept.get(event.eventId)?.outcome).to.equal('accepted');
    expect((await remote.receive(event)).outcome).to.equal('rejected');
    await remote.catchUp();
    const after = await remote.accepted({ ...message(DAVE, 'after it'), prev: [event.eventId] });
    expect(remote.room.head.extremities.map(({ eventId }) => eventId)).to.deep.equal([after]);
    expect(remote.room.member(EVE)?.membership).to.equal('join');
  });

  it('stay what they were where only their auth events were known, and the state that was told does not allow them', async () => {
    const { event, remote } = await banOfPast();
    await remote.receiver.storeOutliers(remote.room, [event]);
    const told = await remote.receiver.receiveAt(remote.room, event, [...remote.replay.current.values()]);
    expect(told.outcome).to.equal('known');
  });

  it('take memberships away when their branch loses, and the room knows it', async () => {
    const remote = await remoteRoom();
    await promoted(remote, { [CAROL]: 100 });
    const fork = head(remote);
    await remote.accepted({
      type: 'm.room.join_rules',
      sender: CAROL,
      stateKey: '',
      content: { join_rule: 'invite' },
      prev: fork,
    });
    const frank = '@frank:b.example';
    const join = await remote.send({ ...membership(frank, frank, 'join'), prev: fork });
    expect(join.reception.outcome).to.equal('soft-failed');
    await remote.accepted({ ...message(DAVE, 'after it'), prev: [join.id] });
    expect(remote.room.member(frank)?.membership ?? 'leave').to.equal('leave');
    await services.events.send(remote.room, message(ALICE, 'merge'));
    await remote.verify();
  });

  it('do not lead to depths beyond what an integer can say', async () => {
    const remote = await remoteRoom();
    await remote.accepted({ ...message(CAROL, 'deep'), depth: Number.MAX_SAFE_INTEGER });
    const next = await services.events.send(remote.room, message(ALICE, 'not deeper'));
    expect(next.topo).to.equal(Number.MAX_SAFE_INTEGER);
    await remote.verify();
  });

  it('and local ones take turns: nothing is lost, nothing waits for ever, positions stay in order', async () => {
    const remote = await remoteRoom();
    const other = await makeRoom(services);
    const positions: number[] = [];
    const stop = services.stream.on('appended', ({ room, events }) => {
      if (room === remote.room) positions.push(...events.map(({ event }) => event.nid));
    });
    let isDone = false;
    // Another room that is never quiet must not keep this one waiting.
    const noise = (async () => {
      while (!isDone) await Promise.all([1, 2, 3].map((n) => services.events.send(other, message(ALICE, `${n}`))));
    })();
    const fork = head(remote);
    const built = Array.from({ length: 40 }, (_, i) => {
      const sender = [CAROL, DAVE, EVE][i % 3]!;
      const what =
        i % 4 === 0
          ? topic(sender, `${i}`)
          : i % 4 === 1
            ? membership(sender, sender, 'join', { displayname: `${i}` })
            : message(sender, `${i}`);
      return remote.build({ ...what, prev: fork });
    });
    const work: Promise<unknown>[] = [];
    for (const [i, event] of built.entries()) {
      work.push(remote.receive(event).then((reception) => expect(reception.outcome).to.equal('accepted')));
      work.push(services.events.send(remote.room, i % 3 === 0 ? topic(ALICE, `local ${i}`) : message(ALICE, `${i}`)));
      if (i % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(work);
    isDone = true;
    await noise;
    stop();
    expect(positions).to.have.length(80);
    expect(positions).to.deep.equal([...positions].sort((a, b) => a - b));
    await remote.verify();
  });

  it('wait for each other, each with the room for itself', async () => {
    const remote = await remoteRoom();
    let inside = 0;
    const order: number[] = [];
    await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        remote.room.turns
          .exclusively(async () => {
            expect(++inside).to.equal(1);
            await new Promise((resolve) => setImmediate(resolve));
            order.push(i);
            inside--;
            if (i === 3) throw new Error('one that fails');
          })
          .catch(() => undefined),
      ),
    );
    expect(order).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(remote.room.turns.isTaken).to.equal(false);
  });

  it('that the database refuses leave the room as it was', async () => {
    const remote = await remoteRoom();
    const built = remote.build(topic(CAROL, 'refused'));
    const stale = services.receiver;
    await eventServices(clone.database);
    const error = await stale.receive(remote.room, built).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(Error);
    expect(remote.room.stateText('m.room.topic', 'topic')).to.equal(undefined);
    expect(remote.room.isAhead).to.equal(false);
    await remote.verify();
  });
});
