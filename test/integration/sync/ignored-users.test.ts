import { expect } from 'chai';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { StreamClient } from '#test/ws/stream-client.ts';

describe('an ignored user, in sync', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let roomId: string;
  let since: string;

  before(async () => (server = await InProcessServer.start({ config: { presence: { enabled: true } } })));
  after(() => server.stop());
  beforeEach(async () => {
    roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', roomId);
    await server.join('troll', roomId);
    await ignore('troll');
    await caughtUp();
  });

  const ignore = (...names: string[]): Promise<Json> =>
    server.must('alice', 'PUT', '/user/@alice:test/account_data/m.ignored_user_list', {
      ignored_users: Object.fromEntries(names.map((name) => [name.startsWith('@') ? name : `@${name}:test`, {}])),
    });
  /** What is new, and nothing when nothing is. */
  const sync = async (more = ''): Promise<Json> => {
    const body = await server.must('alice', 'GET', `/sync?timeout=0&since=${since}${more}`);
    since = body.next_batch;
    return body;
  };
  const caughtUp = async (): Promise<void> => {
    since = (await server.must('alice', 'GET', '/sync?timeout=0')).next_batch;
    await server.idle();
    await sync();
  };
  const ephemeral = (body: Json, type: string): Json =>
    (body.rooms?.join?.[roomId]?.ephemeral.events ?? []).find((event: Json) => event.type === type);
  const typing = (name: string, is = true): Promise<Json> =>
    server.must(name, 'PUT', `/rooms/${roomId}/typing/@${name}:test`, { typing: is, timeout: 30_000 });
  const read = async (name: string, eventId: string): Promise<Json> =>
    server.must(name, 'POST', `/rooms/${roomId}/receipt/m.read/${encodeURIComponent(eventId)}`, {});
  const present = (name: string, presence: string): Promise<Json> =>
    server.must(name, 'PUT', `/presence/@${name}:test/status`, { presence });
  const unread = (body: Json): number | undefined =>
    body.rooms?.join?.[roomId]?.unread_notifications?.notification_count;

  it('does not type, to who ignores them', async () => {
    await typing('troll');
    expect((await sync()).rooms, 'alone').to.equal(undefined);
    await typing('bob');
    expect(ephemeral(await sync(), 'm.typing').content.user_ids).to.deep.equal(['@bob:test']);
    await typing('troll', false);
    expect((await sync()).rooms, 'beside others').to.equal(undefined);
    await typing('bob', false);
    expect(ephemeral(await sync(), 'm.typing').content.user_ids).to.deep.equal([]);
    await typing('troll');
    const first = await server.must('alice', 'GET', '/sync?timeout=0');
    expect(ephemeral(first, 'm.typing'), 'in a first sync').to.equal(undefined);
    await typing('troll', false);
  });

  it('reads nothing, to who ignores them', async () => {
    const id = await server.say('bob', roomId, 'hello');
    await sync();
    await read('troll', id);
    expect((await sync()).rooms).to.equal(undefined);
    await read('alice', id);
    expect(ephemeral(await sync(), 'm.receipt').content[id]['m.read']).to.have.all.keys('@alice:test');
    const first = await server.must('alice', 'GET', '/sync?timeout=0');
    expect(ephemeral(first, 'm.receipt').content[id]['m.read']).to.have.all.keys('@alice:test');
    const others = await server.must('bob', 'GET', '/sync?timeout=0');
    expect(ephemeral(others, 'm.receipt').content[id]['m.read']).to.have.all.keys('@alice:test', '@troll:test');
  });

  it('is not present, to who ignores them', async () => {
    const senders = (body: Json): string[] => (body.presence?.events ?? []).map((event: Json) => event.sender);
    await present('troll', 'online');
    expect(senders(await sync())).not.to.include('@troll:test');
    await present('bob', 'unavailable');
    expect(senders(await sync()))
      .to.include('@bob:test')
      .and.not.to.include('@troll:test');
    expect(senders(await server.must('alice', 'GET', '/sync?timeout=0'))).not.to.include('@troll:test');
    expect(senders(await server.must('alice', 'GET', '/initialSync'))).not.to.include('@troll:test');
    // Newcomers are told of each other, but for those.
    const another = await server.room('bob', { preset: 'public_chat' });
    await server.join('troll', another);
    await server.join('alice', another);
    expect(senders(await sync()))
      .to.include('@bob:test')
      .and.not.to.include('@troll:test');
  });

  it('is not heard over the WebSocket either', async () => {
    const { token } = await server.session('alice');
    const client = await StreamClient.open(`${server.url.replace(/^http/, 'ws')}${WEBSOCKET_PATH}`, {
      token,
      query: `since=${since}`,
    });
    await client.sync();
    await typing('troll');
    await server.say('troll', roomId, 'boo');
    await read('troll', await server.say('bob', roomId, 'hello'));
    await client.message(roomId, 'hello');
    await typing('bob');
    await client.until(() => client.syncs.find((frame) => ephemeral(frame, 'm.typing') !== undefined));
    expect(JSON.stringify(client.frames)).not.to.include('@troll:test');
    await client.end();
    await typing('troll', false);
    await typing('bob', false);
  });

  it('is heard again when they are ignored no more, and what they said meanwhile is for those who begin anew', async () => {
    await server.say('troll', roomId, 'missed');
    await typing('troll');
    await sync();
    await ignore();
    const body = await sync();
    expect(ephemeral(body, 'm.typing').content.user_ids, 'who types').to.deep.equal(['@troll:test']);
    expect(body.rooms.join[roomId].timeline.events).to.deep.equal([]);
    await server.say('troll', roomId, 'heard');
    const texts = (told: Json): string[] =>
      told.rooms.join[roomId].timeline.events.flatMap((event: Json) => event.content.body ?? []);
    expect(texts(await sync())).to.deep.equal(['heard']);
    expect(texts(await server.must('alice', 'GET', '/sync?timeout=0'))).to.include('missed');
    await ignore('troll');
    expect(ephemeral(await sync(), 'm.typing').content.user_ids, 'who types for who ignores them again').to.deep.equal(
      [],
    );
    await typing('troll', false);
  });

  it('counts as unread when they are ignored no more, and not any more when they are', async () => {
    await ignore();
    await server.say('troll', roomId, 'boo');
    expect(unread(await sync())).to.equal(1);
    await ignore('troll');
    expect(unread(await sync())).to.equal(0);
    await ignore();
    expect(unread(await sync())).to.equal(1);
    expect(unread(await sync()), 'once').to.equal(undefined);
  });

  it('invites when they are ignored no more', async () => {
    const invitedTo = async (): Promise<string[]> => Object.keys((await sync()).rooms?.invite ?? {});
    const { room_id: theirs } = await server.must('troll', 'POST', '/createRoom', { invite: ['@alice:test'] });
    expect(await invitedTo()).to.deep.equal([]);
    await ignore();
    expect(await invitedTo()).to.deep.equal([theirs]);
    expect(await invitedTo()).to.deep.equal([]);
    await server.must('alice', 'POST', `/rooms/${theirs}/leave`, {});
  });

  it('is nobody when it is oneself, or no user at all', async () => {
    await ignore('@alice:test', 'not a user', '', '@bob', '*');
    await sync();
    const id = await server.say('alice', roomId, 'to myself');
    await read('alice', id);
    await typing('alice');
    const body = await sync();
    expect(body.rooms.join[roomId].timeline.events.map((event: Json) => event.event_id)).to.deep.equal([id]);
    expect(ephemeral(body, 'm.receipt').content[id]['m.read']).to.have.all.keys('@alice:test');
    expect(ephemeral(body, 'm.typing').content.user_ids).to.deep.equal(['@alice:test']);
    await typing('alice', false);
  });

  it('sets state that is told, and that relates to events as it says', async () => {
    const id = await server.say('bob', roomId, 'hello');
    await server.setState('alice', roomId, 'm.room.power_levels', { users: {}, events: {}, state_default: 0 });
    const content = { 'm.relates_to': { rel_type: 'm.reference', event_id: id } };
    const state = await server.setState('troll', roomId, 'org.example.state', content);
    await server.must('troll', 'PUT', `/rooms/${roomId}/send/m.room.message/r1`, {
      msgtype: 'm.text',
      body: 'x',
      ...content,
    });
    const { chunk } = await server.must('alice', 'GET', `/v1/rooms/${roomId}/relations/${encodeURIComponent(id)}`);
    expect(chunk.map((event: Json) => event.event_id)).to.deep.equal([state]);
    expect((await sync()).rooms.join[roomId].timeline.events.map((event: Json) => event.event_id)).to.include(state);
  });

  it('is whom push rules decide about: counts follow a change of theirs at once', async () => {
    await server.say('bob', roomId, 'hello');
    expect(unread(await sync())).to.equal(1);
    const rule = `/pushrules/global/room/${encodeURIComponent(roomId)}`;
    await server.must('alice', 'PUT', rule, { actions: [] });
    expect(unread(await sync())).to.equal(0);
    await server.must('alice', 'DELETE', rule);
    expect(unread(await sync())).to.equal(1);
  });
});
