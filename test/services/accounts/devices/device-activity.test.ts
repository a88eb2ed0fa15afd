import { expect } from 'chai';
import { DeviceActivity } from '#src/services/accounts/devices/device-activity.ts';
import { findDevice, insertDevice } from '#src/storage/accounts/devices.ts';
import { sql } from '#src/storage/database.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { type Line, recordingLogger } from '#test/support/recording-logger.ts';

const USER = '@seen:localhost';

describe('when devices were last seen', () => {
  let clone: TestDatabase;
  before(async () => {
    clone = await cloneDatabase();
    const { database } = clone;
    await database.query(
      sql('test_account', `insert into accounts (user_id, localpart, created_ts) values ($1, 'seen', 0)`),
      [USER],
    );
    await database.write(async (tx) => {
      for (const deviceId of ['A', 'B', 'C'])
        await insertDevice(tx, { userId: USER, deviceId, displayName: null, createdTs: 0 });
    });
  });
  after(() => clone.drop());

  it('is written of all others, though the database does not take what was seen of one', async () => {
    const clock = new ManualClock(1_000);
    const lines: Line[] = [];
    const { database } = clone;
    const activity = new DeviceActivity({ database, clock, timers: clock, logger: recordingLogger(lines) });
    for (const deviceId of ['A', 'no\u0000device', 'B', 'C']) activity.seen(USER, deviceId, '127.0.0.1', undefined);
    await activity.close();
    const seen = await database.read(async (tx) => {
      const times: unknown[] = [];
      for (const deviceId of ['A', 'B', 'C']) times.push((await findDevice(tx, USER, deviceId))?.lastSeenTs);
      return times;
    });
    expect(seen).to.deep.equal([1_000, 1_000, 1_000]);
    expect(lines.map(({ message, fields }) => [message, fields['devices']])).to.deep.equal([
      ['last-seen times of devices could not be stored', 1],
    ]);
  });
});
