import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { ask, must } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';

const BASE = '/_matrix/client/unstable/org.matrix.msc4140';

describe('delayed events of a server that is killed', function () {
  this.timeout(90_000);
  let server: ChildServer;
  let token: string;
  let room: string;

  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
    ({ access_token: token } = await must(server.url, 'POST', '/register', {
      body: { username: 'alice', password: 'correct horse battery', auth: { type: 'm.login.dummy' } },
    }));
    ({ room_id: room } = await must(server.url, 'POST', '/createRoom', { token, body: {} }));
  });
  after(() => server?.dispose());

  const schedule = async (name: string, delay: number): Promise<string> => {
    const body = { delay_ms: delay, content: { msgtype: 'm.text', body: name } };
    const path = `${BASE}/rooms/${room}/delayed_event/m.room.message/${name}`;
    return (await must(server.url, 'PUT', path, { token, body })).delay_id;
  };
  const scheduledNow = async (): Promise<number> =>
    (await must(server.url, 'GET', `${BASE}/delayed_events`, { token })).delayed_events.length;
  const bodies = async (): Promise<string[]> => {
    const page = await must(server.url, 'GET', `/rooms/${room}/messages?dir=b&limit=500`, { token });
    return page.chunk
      .filter((event: { type: string }) => event.type === 'm.room.message')
      .map((event: { content: { body: string } }) => event.content.body)
      .reverse();
  };
  const untilAllSent = (): Promise<boolean> => until('all are sent', async () => (await scheduledNow()) === 0);

  it('are each sent exactly once, whenever the server is killed', async () => {
    const expected: string[] = [];
    for (let life = 0; life < 3; life++) {
      // Most of them fall due around the moment at which the process dies.
      await Promise.all(
        Array.from({ length: 30 }, async (_, index) => {
          const name = `life${life}-${index}`;
          await schedule(name, 400 + index * 10);
          expected.push(name);
        }),
      );
      const isOfThisLife = (body: string): boolean => body.startsWith(`life${life}-`);
      await until('some are sent', async () => (await bodies()).filter(isOfThisLife).length > 3 * life);
      await server.kill('SIGKILL');
      await server.launch();
    }
    await untilAllSent();
    const sent = await bodies();
    expect([...sent].sort()).to.deep.equal([...expected].sort());
  });

  it('keep what was done to them', async () => {
    const before = (await bodies()).length;
    const cancelled = await schedule('never', 60_000);
    const restarted = await schedule('later', 60_000);
    await must(server.url, 'POST', `${BASE}/delayed_events/${cancelled}/cancel`);
    await must(server.url, 'POST', `${BASE}/delayed_events/${restarted}/restart`);
    const known = await must(server.url, 'GET', `${BASE}/delayed_events/${restarted}`, { token });
    await server.kill('SIGKILL');
    await server.launch();
    expect(await must(server.url, 'GET', `${BASE}/delayed_events/${restarted}`, { token })).to.deep.equal(known);
    expect((await ask(server.url, 'POST', `${BASE}/delayed_events/${cancelled}/send`)).status).to.equal(409);
    await must(server.url, 'POST', `${BASE}/delayed_events/${restarted}/send`);
    expect((await bodies()).slice(before)).to.deep.equal(['later']);
  });
});
