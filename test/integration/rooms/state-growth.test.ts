import { expect } from 'chai';
import { type Answer, InProcessServer } from '#test/support/in-process-server.ts';

const MAX_BYTES = 200_000;
const LIMIT = { perSecond: 100, burst: 50_000 };

describe('the state of a room', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let count = 0;

  before(async () => {
    server = await InProcessServer.start({
      config: { room: { maxStateBytes: MAX_BYTES } },
      rateLimits: { state_bytes: LIMIT },
    });
  });
  after(() => server.stop());

  const name = (what: string): string => `${what}${(count += 1)}`;
  const set = (user: string, room: string, key: string, size: number): Promise<Answer> =>
    server.ask(user, 'PUT', `/rooms/${room}/state/org.large/${key}`, { text: 'x'.repeat(size) });
  const outcome = ({ status, body }: Answer): unknown => [status, body.errcode, body['org.tsudoi.limiter']];
  const TOO_LARGE = [413, 'M_TOO_LARGE', undefined];
  const LIMITED = [429, 'M_LIMIT_EXCEEDED', 'state_bytes'];

  it('has a limit in bytes whoever fills it: it may become smaller and be replaced, and everybody can read it', async () => {
    const owner = name('exempt-owner');
    const room = await server.room(owner, { preset: 'public_chat' });
    let filled = 0;
    for (; filled < 10; filled++) if ((await set(owner, room, `k${filled}`, 50_000)).status !== 200) break;
    expect(filled).to.equal(3);
    expect(outcome(await set(owner, room, 'more', 50_000))).to.deep.equal(TOO_LARGE);
    expect(outcome(await set(owner, room, 'k0', 60_000))).to.deep.equal([200, undefined, undefined]);
    expect(outcome(await set(owner, room, 'k1', 100))).to.deep.equal([200, undefined, undefined]);
    expect(outcome(await set(owner, room, 'more', 40_000))).to.deep.equal([200, undefined, undefined]);
    expect(outcome(await set(owner, room, 'k1', 60_000))).to.deep.equal(TOO_LARGE);
    // After a restart as before it. What is replaced is told with what replaces it (prev_content).
    await server.restart();
    expect(outcome(await set(owner, room, 'k1', 60_000))).to.deep.equal(TOO_LARGE);
    const state = await server.ask(owner, 'GET', `/rooms/${room}/state`);
    expect(JSON.stringify(state.body).length).to.be.within(150_000, 2 * MAX_BYTES);
    await server.must(owner, 'PUT', `/rooms/${room}/state/m.room.name/`, { name: 'still to be changed' });
  });

  it('has that limit for those who add to it at the same time as well', async () => {
    const owner = name('exempt-owner');
    const room = await server.room(owner, { preset: 'public_chat' });
    const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => set(owner, room, `k${i}`, 50_000)));
    const taken = answers.filter(({ status }) => status === 200);
    expect(taken).to.have.lengthOf(3);
    for (const answer of answers) if (answer.status !== 200) expect(outcome(answer)).to.deep.equal(TOO_LARGE);
    // A value that is redacted leaves its place to others.
    const [first] = taken;
    await server.must(owner, 'PUT', `/rooms/${room}/redact/${first?.body.event_id}/${name('txn')}`, {});
    expect(outcome(await set(owner, room, 'more', 60_000))).to.deep.equal([200, undefined, undefined]);
    expect(outcome(await set(owner, room, 'too many', 45_000))).to.deep.equal(TOO_LARGE);
  });

  it('says to those who may not set it that they may not, however full it is, and counts nothing of theirs', async () => {
    const owner = name('exempt-owner');
    const room = await server.room(owner, { preset: 'public_chat' });
    for (let i = 0; i < 3; i++) await set(owner, room, `k${i}`, 50_000);
    const other = name('powerless');
    await server.join(other, room);
    for (let i = 0; i < 4; i++)
      expect(outcome(await set(other, room, 'more', 50_000))).to.deep.equal([403, 'M_FORBIDDEN', undefined]);
    const own = await server.room(other);
    // Neither what is another user's.
    for (let i = 0; i < 4; i++)
      expect(outcome(await set(other, own, `@${owner}:test`, 40_000))).to.deep.equal([403, 'M_FORBIDDEN', undefined]);
    expect(outcome(await set(other, own, 'k', 40_000))).to.deep.equal([200, undefined, undefined]);
  });

  it('grows by nothing where a long membership takes the place of one as long', async () => {
    const user = name('member');
    const room = await server.room(user);
    for (let i = 0; i < 6; i++)
      await server.must(user, 'PUT', `/rooms/${room}/state/m.room.member/@${user}:test`, {
        membership: 'join',
        displayname: `name ${i}`,
        text: 'x'.repeat(30_000),
      });
  });

  it('grows by so many bytes of one user, in all rooms and by all ways together', async () => {
    const ways: readonly ((user: string, room: string) => Promise<Answer>)[] = [
      (user, room) => set(user, room, name('k'), 20_000),
      (user) =>
        server.ask(user, 'POST', '/createRoom', {
          initial_state: [{ type: 'org.large', content: { text: 'x'.repeat(20_000) } }],
        }),
      async (user, room) => {
        const path = `/rooms/${room}/state/m.room.member/@${user}:test`;
        // What it takes the place of is not counted.
        await server.must(user, 'PUT', path, { membership: 'join' });
        return server.ask(user, 'PUT', path, { membership: 'join', text: 'x'.repeat(20_000) });
      },
      (user, room) =>
        server.ask(user, 'PUT', `/rooms/${room}/state/m.room.member/@${name('invented')}:test`, {
          membership: 'ban',
          reason: 'x'.repeat(20_000),
        }),
      (user, room) =>
        server.ask(user, 'POST', `/rooms/${room}/ban`, {
          user_id: `@${name('invented')}:test`,
          reason: 'x'.repeat(20_000),
        }),
    ];
    for (const way of ways) {
      const user = name('filler');
      const room = await server.room(user);
      const answers: number[] = [];
      for (let i = 0; i < 4; i++) answers.push((await way(user, room)).status);
      expect(answers.slice(-1)).to.deep.equal([429]);
      expect(answers.slice(0, 2)).to.deep.equal([200, 200]);
      for (const other of ways) expect(outcome(await other(user, room))).to.deep.equal(LIMITED);
      // Messages, and what is not large, are free.
      await server.say(user, room, 'x'.repeat(20_000));
      await server.must(user, 'POST', `/rooms/${room}/ban`, { user_id: `@${name('invented')}:test`, reason: 'spam' });
      await server.clock.advance(250_000);
      expect(outcome(await way(user, room))).to.deep.equal([200, undefined, undefined]);
    }
  });

  it('takes so many names of one user of people who never were there, whatever happens to them', async () => {
    const user = name('namer');
    const room = await server.room(user, { preset: 'public_chat' });
    const ban = (target: string): Promise<Answer> =>
      server.ask(user, 'POST', `/rooms/${room}/ban`, { user_id: target, reason: 'spam' });
    let banned = 0;
    while (banned < 200 && (await ban(`@${name('nobody')}:test`)).status === 200) banned += 1;
    expect(banned).to.be.within(90, 100);
    expect(outcome(await ban(`@${name('nobody')}:test`))).to.deep.equal(LIMITED);
    // Who was there costs nothing.
    const visitor = name('visitor');
    await server.join(visitor, room);
    expect((await ban(`@${visitor}:test`)).status).to.equal(200);
  });

  it('grows by nothing where a value takes the place of one as large', async () => {
    const user = name('changer');
    const room = await server.room(user);
    for (let i = 0; i < 12; i++)
      await server.must(user, 'PUT', `/rooms/${room}/state/org.large/one`, { i: i % 10, text: 'x'.repeat(20_000) });
  });
});
