import { expect } from 'chai';
import fc from 'fast-check';
import { sql } from '#src/storage/database.ts';
import { decodeSyncToken, encodeSyncToken, ORIGIN, type SyncPosition } from '#src/protocol/wire/position.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import {
  crossSigningKeyOf,
  deviceKeysOf,
  EncryptionServer,
  keyOf,
  named,
  type TestDevice,
} from './encryption-server.ts';

const ROWS = sql('test_device_change_rows', 'select count(*)::int as n from device_changes');
const DUE = sql('test_device_change_due', 'select count(*)::int as n from device_changes_due');
const MANY_CHANGES = sql(
  'test_many_device_changes',
  "insert into device_changes (user_id, pos) select '@many' || n || ':other.test', $1 from generate_series(1, 24000) n",
);
const NO_MANY_CHANGES = sql('test_no_many_device_changes', "delete from device_changes where user_id like '@many%'");
const LEAVE_DUE = sql('test_leave_due', 'insert into device_changes_due (user_id) values ($1)');

interface Delta {
  readonly changed: readonly string[];
  readonly left: readonly string[];
}

describe('device lists', function () {
  this.timeout(120_000);
  let server: EncryptionServer;
  let alice: TestDevice;
  let bob: TestDevice;
  const tokens = new Map<string, string>();
  let keys = 0;

  before(async () => {
    server = await EncryptionServer.start();
  });
  after(() => server.stop());
  beforeEach(async () => {
    alice = await server.register();
    bob = await server.register();
  });

  /** What a device is told since it was last asked; what it is told first of all does not count. */
  const delta = async (device: TestDevice): Promise<Delta> => {
    await server.idle();
    const response = await server.sync(device, tokens.get(device.token));
    tokens.set(device.token, response.next_batch);
    return { changed: [], left: [], ...response.device_lists };
  };
  const upload = (device: TestDevice): Promise<unknown> =>
    server.must(device, 'POST', '/keys/upload', { device_keys: deviceKeysOf(device, keyOf((keys += 1) % 250)) });

  it('have whoever uploads keys, changes them or signs in again, for themselves and those who share a room with them', async () => {
    const stranger = await server.register();
    await server.room(alice, bob);
    for (const reader of [alice, bob, stranger]) await delta(reader);
    await upload(alice);
    expect((await delta(bob)).changed).to.deep.equal([alice.userId]);
    expect((await delta(alice)).changed).to.deep.equal([alice.userId]);
    expect((await delta(stranger)).changed).to.deep.equal([]);
    expect((await delta(bob)).changed).to.deep.equal([]);
    await server.must(alice, 'POST', '/keys/device_signing/upload', {
      master_key: crossSigningKeyOf(alice.userId, 'master', keyOf(2)),
    });
    expect((await delta(bob)).changed).to.deep.equal([alice.userId]);
    const other = await server.login(alice);
    await server.must(other, 'PUT', `/devices/${other.deviceId}`, { display_name: 'new name' });
    expect((await delta(bob)).changed).to.deep.equal([alice.userId]);
    await server.must(other, 'POST', '/logout', {});
    expect((await delta(bob)).changed).to.deep.equal([alice.userId]);
  });

  it('do not change by an upload of the same keys, or of one-time keys', async () => {
    await server.room(alice, bob);
    const device_keys = deviceKeysOf(alice, keyOf(1));
    await server.must(alice, 'POST', '/keys/upload', { device_keys });
    await delta(bob);
    await server.must(alice, 'POST', '/keys/upload', { device_keys });
    await server.must(alice, 'POST', '/keys/upload', { one_time_keys: { 'signed_curve25519:A': { key: 'k' } } });
    expect((await delta(bob)).changed).to.deep.equal([]);
  });

  it('tell of each other when two come together, and that it is over when the last shared room ends', async () => {
    const rooms = [await server.room(alice), await server.room(alice)];
    await delta(alice);
    await delta(bob);
    for (const room of rooms) await server.must(bob, 'POST', `/rooms/${room}/join`, {});
    expect((await delta(alice)).changed).to.deep.equal([bob.userId]);
    // The user's own other devices have to know of those who are new to them as well.
    expect((await delta(bob)).changed).to.deep.equal([alice.userId, bob.userId].toSorted());
    await server.must(bob, 'POST', `/rooms/${rooms[0]}/leave`, {});
    expect(await delta(alice)).to.deep.equal({ changed: [], left: [] });
    expect(await delta(bob)).to.deep.equal({ changed: [], left: [] });
    await server.must(bob, 'POST', `/rooms/${rooms[1]}/leave`, {});
    expect((await delta(alice)).left).to.deep.equal([bob.userId]);
    expect((await delta(bob)).left).to.deep.equal([alice.userId]);
    await upload(bob);
    expect((await delta(alice)).changed).to.deep.equal([]);
  });

  it('say nothing of who was invited and declined, or was turned away: there was never a shared room', async () => {
    const room = await server.room(alice);
    await delta(alice);
    await delta(bob);
    await server.must(alice, 'POST', `/rooms/${room}/invite`, { user_id: bob.userId });
    await delta(alice);
    await server.must(bob, 'POST', `/rooms/${room}/leave`, {});
    expect(await delta(alice)).to.deep.equal({ changed: [], left: [] });
    expect(await delta(bob)).to.deep.equal({ changed: [], left: [] });
    await server.must(alice, 'POST', `/rooms/${room}/ban`, { user_id: bob.userId });
    expect(await delta(alice)).to.deep.equal({ changed: [], left: [] });
    const carol = await server.register();
    await server.must(carol, 'POST', `/rooms/${room}/join`, {});
    await delta(alice);
    await server.must(alice, 'POST', `/rooms/${room}/invite`, { user_id: (await server.register()).userId });
    await server.must(alice, 'POST', `/rooms/${room}/leave`, {});
    expect((await delta(alice)).left).to.deep.equal([carol.userId]);
  });

  it('tell only the signer that they signed somebody else’s key', async () => {
    await server.room(alice, bob);
    for (const user of [alice, bob])
      await server.must(user, 'POST', '/keys/device_signing/upload', {
        master_key: crossSigningKeyOf(user.userId, 'master', keyOf(1)),
        user_signing_key: crossSigningKeyOf(user.userId, 'user_signing', keyOf(2), keyOf(1)),
      });
    await delta(alice);
    await delta(bob);
    const signed = signJson(
      crossSigningKeyOf(bob.userId, 'master', keyOf(1)),
      alice.userId,
      named(keyOf(2), keyOf(2).publicKey),
    );
    const { failures } = await server.must(alice, 'POST', '/keys/signatures/upload', {
      [bob.userId]: { [keyOf(1).publicKey]: signed },
    });
    expect(failures).to.deep.equal({});
    expect((await delta(alice)).changed).to.deep.equal([bob.userId]);
    expect((await delta(bob)).changed).to.deep.equal([]);
  });

  it('tell only its owner of a new user-signing key, which nobody else is shown', async () => {
    await server.room(alice, bob);
    const userSigning = crossSigningKeyOf(alice.userId, 'user_signing', keyOf(2), keyOf(1));
    await server.must(alice, 'POST', '/keys/device_signing/upload', {
      master_key: crossSigningKeyOf(alice.userId, 'master', keyOf(1)),
    });
    await delta(alice);
    await delta(bob);
    const path = '/keys/device_signing/upload';
    const { body } = await server.ask(alice, 'POST', path, { user_signing_key: userSigning });
    await server.must(alice, 'POST', path, { user_signing_key: userSigning, auth: server.proof(alice, body.session) });
    expect((await delta(alice)).changed).to.deep.equal([alice.userId]);
    expect((await delta(bob)).changed).to.deep.equal([]);
  });

  it('are those of all who share a room, of however many users of other rooms the devices changed since', async () => {
    await server.room(alice, bob);
    const carol = await server.register();
    await server.room(carol, bob);
    await upload(carol);
    await server.idle();
    const { next_batch: from } = await server.sync(alice);
    await server.idle();
    await upload(bob);
    await server.idle();
    const { next_batch: to } = await server.sync(alice);
    const told = async (since: string): Promise<Delta> => {
      const rows: number[] = [];
      const query = server.database.query.bind(server.database);
      server.database.query = async (...parameters: Parameters<typeof query>) => {
        const found = await query(...parameters);
        rows.push(found.length);
        return found as never;
      };
      try {
        return await server.must(alice, 'GET', `/keys/changes?from=${since}&to=${to}`);
      } finally {
        server.database.query = query;
        expect(Math.max(0, ...rows)).to.be.lessThan(20_100);
      }
    };
    // Somewhere that both tokens have in their span: at a position of the newest change.
    const vector = decodeSyncToken(to)?.vector ?? [];
    const shard = vector.findIndex((position, index) => position > (ORIGIN[index] ?? 0));
    await server.database.query(MANY_CHANGES, [vector[shard]]);
    await server.restart();
    const since = encodeSyncToken({ ...(decodeSyncToken(from) as SyncPosition), vector: ORIGIN });
    const { changed, left } = await told(since);
    expect(changed).to.have.members([alice.userId, bob.userId]);
    expect(left).to.deep.equal([]);
    await server.database.query(NO_MANY_CHANGES);
  });
  it('are told by /keys/changes between two tokens, also after a restart', async () => {
    await server.room(alice, bob);
    const { next_batch: from } = await server.sync(bob);
    await upload(alice);
    const { next_batch: to } = await server.sync(bob);
    const path = `/keys/changes?from=${from}&to=${to}`;
    expect(await server.must(bob, 'GET', path)).to.deep.equal({ changed: [alice.userId], left: [] });
    await server.restart();
    expect(await server.must(bob, 'GET', path)).to.deep.equal({ changed: [alice.userId], left: [] });
    expect((await server.sync(bob, from)).device_lists).to.deep.equal({ changed: [alice.userId], left: [] });
    expect((await server.ask(bob, 'GET', `/keys/changes?from=x&to=${to}`)).body.errcode).to.equal('M_INVALID_PARAM');
  });

  it('that a killed process noted and did not tell are told at the next start', async () => {
    await server.room(alice, bob);
    await delta(bob);
    await server.database.query(LEAVE_DUE, [alice.userId]);
    await server.restart();
    expect((await delta(bob)).changed).to.deep.equal([alice.userId]);
    expect((await server.database.query<{ n: number }>(DUE))[0]?.n).to.equal(0);
  });

  it('take one row for a user, however often they change and however many share their rooms', async () => {
    await server.room(alice, bob, await server.register());
    const count = async (): Promise<number> => (await server.database.query<{ n: number }>(ROWS))[0]?.n ?? -1;
    await upload(alice);
    const before = await count();
    for (let round = 0; round < 5; round++) await upload(alice);
    expect(await count()).to.equal(before);
  });

  it('take no more statements for 40 members who left than for 12', async () => {
    const leavers: TestDevice[] = [];
    for (let count = 0; count < 52; count += 1) leavers.push(await server.register());
    const leaves = async (some: readonly TestDevice[]): Promise<number> => {
      const roomId = await server.room(alice, bob, ...some);
      await delta(bob);
      for (const leaver of some) await server.must(leaver, 'POST', `/rooms/${roomId}/leave`, {});
      // One who declined, whose events have to be looked at as well.
      const invited = await server.register();
      await server.must(alice, 'POST', `/rooms/${roomId}/invite`, { user_id: invited.userId });
      await server.must(invited, 'POST', `/rooms/${roomId}/leave`, {});
      await server.restart();
      await server.idle();
      const from = server.database.statements();
      const { left } = await delta(bob);
      const taken = server.database.statements() - from;
      expect(left).to.deep.equal(some.map(({ userId }) => userId).toSorted());
      return taken;
    };
    // Both are more than a timeline shows.
    const few = await leaves(leavers.slice(0, 12));
    expect(await leaves(leavers.slice(12))).to.be.at.most(few + 6);
  });

  it('wake who waits', async () => {
    await server.room(alice, bob);
    await delta(bob);
    // Something else may wake it as well, a moment before.
    const told = async (since: string | undefined): Promise<unknown> => {
      const answer = await server.sync(bob, since, 20_000);
      return answer.device_lists ?? told(answer.next_batch);
    };
    const waiting = told(tokens.get(bob.token));
    await upload(alice);
    expect(await waiting).to.deep.equal({ changed: [alice.userId], left: [] });
  });

  it('followed over random histories tell all that happened: who shares a room is known, and their keys are as of now', async () => {
    const users = await Promise.all(Array.from({ length: 4 }, () => server.register()));
    const rooms: string[] = [];
    for (let n = 0; n < 3; n++) rooms.push(await server.room(users[n % users.length] as TestDevice));
    const joined = new Set<string>(rooms.map((room, n) => `${(users[n % users.length] as TestDevice).userId} ${room}`));
    const uploads = new Map<string, number>();
    /** Reader -> whom they follow -> how many uploads they know of. */
    const followed = new Map(users.map(({ userId }) => [userId, new Map<string, number>()]));
    const shares = (one: TestDevice, other: TestDevice): boolean =>
      rooms.some((room) => joined.has(`${one.userId} ${room}`) && joined.has(`${other.userId} ${room}`));
    for (const user of users) await delta(user);
    for (const reader of users)
      for (const other of users)
        if (reader !== other && shares(reader, other)) followed.get(reader.userId)?.set(other.userId, 0);
    const step = fc.oneof(
      fc.record({ act: fc.constant('membership' as const), user: fc.nat(3), room: fc.nat(2) }),
      fc.record({ act: fc.constant('upload' as const), user: fc.nat(3), room: fc.constant(0) }),
      fc.record({ act: fc.constant('sync' as const), user: fc.nat(3), room: fc.constant(0) }),
      fc.record({ act: fc.constant('restart' as const), user: fc.constant(0), room: fc.constant(0) }),
    );
    const read = async (reader: TestDevice): Promise<void> => {
      const known = followed.get(reader.userId);
      const { changed, left } = await delta(reader);
      for (const userId of changed) if (userId !== reader.userId) known?.set(userId, uploads.get(userId) ?? 0);
      for (const userId of left) known?.delete(userId);
      for (const other of users) {
        if (other === reader) continue;
        if (shares(reader, other)) expect(known?.get(other.userId)).to.equal(uploads.get(other.userId) ?? 0);
        else expect(known?.has(other.userId), `${reader.userId} follows ${other.userId} no longer`).to.equal(false);
      }
    };
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
        for (const { act, user: index, room: number } of steps) {
          const user = users[index] as TestDevice;
          const room = rooms[number] as string;
          if (act === 'upload') {
            await upload(user);
            uploads.set(user.userId, (uploads.get(user.userId) ?? 0) + 1);
          } else if (act === 'membership') {
            const key = `${user.userId} ${room}`;
            // The last one out would close the room for good.
            const others = users.filter((other) => other !== user && joined.has(`${other.userId} ${room}`));
            if (joined.has(key) && others.length > 0) {
              await server.must(user, 'POST', `/rooms/${room}/leave`, {});
              joined.delete(key);
            } else if (!joined.has(key)) {
              await server.must(user, 'POST', `/rooms/${room}/join`, {});
              joined.add(key);
            }
          } else if (act === 'sync') await read(user);
          else await server.restart();
        }
        for (const user of users) await read(user);
      }),
      { numRuns: 12 },
    );
  });
});
