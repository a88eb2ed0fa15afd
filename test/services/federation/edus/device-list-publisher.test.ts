import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { PrometheusMetrics } from '#src/app/ground/metrics.ts';
import { Signal } from '#src/kernel/signal.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import {
  DeviceListPublisher,
  type DeviceListPublisherOptions,
} from '#src/services/federation/edus/device-list-publisher.ts';
import { LocalDeviceKeys } from '#src/services/federation/edus/local-device-keys.ts';
import {
  addDestinationDeviceLists,
  lockSentDevices,
  nextDestinationDeviceLists,
  saveSentDevices,
  markDeviceListsSent,
} from '#src/storage/federation/sent-devices.ts';
import type { Database, Tx } from '#src/storage/database.ts';
import { sql } from '#src/storage/statement.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { MortalDatabase } from '#test/support/mortal/mortal-database.ts';
import { until } from '#test/support/until.ts';

const ALICE = '@alice:a.test';
const ACCOUNT = sql(
  'test_told_account',
  'insert into accounts (user_id, localpart, created_ts) values ($1, $1, 0) on conflict do nothing',
);
const WAITING = sql(
  'test_told_waiting',
  `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
);
const VERSION = sql('test_told_version', 'select xmin::text, xmax::text from accounts where user_id = $1');
const FORGOTTEN = sql('test_told_forgotten', 'truncate told_devices, destination_device_lists, event_followers');

describe('the pending device list updates of other servers', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let database: Database;

  before(async () => {
    clone = await cloneDatabase();
    ({ database } = clone);
    await database.query(ACCOUNT, [ALICE]);
  });
  after(() => clone.drop());
  beforeEach(() => database.query(FORGOTTEN));

  const tells = (tx: Tx, streamId: number): Promise<void> =>
    saveSentDevices(
      tx,
      ALICE,
      [{ deviceId: `D${streamId}`, streamId, digest: Buffer.from([streamId]), deleted: false }],
      100,
    );
  const noted = async (): Promise<number[]> =>
    (await nextDestinationDeviceLists(database, 'p.test', 10)).map(({ after }) => after);
  const waits = (): Promise<unknown> =>
    until('somebody waits for a lock', async () => (await database.query(WAITING)).length > 0 || undefined);

  it('keep an update that arrives while earlier ones are marked as sent', async () => {
    await database.write(async (tx) => {
      await tells(tx, 1);
      await addDestinationDeviceLists(tx, ['p.test'], [ALICE], 0);
    });
    let told: Promise<void> | undefined;
    await database.write(async (tx) => {
      await tells(tx, 2);
      await addDestinationDeviceLists(tx, ['p.test'], [ALICE], 1);
      told = markDeviceListsSent(database, 'p.test', [{ userId: ALICE, upTo: 1 }]);
      await waits();
    });
    await told;
    expect(await noted()).to.deep.equal([1]);
    await markDeviceListsSent(database, 'p.test', [{ userId: ALICE, upTo: 2 }]);
    expect(await noted()).to.deep.equal([]);
  });

  /** The user's one device, and the servers that share a room with the user as they come. */
  const optionsOf = (of: Database, servers: () => Promise<readonly string[]>): DeviceListPublisherOptions => ({
    database: of,
    writer: { committed: () => [1] } as unknown as DeviceListPublisherOptions['writer'],
    changes: {
      changed: new Signal(),
      between: async () => [{ userId: ALICE, seenBy: undefined }],
    } as unknown as DeviceListPublisherOptions['changes'],
    keys: new LocalDeviceKeys(of, {
      local: async () => ({
        deviceKeys: { [ALICE]: { DEVICE: { keys: {} } } },
        masterKeys: {},
        selfSigningKeys: {},
        userSigningKeys: {},
      }),
    }),
    edus: { wait: () => undefined },
    servers: {
      of: async () => {
        const found = new Set(await servers());
        return () => found;
      },
    } as unknown as DeviceListPublisherOptions['servers'],
    timers: systemTimers,
    logger: silentLogger,
    metrics: noMetrics,
    isLocal: () => true,
    allows: () => true,
  });
  const edus = (of: Database, servers: () => Promise<readonly string[]>): DeviceListPublisher =>
    new DeviceListPublisher(optionsOf(of, servers));

  it('include a server that joins during the first computation, wherever the process is killed', async () => {
    let kill = 0;
    for (let wasKilled = true; wasKilled; kill += 1) {
      await database.query(FORGOTTEN);
      const mortal = new MortalDatabase(database);
      let hasJoined = false;
      const dying = edus(mortal.database, async () => {
        if (hasJoined) return ['p.test'];
        // The join is committed now; its job finds nothing that was told.
        hasJoined = true;
        await edus(database, async () => []).tell([ALICE], ['p.test']);
        return [];
      });
      mortal.killAt(kill);
      wasKilled = !(await mortal.survives(async () => {
        await dying.start();
        await dying.idle();
      }));
      await dying.close();
      const next = edus(database, async () => (hasJoined ? ['p.test'] : []));
      await next.start();
      await next.idle();
      await next.close();
      expect(await noted(), `killed at ${kill}`).to.deep.equal(hasJoined ? [0] : []);
    }
    expect(kill).to.be.above(8);
  });

  it('is noted although another user’s devices can never be worked out, which are tried six times and given up', async () => {
    const BAD = '@bad:a.test';
    const metrics = new PrometheusMetrics();
    let tries = 0;
    const publisher = new DeviceListPublisher({
      ...optionsOf(database, async () => ['p.test']),
      changes: {
        changed: new Signal(),
        between: async () => [BAD, ALICE].map((userId) => ({ userId, seenBy: undefined })),
      } as unknown as DeviceListPublisherOptions['changes'],
      keys: new LocalDeviceKeys(database, {
        local: async (wanted) => {
          if (Object.hasOwn(wanted, BAD)) {
            tries += 1;
            throw new TypeError('no key can be read of this user');
          }
          return {
            deviceKeys: { [ALICE]: { DEVICE: { keys: {} } } },
            masterKeys: {},
            selfSigningKeys: {},
            userSigningKeys: {},
          };
        },
      }),
      timers: {
        ...systemTimers,
        after: (_ms, run) => {
          setImmediate(run);
          return { cancel: () => undefined };
        },
      },
      metrics,
    });
    await publisher.start();
    await until('it is given up', async () =>
      (await metrics.render()).includes('tsudoi_follower_given_up_total{follower="federation_device_lists"} 1')
        ? true
        : undefined,
    );
    await publisher.close();
    expect(await noted()).to.deep.equal([0]);
    // Once with the other one.
    expect(tries).to.equal(7);
    metrics.close();
  });

  it('are added after a running computation, so that a newly joined server gets its result', async () => {
    let told: Promise<void> | undefined;
    await database.write(async (tx) => {
      await lockSentDevices(tx, ALICE);
      told = edus(database, async () => []).tell([ALICE], ['p.test']);
      await waits();
      await tells(tx, 1);
    });
    await told;
    expect(await noted()).to.deep.equal([0]);
  });

  it('take no lock when devices of the user were sent before', async () => {
    const version = async (): Promise<unknown> => (await database.query(VERSION, [ALICE]))[0];
    await database.write((tx) => tells(tx, 1));
    const before = await version();
    await edus(database, async () => []).tell([ALICE], ['p.test']);
    expect(await version()).to.deep.equal(before);
    await database.write(async (tx) => {
      await lockSentDevices(tx, ALICE);
      await edus(database, async () => []).tell([ALICE], ['q.test']);
    });
    expect(await noted()).to.deep.equal([0]);
  });

  it('include a server that is sent all devices just before a change is stored', async () => {
    await database.write((tx) => tells(tx, 1));
    let asked = 0;
    const publishing = edus(database, async () => {
      asked += 1;
      if (asked > 1) return ['p.test'];
      await edus(database, async () => []).tell([ALICE], ['p.test']);
      await markDeviceListsSent(database, 'p.test', [{ userId: ALICE, upTo: 1 }]);
      return [];
    });
    await publishing.start();
    await publishing.idle();
    await publishing.close();
    expect(await noted()).to.deep.equal([0]);
  });
});
