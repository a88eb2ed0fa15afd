import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { DelayedCleaner } from '#src/services/rooms/delayed-events/delayed-cleaner.ts';
import { DelayedEventList } from '#src/services/rooms/delayed-events/delayed-event-list.ts';
import { Writer } from '#src/services/commit/writer.ts';
import {
  type Answer,
  type Json,
  InProcessServer,
  type InProcessServerOptions,
} from '#test/support/in-process-server.ts';

const UNSTABLE = '/unstable/org.matrix.msc4140';
const HOUR = 3_600_000;
const DAY = 24 * HOUR;

describe('limits of delayed events', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let room: string;
  let count = 0;

  const start = async (options: InProcessServerOptions): Promise<void> => {
    server = await InProcessServer.start(options);
    room = await server.room('alice', { preset: 'public_chat' });
  };
  afterEach(() => server.stop());

  const schedule = (delayMs: number, token = 'alice', txn = `l${(count += 1)}`): Promise<Answer> =>
    server.ask(token, 'PUT', `${UNSTABLE}/rooms/${room}/delayed_event/m.room.message/${txn}`, {
      delay_ms: delayMs,
      content: { msgtype: 'm.text', body: `after ${delayMs}` },
    });
  const scheduled = async (delayMs: number, token = 'alice'): Promise<string> =>
    (await schedule(delayMs, token)).body.delay_id;
  const manage = (token: string | undefined, id: string, action: string): Promise<Answer> =>
    server.ask(token, 'POST', `${UNSTABLE}/delayed_events/${id}/${action}`);
  const one = (id: string, token = 'alice'): Promise<Json> =>
    server.must(token, 'GET', `${UNSTABLE}/delayed_events/${id}`);
  const ids = async (token = 'alice', query = ''): Promise<string[]> =>
    (await server.must(token, 'GET', `${UNSTABLE}/delayed_events${query}`)).delayed_events.map(
      (event: Json) => event.delay_id,
    );
  /** What became of one, once everything that is due is sent. */
  const finalised = async (id: string): Promise<Json> => {
    await server.idle();
    const event = await one(id);
    expect(event.finalised_ts).to.be.a('number');
    return event;
  };
  const sent = async (): Promise<string[]> =>
    server.bodies(await server.must('alice', 'GET', `/rooms/${room}/messages?dir=b&limit=50`)).reverse();

  it('lets a user schedule so many, and says when there is room for the next', async () => {
    await start({ config: { delayedEvents: { maxScheduled: 2 } } });
    const first = await schedule(90_500, 'alice', 'first');
    await scheduled(DAY);
    const refused = await schedule(1_000);
    expect([refused.status, refused.body.errcode]).to.deep.equal([429, 'M_LIMIT_EXCEEDED']);
    expect(refused.body.retry_after_ms).to.equal(90_500);
    // What is scheduled already is no further one.
    expect((await schedule(90_500, 'alice', 'first')).body).to.deep.equal(first.body);
    expect((await schedule(1_000, 'bob')).status).to.equal(200);
    await manage('alice', first.body.delay_id, 'cancel');
    expect((await schedule(1_000)).status).to.equal(200);
  });

  it('holds the limit against requests at the same time', async () => {
    await start({ config: { delayedEvents: { maxScheduled: 3 } } });
    const answers = await Promise.all(Array.from({ length: 8 }, () => schedule(HOUR)));
    expect(answers.filter(({ status }) => status === 200)).to.have.length(3);
    expect(await ids()).to.have.length(3);
  });

  it('schedules nothing where nothing may be scheduled, and any delay where none is too long', async () => {
    await start({ config: { delayedEvents: { maxScheduled: 0 } } });
    const refused = await schedule(1_000);
    expect([refused.status, refused.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    await server.stop();
    await start({ config: { delayedEvents: { maxDelayMs: null, maxScheduled: null } } });
    expect((await schedule(10_000 * DAY)).status).to.equal(200);
    expect((await schedule(Number.MAX_SAFE_INTEGER)).body.errcode).to.equal('M_BAD_JSON');
  });

  it('asks for an access token to manage where it is told to', async () => {
    await start({ config: { delayedEvents: { requireToken: true } } });
    const id = await scheduled(HOUR);
    for (const action of ['send', 'cancel', 'restart']) {
      const refused = await manage(undefined, id, action);
      expect([refused.status, refused.body.errcode]).to.deep.equal([401, 'M_MISSING_TOKEN']);
    }
    expect((await manage('alice', id, 'cancel')).status).to.equal(200);
  });

  it('counts what is sent as sent by its user: too much at once is not sent, and not tried again', async () => {
    // Scheduling counts as well.
    await start({ rateLimits: { message: { perSecond: 0.001, burst: 4 + 2 } } });
    const late = await scheduled(HOUR);
    const all = [await scheduled(1_000), await scheduled(1_001), await scheduled(1_002)];
    const bob = 'exempt-bob';
    await server.join(bob, room);
    const exempt = [await scheduled(1_000, bob), await scheduled(1_000, bob), await scheduled(1_000, bob)];
    await server.clock.advance(2_000);
    const events = [];
    for (const id of all) events.push(await finalised(id));
    expect(events[0].event_id).to.be.a('string');
    expect(events[1].event_id).to.be.a('string');
    expect(events[2].error).to.include({ errcode: 'M_LIMIT_EXCEEDED' });
    for (const id of exempt) expect((await one(id, bob)).event_id).to.be.a('string');
    const refused = await manage('alice', late, 'send');
    expect([refused.status, refused.body.errcode]).to.deep.equal([429, 'M_LIMIT_EXCEEDED']);
    expect((await one(late)).finalised_ts).to.equal(undefined);
  });

  it('counts nothing that comes at once only because the server was away', async () => {
    await start({ rateLimits: { message: { perSecond: 0.001, burst: 2 } } });
    const all: string[] = [];
    // Scheduling counts as well, until the next start.
    for (const delays of [
      [303_000, 301_000],
      [244_000, 242_000],
    ]) {
      for (const delay of delays) all.push(await scheduled(delay));
      await server.restart();
    }
    await server.kill();
    await server.clock.advance(DAY);
    await server.revive();
    for (const id of all) expect((await finalised(id)).event_id).to.be.a('string');
    expect(await sent()).to.deep.equal([301, 242, 303, 244].map((seconds) => `after ${seconds}000`));
  });

  it('limits managing: for each delayed event where nobody says who they are', async () => {
    await start({ rateLimits: { delayed_event: { perSecond: 0.5, burst: 3 } } });
    const first = await scheduled(HOUR);
    const second = await scheduled(HOUR);
    const answers: number[] = [];
    for (let index = 0; index < 4; index++) answers.push((await manage(undefined, first, 'restart')).status);
    expect(answers).to.deep.equal([200, 200, 200, 429]);
    const refused = await manage(undefined, first, 'restart');
    expect(refused.body.retry_after_ms).to.be.within(1, 2_000);
    expect((await manage(undefined, second, 'restart')).status).to.equal(200);
    await server.clock.advance(2_000);
    expect((await manage(undefined, first, 'restart')).status).to.equal(200);
  });

  it('does not hold back a service that manages those of many from one address', async () => {
    const few = { perSecond: 0.5, burst: 4 };
    const many = { perSecond: 0.5, burst: 20 };
    await start({
      rateLimits: { default: few, message: many, create_room: few, delayed_event_relay: many, delayed_event: few },
    });
    const all: string[] = [];
    for (let index = 0; index < 10; index++) all.push(await scheduled(HOUR));
    const restarts = await Promise.all(all.map((id) => manage(undefined, id, 'restart')));
    expect(restarts.map(({ status }) => status)).to.deep.equal(all.map(() => 200));
    const sends = await Promise.all(all.map((id) => manage(undefined, id, 'send')));
    expect(sends.map(({ status }) => status)).to.deep.equal(all.map(() => 200));
    // Guessing ids has an end, too.
    const guess = await manage(undefined, 'x'.repeat(32), 'restart');
    expect([guess.status, guess.body['org.tsudoi.limiter']]).to.deep.equal([429, 'delayed_event_relay']);
  });

  it('keeps what is over for as long, and as many, as it is told to', async () => {
    await start({});
    const { database } = server.services;
    const cleaner = new DelayedCleaner({
      database,
      clock: server.clock,
      timers: server.clock,
      logger: silentLogger,
      lifetimeMs: DAY,
      most: 2,
    });
    const over: string[] = [];
    for (let index = 0; index < 4; index++) {
      const id = await scheduled(HOUR);
      await manage('alice', id, 'cancel');
      await server.clock.advance(10);
      over.push(id);
    }
    const waiting = await scheduled(DAY);
    const left = async (): Promise<string[]> =>
      (await server.must('alice', 'GET', `${UNSTABLE}/delayed_events?status=finalised`)).finalised.map(
        (event: Json) => event.delayed_event.delay_id,
      );
    expect(await cleaner.clean()).to.equal(0);
    await server.clock.advance(20 * 60_000);
    expect(await cleaner.clean()).to.equal(2);
    expect(await left()).to.deep.equal([over[3], over[2]]);
    expect((await server.ask('alice', 'GET', `${UNSTABLE}/delayed_events/${over[0]}`)).status).to.equal(404);
    await manage('alice', waiting, 'restart');
    await server.clock.advance(DAY - 600_000);
    expect(await cleaner.clean()).to.equal(2);
    expect(await left()).to.deep.equal([]);
    expect(await ids()).to.deep.equal([waiting]);
  });

  it('lists pages that lead through everything, once', async () => {
    await start({ config: { delayedEvents: { maxScheduled: null } } });
    const { database, writer } = server.services;
    const pages = new DelayedEventList(database, writer, 3);
    const made: string[] = [];
    for (let index = 0; index < 8; index++) made.push(await scheduled(HOUR + (index >> 1)));
    const listed = async (status: 'scheduled' | 'finalised'): Promise<string[]> => {
      const found: string[] = [];
      for (let from: string | undefined, more = true; more; more = from !== undefined) {
        const page = await pages.page('@alice:test', { status, delayIds: undefined, from });
        found.push(...(page[status] ?? []).map((event) => event.delay_id));
        from = page.next;
      }
      return found;
    };
    const scheduledIds = await listed('scheduled');
    expect([...scheduledIds].sort()).to.deep.equal([...made].sort());
    expect(scheduledIds).to.deep.equal(await ids());
    for (const id of made) await manage('alice', id, 'cancel');
    expect((await listed('finalised')).sort()).to.deep.equal([...made].sort());
    let failure: { errcode?: string } = {};
    const { next } = await pages.page('@alice:test', { status: 'finalised', delayIds: undefined, from: undefined });
    await pages
      .page('@alice:test', { status: 'scheduled', delayIds: undefined, from: next })
      .catch((error: object) => (failure = error));
    expect(failure.errcode).to.equal('M_INVALID_PARAM');
  });

  it('sends nothing by a process whose place another one has taken', async () => {
    await start({});
    const id = await scheduled(1_000);
    // What this process would refuse, or take for done, may be otherwise in what the other one has written since.
    const unknown = await scheduled(1_000, 'bob');
    const state = `/rooms/${room}/state/m.room.topic/`;
    await server.must('alice', 'PUT', state, { topic: 'x' });
    const same = (await server.must('alice', 'PUT', `${state}?org.matrix.msc4140.delay=1000`, { topic: 'x' })).delay_id;
    const { database } = server.services;
    const other = new Writer({
      database,
      clock: server.clock,
      timers: systemTimers,
      logger: silentLogger,
      metrics: noMetrics,
    });
    await other.start();
    await server.clock.advance(1_000);
    const byHand = await server.services.delayedEvents.manage('send', id, undefined).then(
      () => 'sent',
      () => 'refused',
    );
    expect(byHand).to.equal('refused');
    for (let tries = 0; tries < 20; tries++) {
      await server.clock.advance(20);
      await server.idle();
    }
    expect((await one(id)).finalised_ts).to.equal(undefined);
    expect((await one(unknown, 'bob')).finalised_ts).to.equal(undefined);
    expect((await one(same)).finalised_ts).to.equal(undefined);
    expect(await sent()).to.deep.equal([]);
    await other.close();
    await server.restart();
    await finalised(id);
    expect(await sent()).to.deep.equal(['after 1000']);
  });
});
