import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { ask, must } from '#test/support/http.ts';

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

const ROOM = { preset: 'public_chat', initial_state: [] };
const bodies = (events: Json[]): string[] => events.flatMap((event) => event.content.body ?? event.content.name ?? []);

describe('ignoring users', function () {
  this.timeout(60_000);
  let server: ChildServer;
  const tokens: Record<string, string> = {};
  let count = 0;

  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
    for (const name of ['alice', 'bob', 'troll']) {
      const body = { username: name, password: 'a long password', auth: { type: 'm.login.dummy' } };
      tokens[name] = (await must(server.url, 'POST', '/register', { body })).access_token;
    }
  });
  after(() => server?.dispose());

  const get = (name: string, path: string): Promise<Json> => must(server.url, 'GET', path, { token: tokens[name] });
  const post = (name: string, path: string, body: unknown = {}): Promise<Json> =>
    must(server.url, 'POST', path, { token: tokens[name], body });
  const put = (name: string, path: string, body: unknown): Promise<Json> =>
    must(server.url, 'PUT', path, { token: tokens[name], body });
  const say = async (name: string, roomId: string, text: string): Promise<string> => {
    count += 1;
    const path = `/rooms/${roomId}/send/m.room.message/t${count}`;
    return (await put(name, path, { msgtype: 'm.text', body: text })).event_id;
  };
  const ignore = (...users: string[]): Promise<Json> =>
    put('alice', '/user/@alice:localhost/account_data/m.ignored_user_list', {
      ignored_users: Object.fromEntries(users.map((user) => [user, {}])),
    });
  /** A room of all three, in which the troll spoke and named the room. */
  const room = async (): Promise<{ readonly roomId: string; readonly middle: string }> => {
    const wish = { ...ROOM, power_level_content_override: { events: { 'm.room.name': 0 } } };
    const roomId = (await post('alice', '/createRoom', wish)).room_id;
    for (const name of ['bob', 'troll']) await post(name, `/rooms/${roomId}/join`);
    await say('troll', roomId, 'boo');
    const middle = await say('bob', roomId, 'hello');
    await say('troll', roomId, 'boo again');
    await put('troll', `/rooms/${roomId}/state/m.room.name/`, { name: 'Troll cave' });
    return { roomId, middle };
  };
  afterEach(() => ignore());

  it('spares one what they say, in history as in /sync, but not the state that they set', async () => {
    const { roomId, middle } = await room();
    await ignore('@troll:localhost');
    const timeline = async (since: string): Promise<string[]> => {
      const { rooms } = await get('alice', `/sync?timeout=0${since}`);
      return bodies(rooms.join[roomId].timeline.events);
    };
    expect(await timeline('')).to.deep.equal(['hello', 'Troll cave']);
    const back = await get('alice', `/rooms/${roomId}/messages?dir=b&limit=3`);
    expect(bodies(back.chunk)).to.deep.equal(['Troll cave', 'hello']);
    const forth = await get('alice', `/rooms/${roomId}/messages?dir=f&limit=100`);
    expect(bodies(forth.chunk)).to.deep.equal(['hello', 'Troll cave']);
    const context = await get('alice', `/rooms/${roomId}/context/${encodeURIComponent(middle)}?limit=4`);
    expect([bodies(context.events_before), bodies(context.events_after)]).to.deep.equal([[], ['Troll cave']]);
    const snapshot = await get('alice', `/rooms/${roomId}/initialSync?limit=4`);
    expect(bodies(snapshot.messages.chunk)).to.deep.equal(['hello', 'Troll cave']);
    const all = await get('bob', `/rooms/${roomId}/messages?dir=f&limit=100`);
    expect(bodies(all.chunk)).to.deep.equal(['boo', 'hello', 'boo again', 'Troll cave']);
    await ignore();
    const heard = await get('alice', `/rooms/${roomId}/messages?dir=f&limit=100`);
    expect(bodies(heard.chunk)).to.deep.equal(bodies(all.chunk));
  });

  it('shows none of their messages to who asks for them by their ids, but the state that they set, and what others said to them', async () => {
    const { roomId } = await room();
    const boo = await say('troll', roomId, 'boo');
    const { event_id: named } = await put('troll', `/rooms/${roomId}/state/m.room.name/`, { name: 'Cave' });
    await put('bob', `/rooms/${roomId}/send/m.room.message/reply`, {
      msgtype: 'm.text',
      body: 'be quiet',
      'm.relates_to': { rel_type: 'm.thread', event_id: boo },
    });
    await ignore('@troll:localhost');
    const status = async (name: string, path: string): Promise<unknown[]> => {
      const answer = await ask(server.url, 'GET', path, { token: tokens[name] });
      return [answer.status, answer.body['errcode']];
    };
    for (const path of [`/rooms/${roomId}/event/${boo}`, `/rooms/${roomId}/context/${boo}`, `/events/${boo}`]) {
      expect(await status('alice', path), path).to.deep.equal([404, 'M_NOT_FOUND']);
      expect(await status('bob', path), path).to.deep.equal([200, undefined]);
    }
    expect(await status('alice', `/rooms/${roomId}/event/${named}`)).to.deep.equal([200, undefined]);
    const replies = await get('alice', `/_matrix/client/v1/rooms/${roomId}/relations/${boo}`);
    expect(bodies(replies.chunk)).to.deep.equal(['be quiet']);
    expect(await status('alice', `/rooms/${roomId}/event/${boo}`)).to.deep.equal([404, 'M_NOT_FOUND']);
    await post('alice', `/rooms/${roomId}/report/${boo}`, { reason: 'shouts' });
    await ignore();
    expect(await status('alice', `/rooms/${roomId}/event/${boo}`)).to.deep.equal([200, undefined]);
  });

  it('continues through pages that hold nothing else', async () => {
    const { roomId } = await room();
    for (let i = 0; i < 12; i++) await say('troll', roomId, `noise ${i}`);
    await ignore('@troll:localhost');
    const found: string[] = [];
    let from: string | undefined;
    let pages = 0;
    do {
      const token: string = from === undefined ? '' : `&from=${from}`;
      const page = await get('alice', `/rooms/${roomId}/messages?dir=b&limit=1${token}`);
      found.push(...bodies(page.chunk));
      from = page.end;
      pages += 1;
    } while (from !== undefined && pages < 40);
    expect(found).to.deep.equal(['Troll cave', 'hello']);
    expect(from).to.equal(undefined);
  });

  it('keeps what they say out of /events', async () => {
    const { roomId } = await room();
    await ignore('@troll:localhost');
    const { end } = await get('alice', `/events?room_id=${roomId}&timeout=0`);
    await say('troll', roomId, 'boo');
    await put('troll', `/rooms/${roomId}/state/m.room.name/`, { name: 'Renamed' });
    const { chunk } = await get('alice', `/events?room_id=${roomId}&from=${end}&timeout=0`);
    expect(bodies(chunk)).to.deep.equal(['Renamed']);
  });

  it('keeps their invites out of /sync, those too that were there before', async () => {
    const roomId = (await post('troll', '/createRoom', { invite: ['@alice:localhost'] })).room_id;
    const invites = async (): Promise<string[]> =>
      Object.keys((await get('alice', '/sync?timeout=0')).rooms?.invite ?? {});
    expect(await invites()).to.include(roomId);
    await ignore('@troll:localhost');
    expect(await invites()).to.deep.equal([]);
    await post('alice', `/rooms/${roomId}/join`);
  });

  it('takes lists that are none for nobody', async () => {
    const { roomId } = await room();
    for (const list of [{}, { ignored_users: null }, { ignored_users: ['@troll:localhost'] }, { ignored_users: 'x' }]) {
      await put('alice', '/user/@alice:localhost/account_data/m.ignored_user_list', list);
      const { status, body } = await ask(server.url, 'GET', `/rooms/${roomId}/messages?dir=b&limit=2`, {
        token: tokens['alice'],
      });
      expect([status, bodies(body.chunk)]).to.deep.equal([200, ['Troll cave', 'boo again']]);
      expect((await get('alice', '/sync?timeout=0')).rooms.join).to.have.property(roomId);
    }
  });
});
