import { expect } from 'chai';
import { systemTimers } from '#src/kernel/timers.ts';
import { HistoryPurge } from '#src/services/retention/history-purge.ts';
import { StreamCleaner } from '#src/services/retention/stream-cleaner.ts';
import { sql } from '#src/storage/database.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, type EventServices, eventServices, makeRoom, message } from '#test/support/event-services.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

const MINUTE = 60_000;
const ROWS = sql('test_rows_of_sticky_events', 'select event from sticky_events order by event');

describe('what is stored of sticky events', () => {
  let clone: TestDatabase;
  let clock: ManualClock;
  let services: EventServices;
  beforeEach(async () => {
    clone = await cloneDatabase();
    clock = new ManualClock(Date.now());
    services = await eventServices(clone.database, { clock });
  });
  afterEach(() => clone.drop());

  const rows = async (): Promise<number[]> =>
    (await clone.database.query<{ event: number }>(ROWS)).map((row) => row.event);
  const options = () => ({ database: clone.database, clock, timers: systemTimers, pauseMs: 0, batchSize: 2 });

  it('is a row as long as they stick, and goes with the streams that are cleaned', async () => {
    const room = await makeRoom(services);
    const sticky = { ...message(ALICE, 'sticky'), stickyDurationMs: MINUTE };
    for (let n = 0; n < 5; n++) await services.events.send(room, sticky);
    const { nid } = await services.events.send(room, { ...sticky, stickyDurationMs: 2 * MINUTE });
    await services.events.send(room, message(ALICE, 'plain'));
    await services.events.send(room, { ...sticky, originServerTs: clock.now() - MINUTE });
    expect(await rows()).to.have.length(6);
    await clock.advance(MINUTE);
    const cleaner = new StreamCleaner({
      ...options(),
      transactionDays: 3,
      inboxLimits: { messages: 1_000, bytes: 1_000_000, userBytes: 8_000_000 },
      pushRetryMs: 1_000,
      auditDays: 365,
    });
    const { stickyEvents } = await cleaner.clean(new AbortController().signal);
    expect(stickyEvents).to.equal(5);
    expect(await rows()).to.deep.equal([nid]);
  });

  it('goes with the events when the history is purged', async () => {
    const room = await makeRoom(services);
    const sticky = { ...message(ALICE, 'sticky'), stickyDurationMs: 60 * MINUTE };
    for (let n = 0; n < 5; n++) await services.events.send(room, sticky);
    expect((await services.events.sticky.forRooms([room])).get(room.nid)!.between(0, Infinity)).to.have.length(5);
    await clock.advance(10 * MINUTE);
    const { nid } = await services.events.send(room, sticky);
    const purge = new HistoryPurge({ ...services, ...options() });
    await purge.purgeHistory(room, clock.now() - MINUTE);
    expect(await rows()).to.deep.equal([nid]);
    const [left, ...others] = (await services.events.sticky.forRooms([room])).get(room.nid)!.between(0, Infinity);
    expect([left!.nid, others]).to.deep.equal([nid, []]);
  });
});
