import { expect } from 'chai';
import { type Answer, type Json, InProcessServer } from '#test/support/in-process-server.ts';

const B = '@bob:test';

describe('reading rooms', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const get = (token: string, path: string): Promise<Answer> => server.ask(token, 'GET', path);
  const refused = async (answer: Promise<Answer>, status: number, errcode: string): Promise<void> => {
    const { status: actual, body } = await answer;
    expect([actual, body?.errcode]).to.deep.equal([status, errcode]);
  };
  const messages = (token: string, roomId: string, query: string): Promise<Json> =>
    server.must(token, 'GET', `/rooms/${roomId}/messages?${query}`);
  const filter = (json: object): string => `filter=${encodeURIComponent(JSON.stringify(json))}`;
  const eventPath = (roomId: string, eventId: string): string =>
    `/rooms/${roomId}/event/${encodeURIComponent(eventId)}`;
  const open = async (...tokens: string[]): Promise<string> => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    for (const token of tokens) await server.join(token, roomId);
    return roomId;
  };
  const say = async (roomId: string, ...texts: string[]): Promise<string[]> => {
    const ids: string[] = [];
    for (const text of texts) ids.push(await server.say('alice', roomId, text));
    return ids;
  };

  describe('messages', () => {
    it('pages back to the very start, where end is left out, and forth again to the end', async () => {
      const roomId = await open();
      await say(roomId, '1', '2', '3', '4', '5', '6', '7');
      const back: string[] = [];
      const ids: string[] = [];
      let query = 'dir=b&limit=4';
      for (let pages = 0; ; pages++) {
        const page = await messages('alice', roomId, query);
        back.push(...server.bodies(page));
        ids.push(...page.chunk.map((event: Json) => event.event_id));
        if (page.end === undefined) {
          expect(page.chunk.at(-1).type).to.equal('m.room.create');
          break;
        }
        expect(pages).to.be.lessThan(10);
        query = `dir=b&limit=4&from=${page.end}`;
      }
      expect(back).to.deep.equal(['7', '6', '5', '4', '3', '2', '1']);
      expect(new Set(ids).size).to.equal(ids.length);
      const forth: string[] = [];
      query = 'dir=f&limit=4';
      for (;;) {
        const page = await messages('alice', roomId, query);
        forth.push(...page.chunk.map((event: Json) => event.event_id));
        if (page.end === undefined) break;
        query = `dir=f&limit=4&from=${page.end}`;
      }
      expect(forth).to.deep.equal(ids.toReversed());
    });
    it('turns around at a token: what dir=b gave comes again with dir=f', async () => {
      const roomId = await open();
      await say(roomId, '1', '2', '3', '4');
      const page = await messages('alice', roomId, 'dir=b&limit=2');
      expect(server.bodies(page)).to.deep.equal(['4', '3']);
      expect(server.bodies(await messages('alice', roomId, `dir=f&limit=9&from=${page.end}`))).to.deep.equal([
        '3',
        '4',
      ]);
      expect(server.bodies(await messages('alice', roomId, `dir=b&limit=9&from=${page.start}`))).to.deep.equal([
        '4',
        '3',
        '2',
        '1',
      ]);
    });
    it('takes sync tokens: backwards what had arrived, forwards what came since', async () => {
      const roomId = await open();
      await say(roomId, '1', '2', '3', '4');
      const token = server.syncToken();
      await say(roomId, '5', '6');
      const back = await messages('alice', roomId, `dir=b&limit=4&from=${token}`);
      expect(server.bodies(back)).to.deep.equal(['4', '3', '2', '1']);
      expect(back.start).to.equal(token);
      expect(server.bodies(await messages('alice', roomId, `dir=f&from=${token}`))).to.deep.equal(['5', '6']);
    });
    it('stops at to, which may be a sync token too', async () => {
      const roomId = await open();
      await say(roomId, '1', '2');
      const token = server.syncToken();
      await say(roomId, '3', '4');
      const first = await messages('alice', roomId, 'dir=b&limit=1');
      expect(server.bodies(await messages('alice', roomId, `dir=b&limit=50&to=${token}`))).to.deep.equal(['4', '3']);
      expect(server.bodies(await messages('alice', roomId, `dir=b&limit=50&to=${first.end}`))).to.deep.equal(['4']);
      expect(server.bodies(await messages('alice', roomId, `dir=f&limit=50&to=${token}`))).to.deep.equal(['1', '2']);
      expect(server.bodies(await messages('alice', roomId, `dir=f&limit=50&to=${first.end}`))).to.deep.equal([
        '1',
        '2',
        '3',
      ]);
    });
    it('filters by types, senders and url', async () => {
      const roomId = await open('bob');
      await say(roomId, 'hers');
      await server.say('bob', roomId, 'his');
      await server.must('bob', 'PUT', `/rooms/${roomId}/send/m.room.message/u`, {
        msgtype: 'm.file',
        body: 'file',
        url: 'mxc://test/a',
      });
      await server.must('bob', 'PUT', `/rooms/${roomId}/send/x.y.z/u`, { body: 'custom' });
      const bodies = async (json: object): Promise<string[]> =>
        (await messages('alice', roomId, `dir=b&limit=20&${filter(json)}`)).chunk.map(
          (event: Json) => event.content.body ?? event.type,
        );
      expect(await bodies({ types: ['m.room.message'] })).to.deep.equal(['file', 'his', 'hers']);
      expect(await bodies({ types: ['x.*'] })).to.deep.equal(['custom']);
      expect(await bodies({ senders: [B], types: ['m.room.message'] })).to.deep.equal(['file', 'his']);
      expect(await bodies({ not_senders: [B], types: ['m.room.message'] })).to.deep.equal(['hers']);
      expect(await bodies({ contains_url: true })).to.deep.equal(['file']);
      expect(await bodies({ types: ['m.room.message'], contains_url: false })).to.deep.equal(['his', 'hers']);
      expect(await bodies({ types: [] })).to.deep.equal([]);
      expect(await bodies({ limit: 1, types: ['m.room.message'] })).to.deep.equal(['file']);
    });
    it('filters by relations', async () => {
      const roomId = await open('bob');
      const [root, other] = (await say(roomId, 'root', 'other')) as [string, string];
      await server.must('bob', 'PUT', `/rooms/${roomId}/send/m.room.message/rel`, {
        msgtype: 'm.text',
        body: 'reply',
        'm.relates_to': { rel_type: 'm.thread', event_id: root },
      });
      const ids = async (json: object): Promise<string[]> =>
        (await messages('alice', roomId, `dir=b&limit=20&${filter(json)}`)).chunk.map((event: Json) => event.event_id);
      expect(await ids({ related_by_rel_types: ['m.thread'] })).to.deep.equal([root]);
      expect(await ids({ related_by_senders: [B] })).to.deep.equal([root]);
      expect(await ids({ related_by_senders: ['@alice:test'] })).to.deep.equal([]);
      expect(other).to.be.a('string');
    });
    it('filters by how events relate to others, by the name that this has until it is specified', async () => {
      const roomId = await open('bob');
      const [root] = (await say(roomId, 'root')) as [string];
      for (const type of ['m.thread', 'm.reference'])
        await server.must('bob', 'PUT', `/rooms/${roomId}/send/m.room.message/${type}`, {
          msgtype: 'm.text',
          body: type,
          'm.relates_to': { rel_type: type, event_id: root },
        });
      const bodies = async (json: object): Promise<string[]> =>
        server.bodies(
          await messages('alice', roomId, `dir=f&limit=20&${filter({ types: ['m.room.message'], ...json })}`),
        );
      const types = (...names: string[]): object => ({ 'org.matrix.msc3874.rel_types': names });
      const notTypes = (...names: string[]): object => ({ 'org.matrix.msc3874.not_rel_types': names });
      expect(await bodies(types('m.thread'))).to.deep.equal(['m.thread']);
      expect(await bodies(types('m.thread', 'm.reference'))).to.deep.equal(['m.thread', 'm.reference']);
      expect(await bodies(types())).to.deep.equal([]);
      expect(await bodies(notTypes('m.thread'))).to.deep.equal(['root', 'm.reference']);
      expect(await bodies(notTypes())).to.deep.equal(['root', 'm.thread', 'm.reference']);
      expect(await bodies({ ...types('m.thread', 'm.reference'), ...notTypes('m.thread') })).to.deep.equal([
        'm.reference',
      ]);
    });
    it('sends the members who speak along when asked to load members lazily', async () => {
      const roomId = await open('bob', 'carol');
      await server.say('bob', roomId, 'hi');
      const page = await messages('alice', roomId, `dir=b&limit=1&${filter({ lazy_load_members: true })}`);
      expect(page.state.map((event: Json) => event.state_key)).to.deep.equal([B]);
      expect(await messages('alice', roomId, 'dir=b&limit=1')).not.to.have.property('state');
    });
    it('works without from, and answers 400 for tokens, filters and directions that are none', async () => {
      const roomId = await open();
      await refused(get('alice', `/rooms/${roomId}/messages?dir=b&from=nonsense`), 400, 'M_INVALID_PARAM');
      await refused(get('alice', `/rooms/${roomId}/messages?dir=b&filter={`), 400, 'M_NOT_JSON');
      await refused(get('alice', `/rooms/${roomId}/messages?dir=b&filter={"types":1}`), 400, 'M_BAD_JSON');
      await refused(get('alice', `/rooms/${roomId}/messages?dir=x`), 400, 'M_INVALID_PARAM');
      await refused(get('alice', `/rooms/!nothing:test/messages?dir=b`), 403, 'M_FORBIDDEN');
      await refused(get('bob', `/rooms/${roomId}/messages?dir=b`), 403, 'M_FORBIDDEN');
    });
    it('goes forwards without dir, and is 403 without dir as well in rooms that one may not read', async () => {
      const roomId = await open();
      await say(roomId, 'first');
      expect(await messages('alice', roomId, 'limit=50')).to.deep.equal(
        await messages('alice', roomId, 'dir=f&limit=50'),
      );
      for (const path of [
        `/rooms/${roomId}/messages`,
        `/rooms/!nothing:test/messages`,
        `/rooms/${roomId}/messages?dir=`,
      ])
        await refused(get('bob', path), 403, 'M_FORBIDDEN');
    });
    it('tells the reader their membership at each event', async () => {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await say(roomId, 'before');
      await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: B });
      await say(roomId, 'invited');
      await server.join('bob', roomId);
      await say(roomId, 'joined');
      const page = await messages('bob', roomId, 'dir=f&limit=50');
      const seen = page.chunk.slice(-5).map((event: Json) => event.unsigned.membership);
      expect(seen).to.deep.equal(['leave', 'invite', 'invite', 'join', 'join']);
      for (const event of page.chunk) expect(event.unsigned.membership, event.type).to.be.a('string');
    });
    it('reads one page of a busy room in one statement', async () => {
      const roomId = await open('bob');
      await say(roomId, '1', '2', '3');
      await messages('bob', roomId, 'dir=b&limit=3');
      expect(await server.statements(() => messages('bob', roomId, 'dir=b&limit=3'))).to.equal(1);
    });
  });

  describe('history visibility', () => {
    /** What bob sees of a room in which something was said before his invite, before his join, and after it. */
    const seen = async (visibility: string): Promise<string[]> => {
      const roomId = await server.room('alice', {
        initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility: visibility } }],
      });
      await say(roomId, 'before');
      await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: B });
      await say(roomId, 'invited');
      await server.join('bob', roomId);
      await say(roomId, 'joined');
      return server.bodies(await messages('bob', roomId, 'dir=f&limit=50'));
    };
    it('shows members everything when shared or world_readable', async () => {
      expect(await seen('shared')).to.deep.equal(['before', 'invited', 'joined']);
      expect(await seen('world_readable')).to.deep.equal(['before', 'invited', 'joined']);
    });
    it('shows what came since the invite when invited, and since the join when joined', async () => {
      expect(await seen('invited')).to.deep.equal(['invited', 'joined']);
      expect(await seen('joined')).to.deep.equal(['joined']);
    });
    it('judges each event by the visibility of its time', async () => {
      const roomId = await open();
      await say(roomId, 'shared');
      await server.setState('alice', roomId, 'm.room.history_visibility', { history_visibility: 'joined' });
      const [hidden = ''] = await say(roomId, 'hidden');
      await server.setState('alice', roomId, 'm.room.history_visibility', { history_visibility: 'shared' });
      await say(roomId, 'shared again');
      await server.join('bob', roomId);
      for (const restart of [false, true]) {
        if (restart) await server.restart();
        expect(server.bodies(await messages('bob', roomId, 'dir=f&limit=50'))).to.deep.equal([
          'shared',
          'shared again',
        ]);
        await refused(get('bob', eventPath(roomId, hidden)), 404, 'M_NOT_FOUND');
        await refused(get('bob', `/rooms/${roomId}/context/${encodeURIComponent(hidden)}`), 404, 'M_NOT_FOUND');
      }
    });
    it('opens world-readable rooms to strangers and guests, from that event on', async () => {
      const roomId = await open();
      const [before = ''] = await say(roomId, 'private');
      await server.setState('alice', roomId, 'm.room.history_visibility', { history_visibility: 'world_readable' });
      const [after = ''] = await say(roomId, 'public');
      for (const token of ['stranger', 'guest-2']) {
        expect(server.bodies(await messages(token, roomId, 'dir=b&limit=50'))).to.deep.equal(['public']);
        expect((await get(token, `/rooms/${roomId}/state`)).status).to.equal(200);
        expect((await get(token, eventPath(roomId, after))).body.unsigned.membership).to.equal('leave');
        await refused(get(token, eventPath(roomId, before)), 404, 'M_NOT_FOUND');
      }
    });
    it('is never 403 for a single event', async () => {
      const roomId = await server.room('alice');
      const [eventId = ''] = await say(roomId, 'x');
      await refused(get('stranger', eventPath(roomId, eventId)), 404, 'M_NOT_FOUND');
      await refused(get('stranger', eventPath('!nothing:test', eventId)), 404, 'M_NOT_FOUND');
      await refused(get('alice', eventPath(await server.room('alice'), eventId)), 404, 'M_NOT_FOUND');
    });
  });

  describe('context', () => {
    it('gives what stands around an event, and tokens that go on from there', async () => {
      const roomId = await open('bob');
      const ids = await say(roomId, '1', '2', '3', '4', '5', '6', '7');
      const path = `/rooms/${roomId}/context/${encodeURIComponent(ids[3] ?? '')}`;
      const context = await server.must('bob', 'GET', `${path}?limit=4`);
      const bodies = (events: Json[]): string[] => events.map((event) => event.content.body);
      expect(context.event.content.body).to.equal('4');
      expect(bodies(context.events_before)).to.deep.equal(['3', '2']);
      expect(bodies(context.events_after)).to.deep.equal(['5', '6']);
      expect(server.bodies(await messages('bob', roomId, `dir=b&limit=1&from=${context.start}`))).to.deep.equal(['1']);
      expect(server.bodies(await messages('bob', roomId, `dir=f&limit=9&from=${context.end}`))).to.deep.equal(['7']);
      expect(context.state.some((event: Json) => event.type === 'm.room.create')).to.equal(true);
      const alone = await server.must('bob', 'GET', `${path}?limit=0`);
      expect([alone.events_before, alone.events_after, alone.event.content.body]).to.deep.equal([[], [], '4']);
      expect(server.bodies(await messages('bob', roomId, `dir=f&limit=1&from=${alone.end}`))).to.deep.equal(['5']);
    });
    it('gives the state at the last event, with only those members who speak when lazy', async () => {
      const roomId = await open('bob', 'carol');
      await server.setState('alice', roomId, 'm.room.topic', { topic: 'then' });
      const [eventId = ''] = await say(roomId, 'x');
      await server.setState('alice', roomId, 'm.room.topic', { topic: 'now' });
      const path = `/rooms/${roomId}/context/${encodeURIComponent(eventId)}`;
      const context = await server.must('bob', 'GET', `${path}?limit=0&${filter({ lazy_load_members: true })}`);
      const of = (type: string): Json[] => context.state.filter((event: Json) => event.type === type);
      expect(of('m.room.topic')[0].content.topic).to.equal('then');
      expect(of('m.room.member').map((event) => event.state_key)).to.deep.equal(['@alice:test']);
    });
    it('is 404 for an event that is not there', async () => {
      await refused(
        get('alice', `/rooms/${await open()}/context/${encodeURIComponent('$nothing')}`),
        404,
        'M_NOT_FOUND',
      );
    });
  });
});
