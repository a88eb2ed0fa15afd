import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { DelayedSchedule } from '#src/services/rooms/delayed-events/delayed-schedule.ts';
import { DelayedEventLocks } from '#src/services/rooms/delayed-events/delayed-event-locks.ts';
import { sql } from '#src/storage/database.ts';
import {
  type DelayedEventRecord,
  delayedEventById,
  finaliseDelayedEvent,
  insertDelayedEvent,
  restartDelayedEvents,
} from '#src/storage/rooms/delayed-events.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { until as eventually } from '#test/support/until.ts';

const LOOK_AT = sql('test_delayed_look_at', 'select look_at from delayed_events where delay_id = $1');

describe('the schedule of delayed events', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let clock: ManualClock;
  let turns: DelayedEventLocks;
  let schedule: DelayedSchedule;
  let send: (record: DelayedEventRecord) => Promise<MatrixError | undefined>;
  let sent: string[];

  beforeEach(async () => {
    clone = await cloneDatabase();
    clock = new ManualClock();
    turns = new DelayedEventLocks();
    sent = [];
    send = async (record) => {
      sent.push(record.delay_id);
      await finaliseDelayedEvent(clone.database, record.delay_id, { ts: clock.now(), eventId: '$sent' });
      return undefined;
    };
    schedule = new DelayedSchedule({
      database: clone.database,
      clock,
      timers: clock,
      logger: silentLogger,
      turns,
      sending: { send: (record) => send(record) },
    });
  });
  afterEach(async () => {
    await schedule.close();
    await clone.drop();
  });

  const insert = async (delayId: string, delayMs: number, roomId = '!room:test'): Promise<void> => {
    const event = {
      delayId,
      userId: '@alice:test',
      deviceId: null,
      roomId,
      type: 'm.room.message',
      stateKey: null,
      content: '{}',
      originServerTs: null,
      stickyDurationMs: null,
      olderForm: false,
      txn: null,
      delayMs,
      scheduledAt: clock.now(),
    };
    await insertDelayedEvent(clone.database, event, null);
    schedule.expect(clock.now() + delayMs);
  };
  const until = async (look: () => boolean | Promise<boolean>): Promise<void> => {
    await eventually('it is sent', async () => {
      await clock.advance(0);
      return look();
    });
  };
  const quiet = (): Promise<void> => schedule.idle();
  const lookAt = async (id: string): Promise<number> =>
    (await clone.database.query<{ look_at: number }>(LOOK_AT, [id]))[0]!.look_at - clock.now();

  it('waits with one timer, however much is scheduled', async () => {
    schedule.start();
    for (let index = 0; index < 50; index++) await insert(`e${index}`, 10_000 + index * 7);
    await quiet();
    await clock.advance(100);
    await quiet();
    expect(clock.pending).to.equal(1);
  });

  it('sends more than it holds at once, in order', async () => {
    for (let index = 0; index < 450; index++) await insert(`e${String(index).padStart(3, '0')}`, 1_000 + index);
    await clock.advance(5_000);
    schedule.start();
    await until(() => sent.length === 450);
    expect(sent).to.deep.equal([...sent].sort());
  });

  it('moves what began anew on when its first time comes, and not with every restart', async () => {
    schedule.start();
    await insert('a', 10_000);
    for (let beat = 0; beat < 3; beat++) {
      await clock.advance(3_000);
      await restartDelayedEvents(clone.database, [{ delayId: 'a', userId: undefined, at: clock.now() }]);
      expect(await lookAt('a')).to.equal(10_000 - (beat + 1) * 3_000);
    }
    await clock.advance(1_000);
    await until(async () => (await lookAt('a')) === 9_000);
    expect(sent).to.deep.equal([]);
    await clock.advance(9_000);
    await until(() => sent.length === 1);
  });

  it('tries again what failed for no fault of the event, and gives up after a while', async () => {
    let tries = 0;
    send = async () => {
      tries += 1;
      throw new TypeError('a bug');
    };
    schedule.start();
    await insert('a', 1_000);
    await insert('b', 2_000);
    await until(async () => {
      await clock.advance(2_000);
      await quiet();
      return (await delayedEventById(clone.database, 'a'))?.finalised_ts !== null;
    });
    const given = await delayedEventById(clone.database, 'a');
    expect(JSON.parse(given!.error!)).to.include({ errcode: 'M_UNKNOWN' });
    expect(given!.error).to.not.include('a bug');
    expect(tries).to.be.within(8, 16);
  });

  it('does not give up while the server has too much to do', async () => {
    let tries = 0;
    const succeed = send;
    send = async (record) => {
      tries += 1;
      if (tries <= 12)
        throw new MatrixError('M_LIMIT_EXCEEDED', 'The server has more to write than it can keep up with.');
      return succeed(record);
    };
    schedule.start();
    await insert('a', 1_000);
    await until(async () => {
      await clock.advance(2_000);
      await quiet();
      return sent.length === 1;
    });
    expect(tries).to.equal(13);
  });

  it('writes down why an event may not be sent', async () => {
    send = async () => new MatrixError('M_FORBIDDEN', 'No.');
    schedule.start();
    await insert('a', 1_000);
    await clock.advance(1_000);
    await until(async () => (await delayedEventById(clone.database, 'a'))?.finalised_ts !== null);
    const record = await delayedEventById(clone.database, 'a');
    expect(JSON.parse(record!.error!)).to.deep.equal({ errcode: 'M_FORBIDDEN', error: 'No.' });
    expect(record!.event_id).to.equal(null);
  });

  it('lets no room wait for another one', async () => {
    let open = (): void => undefined;
    const stuck = new Promise<void>((resolve) => {
      open = resolve;
    });
    const succeed = send;
    send = async (record) => {
      if (record.room_id === '!stuck:test') await stuck;
      return succeed(record);
    };
    schedule.start();
    await insert('a', 1_000, '!stuck:test');
    await insert('b', 1_500, '!free:test');
    await insert('c', 3_000, '!free:test');
    await clock.advance(1_500);
    await until(() => sent.includes('b'));
    await clock.advance(1_500);
    await until(() => sent.includes('c'));
    expect(sent).to.deep.equal(['b', 'c']);
    open();
    await until(() => sent.includes('a'));
  });

  describe('when the clock is set', () => {
    it('resumes at once after it was set back', async () => {
      schedule.start();
      await insert('a', 1_000);
      await clock.advance(1_000);
      await until(() => sent.length === 1);
      clock.set(-3_600_000);
      await insert('b', 1_000);
      await clock.advance(1_000);
      await until(() => sent.length === 2);
    });

    it('sends within half a minute what is due after it was set forward', async () => {
      schedule.start();
      await insert('a', 1_800_000);
      await quiet();
      clock.set(3_600_000);
      await clock.advance(30_000);
      await until(() => sent.length === 1);
    });

    it('lets the time of what is restarted begin at the time that it says by now', async () => {
      schedule.start();
      await insert('a', 60_000);
      await quiet();
      clock.set(3_600_000);
      await restartDelayedEvents(clone.database, [{ delayId: 'a', userId: undefined, at: clock.now() }]);
      await clock.advance(30_000);
      await until(async () => (await lookAt('a')) > 0);
      await quiet();
      clock.set(-3_600_000);
      await restartDelayedEvents(clone.database, [{ delayId: 'a', userId: undefined, at: clock.now() }]);
      await clock.advance(59_999);
      await quiet();
      expect(sent).to.deep.equal([]);
      await clock.advance(30_001);
      await until(() => sent.length === 1);
    });
  });

  it('begins nothing any more once it is closed', async () => {
    schedule.start();
    await insert('a', 1_000);
    await schedule.close();
    await clock.advance(5_000);
    await quiet();
    expect(sent).to.deep.equal([]);
    expect(clock.pending).to.equal(0);
  });
});
