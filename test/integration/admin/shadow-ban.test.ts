import { expect } from 'chai';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { StreamClient } from '#test/ws/stream-client.ts';

const ADMIN = 'admin-root';
const PATH = '/_synapse/admin/v1/users/@mallory:test/shadow_ban';
const DELAYED = '/unstable/org.matrix.msc4140/delayed_events';

describe('a user who is shadow-banned', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let room: string;
  /** What bob has been told up to now. */
  let since: string;
  let count = 0;

  /** What bob is told of since he was asked last. */
  const told = async (): Promise<Json> => {
    await server.idle();
    const answer = await server.must('bob', 'GET', `/sync?since=${since}`);
    since = answer.next_batch;
    return answer;
  };
  const nothing = async (what: string): Promise<void> => {
    const { account_data: data, device_lists: lists, rooms, to_device: messages } = await told();
    expect({ data, lists, messages, rooms }, what).to.deep.equal({
      data: undefined,
      lists: undefined,
      messages: undefined,
      rooms: undefined,
    });
  };
  const mallory = (method: string, path: string, body?: object): Promise<Json> =>
    server.must('mallory', method, path, body);
  const send = (content: object, type = 'm.room.message', txnId = `m${(count += 1)}`): Promise<Json> =>
    mallory('PUT', `/rooms/${room}/send/${type}/${txnId}`, content);

  before(async () => {
    server = await InProcessServer.start();
    await server.account(ADMIN);
    room = await server.room('bob', { preset: 'public_chat', room_version: '11' });
    await server.join('mallory', room);
    const levels = { users: { '@bob:test': 100, '@mallory:test': 100 } };
    await server.setState('bob', room, 'm.room.power_levels', levels);
    since = (await server.must('bob', 'GET', '/sync')).next_batch;
    expect(await server.must(ADMIN, 'POST', PATH)).to.deep.equal({});
    await told();
  });
  after(() => server?.stop());

  it('is told the id of each message, which nobody gets, and the same id when the request is repeated', async () => {
    const { event_id: first } = await send({ msgtype: 'm.text', body: 'spam' }, 'm.room.message', 'once');
    expect(first).to.match(/^\$[\w-]{43}$/);
    expect(await send({ msgtype: 'm.text', body: 'spam' }, 'm.room.message', 'once')).to.deep.equal({
      event_id: first,
    });
    expect((await send({ msgtype: 'm.text', body: 'spam' })).event_id).not.to.equal(first);
    await nothing('messages');
    expect((await server.ask('bob', 'GET', `/rooms/${room}/event/${encodeURIComponent(first)}`)).status).to.equal(404);
  });

  it('is refused what others are refused', async () => {
    const asked = await server.ask('mallory', 'PUT', `/rooms/${room}/send/m.room.message/bad`, {
      body: 7,
      msgtype: 'm.text',
    });
    expect(asked.status).to.equal(400);
    const elsewhere = await server.room('bob');
    const { body, status } = await server.ask('mallory', 'PUT', `/rooms/${elsewhere}/send/m.room.message/x`, {});
    expect([status, body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    await told();
  });

  it('changes, redacts, invites, removes and bans nothing and nobody', async () => {
    const said = await server.say('bob', room, 'to be redacted');
    await server.join('carol', room);
    await told();
    const state = await mallory('PUT', `/rooms/${room}/state/m.room.topic/`, { topic: 'spam' });
    expect(await mallory('PUT', `/rooms/${room}/state/m.room.topic/`, { topic: 'spam' })).to.deep.equal(state);
    expect((await mallory('PUT', `/rooms/${room}/redact/${encodeURIComponent(said)}/r1`, {})).event_id).to.be.a(
      'string',
    );
    for (const [path, body] of [
      ['invite', { user_id: '@dora:test' }],
      ['invite', { medium: 'email', address: 'd@mail.test' }],
      ['kick', { user_id: '@carol:test', reason: 'spam' }],
      ['ban', { user_id: '@carol:test', reason: 'spam' }],
    ] as const)
      expect(await mallory('POST', `/rooms/${room}/${path}`, body), path).to.deep.equal({});
    await mallory('PUT', `/rooms/${room}/state/m.room.member/@dora:test`, { membership: 'invite' });
    await mallory('PUT', `/rooms/${room}/state/m.room.member/@mallory:test`, {
      membership: 'join',
      displayname: 'spam',
    });
    const replaced = await mallory('POST', `/rooms/${room}/upgrade`, { new_version: '12' });
    expect(replaced.replacement_room).to.match(/^!/);
    await nothing('what they did');
    const { invite } = (await server.must('dora', 'GET', '/sync')).rooms ?? {};
    expect(invite).to.equal(undefined);
  });

  it('types, reads, and says who is there, for nobody', async () => {
    const said = await server.say('bob', room, 'to be read');
    await told();
    await mallory('PUT', `/rooms/${room}/typing/@mallory:test`, { typing: true });
    await mallory('POST', `/rooms/${room}/receipt/m.read/${encodeURIComponent(said)}`, {});
    await mallory('POST', `/rooms/${room}/read_markers`, { 'm.fully_read': said, 'm.read': said });
    await mallory('PUT', '/presence/@mallory:test/status', { presence: 'online', status_msg: 'spam' });
    const { presence: _presence, ...news } = await told();
    expect(news).not.to.have.property('rooms');
    expect(JSON.stringify(_presence ?? {})).not.to.include('spam');
  });

  it('sends messages to their own devices only', async () => {
    const own = await server.session('mallory/SECOND');
    const before = (await server.must(own.token, 'GET', '/sync')).next_batch;
    await mallory('PUT', '/sendToDevice/org.test/1', {
      messages: { '@bob:test': { '*': { text: 'spam' } }, '@mallory:test': { SECOND: { text: 'mine' } } },
    });
    expect((await told()).to_device).to.equal(undefined);
    const { to_device: got } = await server.must(own.token, 'GET', `/sync?since=${before}`);
    expect(got.events.map(({ content }: Json) => content.text)).to.deep.equal(['mine']);
  });

  it('is called in rooms what they were called before', async () => {
    await mallory('PUT', '/profile/@mallory:test/displayname', { displayname: 'spam' });
    expect((await told()).rooms).to.equal(undefined);
  });

  it('makes rooms without inviting anybody', async () => {
    const wish = { invite: ['@bob:test'], is_direct: true, preset: 'trusted_private_chat', name: 'spam' };
    const { room_id: made } = await mallory('POST', '/createRoom', wish);
    await nothing('a new room');
    const { joined } = await mallory('GET', `/rooms/${made}/joined_members`);
    expect(Object.keys(joined)).to.deep.equal(['@mallory:test']);
  });

  it('sends nothing later either', async () => {
    const { delay_id: id } = await mallory(
      'PUT',
      `/rooms/${room}/send/m.room.message/d1?org.matrix.msc4140.delay=1000`,
      {
        msgtype: 'm.text',
        body: 'spam',
      },
    );
    expect(id).to.be.a('string');
    await server.clock.advance(2_000);
    await server.idle();
    expect((await mallory('GET', DELAYED)).scheduled).to.deep.equal([]);
    await nothing('a delayed event');
  });

  it('is not heard over a WebSocket either, whenever that was opened', async () => {
    const { token } = await server.session('mallory');
    const client = await StreamClient.open(server.url.replace('http', 'ws') + WEBSOCKET_PATH, { token });
    const content = { msgtype: 'm.text', body: 'spam' };
    const answer = await client.must('send', { room_id: room, event_type: 'm.room.message', txn_id: 'ws', content });
    expect(answer.event_id).to.be.a('string');
    await client.end();
    await nothing('messages by WebSocket');
  });

  it('comes and goes as everybody does, without a word', async () => {
    await mallory('POST', `/rooms/${room}/leave`, { reason: 'spam' });
    const left = (await told()).rooms.join[room].timeline.events;
    expect(left.map(({ content }: Json) => content)).to.deep.equal([{ membership: 'leave' }]);
    await mallory('POST', `/rooms/${room}/join`, { reason: 'spam' });
    const [{ content }] = (await told()).rooms.join[room].timeline.events;
    expect(content).to.include({ membership: 'join' }).and.not.to.have.property('reason');
  });

  it('stays so over a restart, and is heard again once the ban is lifted', async () => {
    await server.restart();
    await send({ msgtype: 'm.text', body: 'spam' });
    await nothing('messages after a restart');
    await server.must(ADMIN, 'DELETE', PATH);
    await send({ msgtype: 'm.text', body: 'hello' });
    const events = (await told()).rooms.join[room].timeline.events.map(({ content }: Json) => content.body);
    expect(events).to.include('hello').and.not.to.include('spam');
    expect((await server.must(ADMIN, 'GET', '/_synapse/admin/v2/users/@mallory:test')).shadow_banned).to.equal(false);
  });

  it('is known to administrators alone, and is one of this server', async () => {
    for (const method of ['POST', 'DELETE']) {
      const of = async (user: string): Promise<unknown> => {
        const answer = await server.ask(ADMIN, method, `/_synapse/admin/v1/users/${user}/shadow_ban`);
        return [answer.status, answer.body.errcode];
      };
      expect(await of('@nobody:test')).to.deep.equal([404, 'M_NOT_FOUND']);
      expect(await of('@a:elsewhere.test')).to.deep.equal([400, 'M_UNKNOWN']);
    }
  });
});
