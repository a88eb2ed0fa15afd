import { expect } from 'chai';
import { type Answer, type Json, InProcessServer } from '#test/support/in-process-server.ts';

const B = '@bob:test';

describe('the state and the members of rooms', function () {
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

  describe('those who left', () => {
    it('see state, members and history as of when they did', async () => {
      const roomId = await open('bob');
      await server.setState('alice', roomId, 'm.room.topic', { topic: 'then' });
      await say(roomId, 'then');
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
      const token = server.syncToken();
      await server.setState('alice', roomId, 'm.room.topic', { topic: 'now' });
      await server.setState('alice', roomId, 'm.new', {});
      await server.join('carol', roomId);
      await say(roomId, 'now');
      for (const restart of [false, true]) {
        if (restart) await server.restart();
        expect(await server.must('bob', 'GET', `/rooms/${roomId}/state/m.room.topic`)).to.deep.equal({ topic: 'then' });
        await refused(get('bob', `/rooms/${roomId}/state/m.new`), 404, 'M_NOT_FOUND');
        await refused(get('bob', `/rooms/${roomId}/state/m.room.member/@carol:test`), 404, 'M_NOT_FOUND');
        expect((await server.must('bob', 'GET', `/rooms/${roomId}/state/m.room.member/${B}`)).membership).to.equal(
          'leave',
        );
        const state = await server.must('bob', 'GET', `/rooms/${roomId}/state`);
        expect(
          state.filter((event: Json) => event.type === 'm.room.topic').map((event: Json) => event.content.topic),
        ).to.deep.equal(['then']);
        const members = await server.must('bob', 'GET', `/rooms/${roomId}/members`);
        expect(members.chunk.map((event: Json) => event.state_key).toSorted()).to.deep.equal(['@alice:test', B]);
        expect(server.bodies(await messages('bob', roomId, 'dir=b&limit=50'))).to.deep.equal(['then']);
        expect((await messages('bob', roomId, `dir=f&limit=50&from=${token}`)).chunk).to.deep.equal([]);
        await refused(get('bob', `/rooms/${roomId}/joined_members`), 403, 'M_FORBIDDEN');
      }
    });
    it('see no room whose invite they rejected', async () => {
      const roomId = await server.room('alice', { invite: [B] });
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
      await refused(get('bob', `/rooms/${roomId}/state`), 403, 'M_FORBIDDEN');
    });
    it('keep their view when they are banned or invited again', async () => {
      const roomId = await open('bob');
      await say(roomId, 'then');
      await server.must('alice', 'POST', `/rooms/${roomId}/kick`, { user_id: B });
      await say(roomId, 'now');
      await server.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: B });
      expect(server.bodies(await messages('bob', roomId, 'dir=b&limit=50'))).to.deep.equal(['then']);
    });
  });

  it('tells the reader their membership at each event of the state', async () => {
    const roomId = await open('bob');
    await server.setState('alice', roomId, 'm.room.topic', { topic: 't' });
    const labels = (events: Json): Json =>
      Object.fromEntries(events.map((event: Json) => [`${event.type} ${event.state_key}`, event.unsigned.membership]));
    const state = labels(await server.must('bob', 'GET', `/rooms/${roomId}/state`));
    expect(state['m.room.create ']).to.equal('leave');
    expect(state[`m.room.member ${B}`]).to.equal('join');
    expect(state['m.room.topic ']).to.equal('join');
    const members = labels((await server.must('bob', 'GET', `/rooms/${roomId}/members`)).chunk);
    expect(members).to.deep.equal({ 'm.room.member @alice:test': 'leave', [`m.room.member ${B}`]: 'join' });
    const topic = await server.must('bob', 'GET', `/rooms/${roomId}/state/m.room.topic?format=event`);
    expect(topic.unsigned.membership).to.equal('join');
  });

  describe('members', () => {
    it('are listed by membership, and as of a token of /sync or /messages', async () => {
      const roomId = await open('bob');
      const then = server.syncToken();
      const place = (await messages('alice', roomId, 'dir=b&limit=1')).start;
      await server.join('carol', roomId);
      await server.must('bob', 'POST', `/rooms/${roomId}/leave`, {});
      const keys = async (query: string): Promise<string[]> =>
        (await server.must('alice', 'GET', `/rooms/${roomId}/members${query}`)).chunk
          .map((event: Json) => event.state_key)
          .toSorted();
      expect(await keys('')).to.deep.equal(['@alice:test', B, '@carol:test']);
      expect(await keys('?membership=join')).to.deep.equal(['@alice:test', '@carol:test']);
      expect(await keys('?not_membership=join')).to.deep.equal([B]);
      for (const at of [then, place]) {
        expect(await keys(`?at=${at}`)).to.deep.equal(['@alice:test', B]);
        expect(await keys(`?at=${at}&membership=join`)).to.deep.equal(['@alice:test', B]);
      }
      await refused(get('alice', `/rooms/${roomId}/members?at=x`), 400, 'M_INVALID_PARAM');
      await refused(get('alice', `/rooms/${roomId}/members?membership=x`), 400, 'M_INVALID_PARAM');
    });
    it('who are joined are listed with their profiles, in which null stands for what is not set', async () => {
      await server.setProfile('bob', { displayname: 'Bob', avatar_url: 'mxc://test/b' });
      const roomId = await open('bob');
      const { joined } = await server.must('alice', 'GET', `/rooms/${roomId}/joined_members`);
      expect(joined).to.deep.equal({
        '@alice:test': { display_name: null, avatar_url: null },
        [B]: { display_name: 'Bob', avatar_url: 'mxc://test/b' },
      });
      await refused(get('stranger', `/rooms/${roomId}/joined_members`), 403, 'M_FORBIDDEN');
      await server.setProfile('bob', {});
    });
  });

  it('serves a state event whole when asked for format=event', async () => {
    const roomId = await open();
    const eventId = await server.setState('alice', roomId, 'm.room.topic', { topic: 't' });
    const event = await server.must('alice', 'GET', `/rooms/${roomId}/state/m.room.topic/?format=event`);
    expect([event.event_id, event.content, event.room_id]).to.deep.equal([eventId, { topic: 't' }, roomId]);
    await refused(get('alice', `/rooms/${roomId}/state/m.none`), 404, 'M_NOT_FOUND');
    await refused(get('stranger', `/rooms/${roomId}/state/m.room.topic`), 403, 'M_FORBIDDEN');
  });
});
