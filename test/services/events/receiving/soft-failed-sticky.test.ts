import { expect } from 'chai';
import type { StickyReview } from '#src/services/events/receiving/sticky-review.ts';
import { Writer } from '#src/services/commit/writer.ts';
import { sql } from '#src/storage/database.ts';
import { reviewStickyEventsHandler } from '#src/workers/review-sticky-events.ts';
import { doJobs } from '#test/support/jobs.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message, topic } from '#test/support/event-services.ts';
import { CAROL, type RemoteDraft, RemoteRoom } from '#test/support/federation/remote-room.ts';
import {
  type ClientEvent,
  type SyncBody,
  syncRequest,
  type SyncWorld,
  syncWorld,
} from '#test/services/sync/engine/sync-world.ts';

const MINUTE = 60_000;

describe('a soft-failed sticky event', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let world: SyncWorld;
  let review: StickyReview;
  let remote: RemoteRoom;
  /** The room's history before Carol was taken the right to speak. */
  let fork: readonly string[];

  const begin = async (): Promise<void> => {
    world = await syncWorld(clone.database);
    await world.events.sticky.start();
    review = world.stickyReview;
  };
  /** Does the jobs that changes of the state have made. */
  const reviewed = (): Promise<number> => doJobs(clone.database, [reviewStickyEventsHandler(review)]);
  before(async () => (clone = await cloneDatabase()));
  after(() => clone.drop());
  beforeEach(async () => {
    await begin();
    const room = await makeRoom(world);
    remote = new RemoteRoom(world, room);
    await world.events.send(room, membership(BOB, BOB, 'join'));
    await remote.catchUp();
    await remote.accepted({ ...membership(CAROL, CAROL, 'join') });
    fork = room.head.extremities.map((event) => event.eventId);
  });

  const levels = async (needed: number): Promise<void> => {
    const content = { state_default: 0, redact: 50, events: { 'm.call': needed } };
    await world.events.send(remote.room, { type: 'm.room.power_levels', sender: ALICE, stateKey: '', content });
    await remote.catchUp();
  };
  const call = (duration: unknown = 10 * MINUTE, ts?: number): RemoteDraft => ({
    type: 'm.call',
    sender: CAROL,
    content: {},
    prev: fork,
    stickyDurationMs: duration as number,
    ...(ts === undefined ? {} : { ts }),
  });
  const sync = async (
    since?: string,
    limit = 10,
  ): Promise<{ readonly next: string; readonly stuck: readonly ClientEvent[]; readonly shown: readonly string[] }> => {
    const body = JSON.parse((await world.sync.sync(syncRequest(BOB, since, { timeline: { limit } }))).body) as SyncBody;
    const room = body.rooms?.join?.[remote.room.roomId];
    return {
      next: body.next_batch,
      stuck: room?.msc4354_sticky?.events ?? [],
      shown: (room?.timeline.events ?? []).map((event) => event.event_id),
    };
  };
  const ids = (events: readonly ClientEvent[]): string[] => events.map((event) => event.event_id);

  it('is delivered when the state changes so that it is valid, once', async () => {
    await levels(50);
    const failed = await remote.send(call());
    expect(failed.reception.outcome).to.equal('soft-failed');
    const first = await sync();
    expect([...ids(first.stuck), ...first.shown]).not.to.include(failed.id);
    await world.events.send(remote.room, topic(ALICE, 'something else'));
    await reviewed();
    const second = await sync(first.next);
    expect([...ids(second.stuck), ...second.shown]).not.to.include(failed.id);

    await levels(0);
    await reviewed();
    const third = await sync(second.next);
    expect(ids(third.stuck)).to.deep.equal([failed.id]);
    expect(third.stuck[0]!.unsigned!.msc4354_sticky_duration_ttl_ms).to.be.within(9 * MINUTE, 10 * MINUTE);
    expect(third.shown).not.to.include(failed.id);
    expect((await world.events.find(remote.room, failed.id))!.flags & 4).to.equal(0);
    const fourth = await sync(third.next);
    expect([...ids(fourth.stuck), ...fourth.shown]).not.to.include(failed.id);
    const initial = await sync(undefined, 20);
    expect(initial.shown).to.include(failed.id);
    expect(ids(initial.stuck)).to.deep.equal([]);
    expect(ids((await sync(undefined, 1)).stuck)).to.deep.equal([failed.id]);
    expect(ids((await sync(first.next, 20)).stuck)).to.deep.equal([failed.id]);
    await remote.verify();
  });

  it('comes once also where it becomes valid while an answer is written', async () => {
    const { next } = await sync();
    await levels(50);
    const failed = await remote.send(call());
    world.interposed.afterPlan = async () => {
      await levels(0);
      await reviewed();
    };
    const first = await sync(next, 20);
    expect([...ids(first.stuck), ...first.shown]).not.to.include(failed.id);
    const second = await sync(first.next);
    expect([...ids(second.stuck), ...second.shown].filter((id) => id === failed.id)).to.have.length(1);
  });

  it('wakes those who wait when it is delivered', async () => {
    await levels(50);
    const failed = await remote.send(call());
    const { next } = await sync();
    const nothing = { timeline: { types: ['none'] }, state: { types: ['none'] } };
    const waiting = world.sync.sync(syncRequest(BOB, next, nothing, { timeout: 50_000 }));
    await levels(0);
    await reviewed();
    const body = JSON.parse((await waiting).body) as SyncBody;
    expect(ids(body.rooms!.join![remote.room.roomId]!.msc4354_sticky!.events)).to.deep.equal([failed.id]);
  });

  it('is judged by the same job once more where its delivery could not be written', async () => {
    await levels(50);
    const failed = await remote.send(call());
    const { next } = await sync();
    const { writer } = world;
    writer.append = async (request) => {
      if (request.events?.revivals === undefined) return Writer.prototype.append.call(writer, request);
      Reflect.deleteProperty(writer, 'append');
      throw new Error('the database refused it');
    };
    await levels(0);
    const failure: unknown = await reviewed().catch((error: unknown) => error);
    expect(failure).to.be.instanceOf(Error).with.property('message', 'the database refused it');
    expect((await sync(next)).stuck).to.deep.equal([]);
    await reviewed();
    expect(ids((await sync(next)).stuck)).to.deep.equal([failed.id]);
  });

  it('is delivered after a restart as well', async () => {
    await levels(50);
    const failed = await remote.send(call());
    const { next } = await sync();
    await begin();
    const room = (await world.rooms.byId(remote.room.roomId))!;
    const again = new RemoteRoom(world, room);
    await again.catchUp();
    const content = { state_default: 0, redact: 50, events: { 'm.call': 0 } };
    await world.events.send(room, { type: 'm.room.power_levels', sender: ALICE, stateKey: '', content });
    await reviewed();
    expect(ids((await sync(next)).stuck)).to.deep.equal([failed.id]);
    await begin();
    expect(ids((await sync(next)).stuck)).to.deep.equal([failed.id]);
  });

  it('is delivered when its sender is a member again', async () => {
    await world.events.send(remote.room, membership(ALICE, CAROL, 'leave'));
    await remote.catchUp();
    const failed = await remote.send(call());
    expect(failed.reception.outcome).to.equal('soft-failed');
    const { next } = await sync();
    await remote.accepted(membership(CAROL, CAROL, 'join'));
    await reviewed();
    expect(ids((await sync(next)).stuck)).to.deep.equal([failed.id]);
    await remote.verify();
  });

  it('stays hidden when it has expired or does not say properly that it is sticky', async () => {
    await levels(50);
    const expired = await remote.send(call(10 * MINUTE, Date.now() - 11 * MINUTE));
    const plain = await remote.send({ type: 'm.call', sender: CAROL, content: {}, prev: fork });
    const nonsense = await remote.send(call('x'));
    for (const one of [expired, plain, nonsense]) expect(one.reception.outcome).to.equal('soft-failed');
    const { next } = await sync();
    await levels(0);
    await reviewed();
    expect((await sync(next)).stuck).to.deep.equal([]);
    const rows = await clone.database.query(
      sql('test_sticky_rows', 'select event from sticky_events where room = $1'),
      [remote.room.nid],
    );
    expect(rows).to.deep.equal([]);
  });

  it('redacts what it names when it is a redaction', async () => {
    const said = await remote.accepted({ ...message(CAROL, 'oh') });
    fork = [said];
    const content = { state_default: 0, redact: 50, events: { 'm.room.redaction': 50 } };
    await world.events.send(remote.room, { type: 'm.room.power_levels', sender: ALICE, stateKey: '', content });
    await remote.catchUp();
    const redaction = { ...call(), type: 'm.room.redaction', content: { redacts: said }, redacts: said };
    const failed = await remote.send(redaction);
    expect(failed.reception.outcome).to.equal('soft-failed');
    expect((await world.events.find(remote.room, said))!.redactedBecause).to.equal(undefined);
    await levels(0);
    await reviewed();
    expect((await world.events.find(remote.room, said))!.redactedBecause?.eventId).to.equal(failed.id);
  });
});

