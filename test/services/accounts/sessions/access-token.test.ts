import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { jwtVerify } from 'jose';
import { AccessTokens } from '#src/services/accounts/sessions/access-token.ts';
import { LiveSessions, type LiveToken } from '#src/services/accounts/sessions/live-sessions.ts';
import { makeSessionKey, openSessionKey } from '#src/services/accounts/sessions/session-key.ts';

const claims = { userId: '@ä:a.test', deviceId: 'D', sessionId: 'S', generation: 3, expiresTs: undefined };

describe('access tokens', () => {
  it('are JSON Web Tokens that jose accepts', async () => {
    const key = makeSessionKey();
    const token = new AccessTokens(key, 'a.test').sign({ ...claims, expiresTs: Date.UTC(2200, 0, 1) });
    const { payload, protectedHeader } = await jwtVerify(token, key.publicKey, { issuer: 'a.test' });
    expect(protectedHeader.alg).to.equal('EdDSA');
    expect(payload).to.deep.include({ sub: '@ä:a.test', did: 'D', jti: 'S', gen: 3, exp: Date.UTC(2200, 0, 1) / 1000 });
  });

  it('are read back, and nothing that another key signed, that names another server or was changed', () => {
    const key = makeSessionKey();
    const tokens = new AccessTokens(key, 'a.test');
    const token = tokens.sign(claims);
    expect(tokens.read(token)).to.deep.equal(claims);
    expect(new AccessTokens(key, 'b.test').read(token)).to.equal(undefined);
    expect(new AccessTokens(makeSessionKey(), 'a.test').read(token)).to.equal(undefined);
    for (let place = 0; place < token.length - 1; place += 7) {
      const changed = token.slice(0, place) + (token[place] === 'A' ? 'B' : 'A') + token.slice(place + 1);
      expect(tokens.read(changed), String(place)).to.equal(undefined);
    }
    for (const nonsense of ['', '.', '..', 'a.b.c', token.slice(0, token.lastIndexOf('.') + 1)])
      expect(tokens.read(nonsense)).to.equal(undefined);
  });

  it('have one spelling: what only decodes to the same is none', () => {
    const tokens = new AccessTokens(makeSessionKey(), 'a.test');
    const token = tokens.sign(claims);
    const signature = token.slice(token.lastIndexOf('.') + 1);
    const bytes = Buffer.from(signature, 'base64url');
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
    // The last character carries four bits that nobody needs.
    const sameBits = [...alphabet].filter(
      (last) =>
        last !== signature.at(-1) && Buffer.from(signature.slice(0, -1) + last, 'base64url').compare(bytes) === 0,
    );
    expect(sameBits).not.to.have.length(0);
    const spellings = [
      ...sameBits.map((last) => token.slice(0, -1) + last),
      ...['=', '==', '!', '.', ' ', '%', '\n', 'A'].map((more) => token + more),
      `${token.slice(0, -5)}!${token.slice(-5)}`,
    ];
    if (/[-_]/.test(signature)) spellings.push(token.slice(0, -signature.length) + bytes.toString('base64'));
    for (const spelling of spellings) expect(tokens.read(spelling), spelling).to.equal(undefined);
    expect(tokens.read(token)).to.deep.equal(claims);
  });

  it('do not expire before what the client is told', () => {
    const tokens = new AccessTokens(makeSessionKey(), 'a.test');
    expect(tokens.read(tokens.sign({ ...claims, expiresTs: 1_500 }))?.expiresTs).to.equal(2_000);
  });
});

describe('the key of access tokens', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-session-key-'));
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('is made once, readable by its owner only, and found again', async () => {
    const path = join(folder, 'session.key');
    const made = await openSessionKey(path);
    expect((await stat(path)).mode & 0o777).to.equal(0o600);
    const found = await openSessionKey(path);
    const token = new AccessTokens(made, 'a.test').sign(claims);
    expect(new AccessTokens(found, 'a.test').read(token)).to.deep.equal(claims);
    expect(await readFile(path, 'utf8')).to.include('PRIVATE KEY');
  });

  it('is refused when it is something else', async () => {
    const path = join(folder, 'session.key');
    await writeFile(path, 'not a key');
    expect(await openSessionKey(path).catch((error: unknown) => error)).to.be.an('error');
  });
});

describe('LiveSessions', () => {
  const live = (userId: string, sessionId: string): LiveToken => ({
    requester: { userId, deviceId: sessionId, isGuest: false, isAdmin: false, rateLimited: true },
    userId,
    sessionId,
    locked: false,
    accountExpiresTs: Infinity,
    expiresTs: Infinity,
  });

  it('drops the tokens of one session or of a whole user', () => {
    const sessions = new LiveSessions(10);
    sessions.set('t1', live('@a', 's1'));
    sessions.set('t2', live('@a', 's2'));
    sessions.set('t3', live('@b', 's3'));
    sessions.drop('@a', ({ sessionId }) => sessionId === 's1');
    expect([sessions.get('t1'), sessions.get('t2')?.sessionId]).to.deep.equal([undefined, 's2']);
    sessions.drop('@a');
    expect([sessions.get('t2'), sessions.get('t3')?.sessionId]).to.deep.equal([undefined, 's3']);
  });

  it('still drops a token that was set twice', () => {
    const sessions = new LiveSessions(10);
    sessions.set('t', live('@a', 's'));
    sessions.set('t', live('@a', 's'));
    sessions.drop('@a');
    expect(sessions.get('t')).to.equal(undefined);
  });

  it('is bounded', () => {
    const sessions = new LiveSessions(100);
    for (let index = 0; index < 1000; index += 1) sessions.set(`t${index}`, live(`@${index}`, 's'));
    expect(sessions.size).to.equal(100);
  });
});
