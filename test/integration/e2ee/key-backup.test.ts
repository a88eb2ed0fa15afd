import { expect } from 'chai';
import fc from 'fast-check';
import { EncryptionServer, type TestDevice } from './encryption-server.ts';

const ALGORITHM = 'm.megolm_backup.v1.curve25519-aes-sha2';

interface Session {
  readonly first_message_index: number;
  readonly forwarded_count: number;
  readonly is_verified: boolean;
  readonly session_data: object;
}

const session = (first: number, forwarded: number, verified: boolean, data = 'x'): Session => ({
  first_message_index: first,
  forwarded_count: forwarded,
  is_verified: verified,
  session_data: { ciphertext: data },
});

describe('key backups', function () {
  this.timeout(60_000);
  let server: EncryptionServer;
  let alice: TestDevice;
  let version: string;

  before(async () => {
    server = await EncryptionServer.start({
      TSUDOI_E2EE__MAX_BACKUP_BYTES: '4000000',
      // Less than what the largest backup of these tests takes.
      TSUDOI_BYTES_IN_FLIGHT__PER_USER: '2097152',
    });
  });
  after(() => server.stop());
  beforeEach(async () => {
    alice = await server.register();
    ({ version } = await create());
  });

  const create = (): ReturnType<EncryptionServer['must']> =>
    server.must(alice, 'POST', '/room_keys/version', { algorithm: ALGORITHM, auth_data: { public_key: 'k' } });
  const put = (body: object, path = '', into = version): ReturnType<EncryptionServer['ask']> =>
    server.ask(alice, 'PUT', `/room_keys/keys${path}?version=${into}`, body);
  const get = (path = '', from = version): ReturnType<EncryptionServer['ask']> =>
    server.ask(alice, 'GET', `/room_keys/keys${path}?version=${from}`);

  it('tell their version, how many keys are in it, and an etag that changes with them', async () => {
    const empty = await server.must(alice, 'GET', '/room_keys/version');
    expect(empty).to.deep.include({ algorithm: ALGORITHM, auth_data: { public_key: 'k' }, count: 0, version });
    const { body } = await put({
      rooms: { '!a:x': { sessions: { s1: session(0, 0, true), s2: session(0, 0, true) } } },
    });
    expect(body.count).to.equal(2);
    expect(body.etag).not.to.equal(empty.etag);
    expect(await server.must(alice, 'GET', `/room_keys/version/${version}`)).to.deep.include({
      count: 2,
      etag: body.etag,
    });
    const same = await put({ rooms: { '!a:x': { sessions: { s1: session(0, 0, true) } } } });
    expect(same.body).to.deep.equal(body);
  });

  it('are written and read whole, by room and by session', async () => {
    await put({ rooms: { '!a:x': { sessions: { s1: session(1, 2, false) } } } });
    await put({ sessions: { s2: session(3, 4, true) } }, '/!a:x');
    await put(session(5, 6, true), '/!b:x/s3');
    expect((await get()).body).to.deep.equal({
      rooms: {
        '!a:x': { sessions: { s1: session(1, 2, false), s2: session(3, 4, true) } },
        '!b:x': { sessions: { s3: session(5, 6, true) } },
      },
    });
    expect((await get('/!a:x')).body.sessions).to.have.all.keys('s1', 's2');
    expect((await get('/!b:x/s3')).body).to.deep.equal(session(5, 6, true));
    expect((await get('/!none:x')).body).to.deep.equal({ sessions: {} });
    expect((await get('/!b:x/none')).body.errcode).to.equal('M_NOT_FOUND');
  });

  it('lose what is deleted, by session, by room and whole', async () => {
    const sessions = { s1: session(0, 0, true), s2: session(0, 0, true) };
    await put({ rooms: { '!a:x': { sessions }, '!b:x': { sessions }, '!c:x': { sessions } } });
    const remove = async (path: string): Promise<unknown> =>
      (await server.must(alice, 'DELETE', `/room_keys/keys${path}?version=${version}`)).count;
    expect(await remove('/!a:x/s1')).to.equal(5);
    expect(await remove('/!b:x')).to.equal(3);
    expect(await remove('')).to.equal(0);
    expect((await get()).body).to.deep.equal({ rooms: {} });
  });

  it('keep of all keys for a session the verified one, then that of the earliest message, then the least forwarded', async () => {
    const better = (one: Session, other: Session): boolean =>
      one.is_verified !== other.is_verified
        ? one.is_verified
        : one.first_message_index !== other.first_message_index
          ? one.first_message_index < other.first_message_index
          : one.forwarded_count < other.forwarded_count;
    const sessions = fc.array(
      fc.record({
        first: fc.integer({ min: 0, max: 2 }),
        forwarded: fc.integer({ min: 0, max: 2 }),
        verified: fc.boolean(),
      }),
      { minLength: 1, maxLength: 6 },
    );
    let rooms = 0;
    await fc.assert(
      fc.asyncProperty(sessions, async (uploads) => {
        const room = `!r${(rooms += 1)}:x`;
        let kept: Session | undefined;
        for (const [index, { first, forwarded, verified }] of uploads.entries()) {
          const upload = session(first, forwarded, verified, String(index));
          await put(upload, `/${room}/s`);
          if (kept === undefined || better(upload, kept)) kept = upload;
        }
        expect((await get(`/${room}/s`)).body).to.deep.equal(kept);
      }),
      { numRuns: 25 },
    );
  });

  it('take keys into the current version only, and say which that is, but give up those of others', async () => {
    const old = version;
    await put(session(0, 0, true), '/!a:x/s');
    const { version: current } = await create();
    expect(Number(current)).to.be.greaterThan(Number(old));
    const { status: refused, body: reason } = await put({ rooms: {} }, '', old);
    expect([refused, reason.errcode, reason.current_version]).to.deep.equal([
      403,
      'M_WRONG_ROOM_KEYS_VERSION',
      current,
    ]);
    expect(await server.must(alice, 'DELETE', `/room_keys/keys/!a:x/s?version=${old}`)).to.include({ count: 0 });
    expect((await get('', old)).body).to.deep.equal({ rooms: {} });
    for (const unknown of ['99', 'x', '0', '-1', '1e3']) {
      const { status, body } = await put({ rooms: {} }, '', unknown);
      expect([unknown, status, body.errcode]).to.deep.equal([unknown, 404, 'M_NOT_FOUND']);
    }
    expect((await get('', old)).status).to.equal(200);
  });

  it('go with their version, which can be deleted twice, and never gets its number again', async () => {
    await put(session(0, 0, true), '/!a:x/s');
    await server.must(alice, 'DELETE', `/room_keys/version/${version}`);
    await server.must(alice, 'DELETE', `/room_keys/version/${version}`);
    expect((await get()).body.errcode).to.equal('M_NOT_FOUND');
    expect((await server.ask(alice, 'GET', '/room_keys/version')).body.errcode).to.equal('M_NOT_FOUND');
    expect((await server.ask(alice, 'DELETE', '/room_keys/version/77')).body.errcode).to.equal('M_NOT_FOUND');
    expect(Number((await create()).version)).to.be.greaterThan(Number(version));
  });

  it('change only what they say of how they are signed', async () => {
    const path = `/room_keys/version/${version}`;
    await server.must(alice, 'PUT', path, {
      algorithm: ALGORITHM,
      auth_data: { public_key: 'k', signatures: {} },
      version,
    });
    expect((await server.must(alice, 'GET', path)).auth_data).to.deep.equal({ public_key: 'k', signatures: {} });
    for (const wrong of [{ algorithm: 'other' }, { version: '99' }]) {
      const { status, body } = await server.ask(alice, 'PUT', path, { algorithm: ALGORITHM, auth_data: {}, ...wrong });
      expect([status, body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
  });

  it('take a thousand keys at once', async () => {
    const sessions = Object.fromEntries(Array.from({ length: 1_000 }, (_, n) => [`s${n}`, session(n, 0, true)]));
    const before = server.database.statements();
    expect((await put({ rooms: { '!a:x': { sessions } } })).body.count).to.equal(1_000);
    expect(server.database.statements() - before, 'the same for one key and for many').to.be.at.most(20);
    expect(Object.keys((await get('/!a:x')).body.sessions)).to.have.length(1_000);
  });

  /** Sessions that take 930 kB. */
  const large = Object.fromEntries(
    Array.from({ length: 15 }, (_, index) => [`s${index}`, session(0, 0, true, 'x'.repeat(62_000))]),
  );
  const fill = (room: string): ReturnType<typeof put> => put({ sessions: large }, `/${room}`);

  it('are read whole by whoever keeps more in them than may be in flight, a bounded page at a time', async () => {
    for (const room of ['!a:x', '!b:x', '!c:x']) expect((await fill(room)).status).to.equal(200);
    const before = server.database.statements();
    const { status, body } = await get();
    expect(status).to.equal(200);
    expect(server.database.statements() - before, 'three sessions a page').to.be.within(15, 25);
    expect(body).to.deep.equal({
      rooms: { '!a:x': { sessions: large }, '!b:x': { sessions: large }, '!c:x': { sessions: large } },
    });
    expect((await get('/!b:x')).body).to.deep.equal({ sessions: large });
  });

  it('are bounded in bytes over all versions, and what does not fit leaves them as they were', async () => {
    await fill('!a:x');
    await fill('!b:x');
    const old = version;
    ({ version } = await create());
    await fill('!a:x');
    expect((await fill('!b:x')).status).to.equal(200);
    expect((await fill('!c:x')).body.errcode).to.equal('M_TOO_LARGE');
    expect((await server.must(alice, 'GET', '/room_keys/version')).count).to.equal(30);
    await server.must(alice, 'DELETE', `/room_keys/version/${old}`);
    expect((await fill('!c:x')).status).to.equal(200);
  });

  it('hold no session that is larger than 64 KiB', async () => {
    const { body } = await put(session(0, 0, true, 'x'.repeat(65_536)), '/!a:x/s');
    expect(body.errcode).to.equal('M_TOO_LARGE');
  });

  it('refuse what is no key', async () => {
    const good = session(0, 0, true);
    for (const wrong of [
      { ...good, first_message_index: -1 },
      { ...good, forwarded_count: 1.5 },
      { ...good, is_verified: 'yes' },
      { ...good, session_data: 'text' },
    ]) {
      const { status, body } = await put(wrong, '/!a:x/s');
      expect([status, body.errcode], JSON.stringify(wrong)).to.deep.equal([400, 'M_BAD_JSON']);
    }
    expect((await server.ask(alice, 'GET', '/room_keys/keys')).body.errcode).to.equal('M_MISSING_PARAM');
  });

  it('are seen by nobody else', async () => {
    const bob = await server.register();
    await put(session(0, 0, true), '/!a:x/s');
    expect((await server.ask(bob, 'GET', `/room_keys/keys?version=${version}`)).body.errcode).to.equal('M_NOT_FOUND');
    expect((await server.ask(bob, 'GET', '/room_keys/version')).body.errcode).to.equal('M_NOT_FOUND');
  });
});