describe('sticky events of other servers', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  before(async () => (clone = await cloneDatabase()));
  after(() => clone.drop());

  it('stick from when they were sent, an hour at most, and only so many of one sender', async () => {
    const world = await syncWorld(clone.database, { maxStickyEvents: 2 });
    const room = await makeRoom(world);
    const remote = new RemoteRoom(world, room);
    await world.events.send(room, membership(BOB, BOB, 'join'));
    await remote.catchUp();
    await remote.accepted({ ...membership(CAROL, CAROL, 'join') });
    const draft = { ...message(CAROL, 'call'), stickyDurationMs: 24 * 60 * MINUTE };
    const sent = [
      await remote.accepted({ ...draft, ts: Date.now() - 20 * MINUTE }),
      await remote.accepted({ ...draft, ts: Date.now() + 20 * MINUTE }),
      await remote.accepted(draft),
    ];
    const { body } = await world.sync.sync(syncRequest(BOB, undefined, { timeline: { limit: 0 } }));
    const { events } = (JSON.parse(body) as SyncBody).rooms!.join![room.roomId]!.msc4354_sticky!;
    expect(events.map((event) => event.event_id)).to.deep.equal(sent.slice(0, 2));
    const left = events.map((event) => Math.ceil(event.unsigned!.msc4354_sticky_duration_ttl_ms! / MINUTE));
    expect(left).to.deep.equal([40, 60]);
  });
});
