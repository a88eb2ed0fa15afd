import { setImmediate } from 'node:timers/promises';
import { expect } from 'chai';
import { READS_AT_ONCE } from '#src/services/e2ee/key-backup/key-backup-service.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

/** Two pages at least. */
const SESSIONS = 600;

describe('reading key backups', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({});
  });
  after(() => server.stop());

  const backupOf = async (name: string): Promise<{ readonly userId: string; readonly version: string }> => {
    const { userId } = await server.session(name);
    const made = await server.must(name, 'POST', '/room_keys/version', { algorithm: 'test', auth_data: {} });
    const session = { first_message_index: 0, forwarded_count: 0, is_verified: false, session_data: { x: 'x' } };
    const sessions = Object.fromEntries(Array.from({ length: SESSIONS }, (_, index) => [`s${index}`, session]));
    await server.must(name, 'PUT', `/room_keys/keys?version=${made.version}`, { rooms: { '!a:x': { sessions } } });
    return { userId, version: made.version };
  };

  it('waits while a user reads many times at once, whoever ends or gives up lets the next one in, and others do not wait', async () => {
    const { keyBackup } = server.services;
    const [alice, bob] = [await backupOf('alice'), await backupOf('bob')];
    const readers = Array.from({ length: READS_AT_ONCE + 2 }, () => keyBackup.read(alice.userId, alice.version, {}));
    let begun = 0;
    const firsts = readers.map(async (reader) => {
      const { done } = await reader.next();
      expect(done).to.equal(false);
      begun += 1;
    });
    await Promise.all(firsts.slice(0, READS_AT_ONCE));
    const other = keyBackup.read(bob.userId, bob.version, {});
    expect((await other.next()).done).to.equal(false);
    await other.return();
    for (let turn = 0; turn < 10; turn += 1) await setImmediate();
    expect(begun).to.equal(READS_AT_ONCE);
    await readers[0]!.return();
    await firsts[READS_AT_ONCE];
    let count = 0;
    for await (const page of readers[1]!) count += page.length;
    expect(count).to.be.greaterThan(0);
    await Promise.all(firsts);
    for (const reader of readers) await reader.return();
    await expectRefused(keyBackup.read(alice.userId, '99', {}));
    expect((await keyBackup.read(alice.userId, alice.version, {}).next()).done).to.equal(false);
  });
});

const expectRefused = async (reader: AsyncGenerator): Promise<void> => {
  const outcome = await reader.next().catch((error: { readonly errcode: string }) => error.errcode);
  expect(outcome).to.equal('M_NOT_FOUND');
};
