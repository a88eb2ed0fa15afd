import { expect } from 'chai';
import { type Json, InProcessServer } from '#test/support/in-process-server.ts';

const BOB = '@bob:test';

describe('events, as they are served', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let txn = 0;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const open = async (...tokens: string[]): Promise<string> => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    for (const token of tokens) await server.join(token, roomId);
    return roomId;
  };
  const filter = (json: object): string => `filter=${encodeURIComponent(JSON.stringify(json))}`;
  const messages = (token: string, roomId: string, query: string): Promise<Json> =>
    server.must(token, 'GET', `/rooms/${roomId}/messages?${query}`);
  const rename = (token: string, roomId: string, displayname: string): Promise<string> =>
    server.setState(token, roomId, 'm.room.member', { membership: 'join', displayname }, `@${token}:test`);
  const reply = async (token: string, roomId: string, root: string, body: string): Promise<string> =>
    (
      await server.must(token, 'PUT', `/rooms/${roomId}/send/m.room.message/d${(txn += 1)}`, {
        msgtype: 'm.text',
        body,
        'm.relates_to': { rel_type: 'm.thread', event_id: root },
      })
    ).event_id;
  const ignore = (token: string, ...users: string[]): Promise<void> =>
    server.services.accountData.setByClient(`@${token}:test`, 0, 'm.ignored_user_list', {
      ignored_users: Object.fromEntries(users.map((user) => [user, {}])),
    });

  it('leave out what ignored users say, also where that is asked for, but not their state', async () => {
    const roomId = await open('bob', 'erin');
    await server.say('alice', roomId, 'one');
    const his = await server.say('bob', roomId, 'his');
    await rename('bob', roomId, 'Bob');
    await server.say('alice', roomId, 'two');
    await ignore('erin', BOB);
    for (const limit of [1, 50]) {
      const seen: Json[] = [];
      for (
        let from = '', page: Json = {};
        page.chunk === undefined || page.end !== undefined;
        from = `&from=${page.end}`
      ) {
        page = await messages('erin', roomId, `dir=b&limit=${limit}${from}`);
        seen.push(...page.chunk);
      }
      expect(server.bodies({ chunk: seen })).to.deep.equal(['two', 'one']);
      expect(seen.some(({ content }) => content.displayname === 'Bob')).to.equal(true);
    }
    const context = await server.ask('erin', 'GET', `/rooms/${roomId}/context/${encodeURIComponent(his)}?limit=20`);
    expect([context.status, context.body['errcode']]).to.deep.equal([404, 'M_NOT_FOUND']);
    const first = (await messages('erin', roomId, `dir=b&limit=20&${filter({ types: ['m.room.message'] })}`)).chunk[1];
    const around = await server.must(
      'erin',
      'GET',
      `/rooms/${roomId}/context/${encodeURIComponent(first.event_id)}?limit=8`,
    );
    expect(server.bodies({ chunk: around.events_after })).to.deep.equal(['two']);
    expect(server.bodies(await messages('alice', roomId, 'dir=b&limit=50'))).to.deep.equal(['two', 'his', 'one']);
  });

  it('say where to go on beyond to, as long as there was something before it', async () => {
    const roomId = await open();
    for (const text of ['1', '2', '3', '4']) await server.say('alice', roomId, text);
    for (const dir of ['b', 'f']) {
      const first = await messages('alice', roomId, `dir=${dir}&limit=8`);
      const short = await messages('alice', roomId, `dir=${dir}&limit=50&to=${first.end}`);
      expect(short.chunk).to.have.length(8);
      const rest = await messages('alice', roomId, `dir=${dir}&limit=50&from=${short.end}`);
      expect(rest.chunk.length).to.be.above(0);
      expect(rest.end).to.equal(undefined);
      const nothing = await messages('alice', roomId, `dir=${dir}&limit=50&from=${short.end}&to=${first.end}`);
      expect([nothing.chunk, nothing.end]).to.deep.equal([[], undefined]);
    }
  });

  it('come with all members who speak, also forwards, when members are loaded lazily', async () => {
    const roomId = await open();
    await server.say('alice', roomId, 'alone');
    await server.join('bob', roomId);
    await server.say('bob', roomId, 'newcomer');
    const lazy = filter({ lazy_load_members: true, types: ['m.room.message'] });
    for (const dir of ['b', 'f']) {
      const page = await messages('alice', roomId, `dir=${dir}&limit=50&${lazy}`);
      expect(page.state.map((event: Json) => event.state_key)).to.have.members(['@alice:test', BOB]);
    }
    const none = await messages('alice', roomId, `dir=f&limit=50&${filter({ lazy_load_members: true, types: [] })}`);
    expect(none.state ?? []).to.deep.equal([]);
  });

  it('tell the membership of the reader at every event of the state, however often they came and went', async () => {
    const roomId = await open();
    for (let i = 0; i < 10; i++) {
      await server.setState('alice', roomId, 'x.y', {}, `leave ${i}`);
      await server.join('bob', roomId);
      await rename('bob', roomId, `Bob ${i}`);
      await server.setState('alice', roomId, 'x.y', {}, `join ${i}`);
      if (i < 9) await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
    }
    const check = async (): Promise<void> => {
      const state: Json[] = await server.must('bob', 'GET', `/rooms/${roomId}/state`);
      for (const { type, state_key: key, unsigned } of state) {
        const expected = type === 'x.y' ? key.split(' ')[0] : key === BOB ? 'join' : 'leave';
        expect(unsigned.membership, `${type} ${key}`).to.equal(expected);
      }
    };
    await check();
    await server.restart();
    await check();
  });

  it('list threads in which the reader may see but the latest reply', async () => {
    const roomId = await open('bob');
    const roots = [await server.say('alice', roomId, 'first'), await server.say('alice', roomId, 'second')];
    for (const root of roots) await reply('bob', roomId, root, 'seen');
    await server.setState('alice', roomId, 'm.room.history_visibility', { history_visibility: 'joined' });
    await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
    const secret = await reply('alice', roomId, roots[0] ?? '', 'unseen');
    await server.join('bob', roomId);
    const list = async (token: string, more = ''): Promise<Json[]> => {
      const seen: Json[] = [];
      for (
        let from = '', page: Json = {};
        page.chunk === undefined || page.next_batch !== undefined;
        from = `&from=${page.next_batch}`
      ) {
        page = await server.must(token, 'GET', `/v1/rooms/${roomId}/threads?limit=1${from}${more}`);
        seen.push(...page.chunk);
      }
      return seen;
    };
    expect((await list('alice')).map((event) => event.event_id)).to.deep.equal(roots);
    for (const more of ['', '&include=participated']) {
      const his = await list('bob', more);
      expect(his.map((event) => event.event_id)).to.deep.equal(roots);
      for (const root of his)
        expect(root.unsigned['m.relations']['m.thread'].latest_event.content.body).to.equal('seen');
      expect(JSON.stringify(his)).not.to.contain(secret);
    }
  });
});
