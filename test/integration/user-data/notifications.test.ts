import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { type Answer, ask, must } from '#test/support/http.ts';

interface Notification {
  actions: unknown[];
  event: { event_id: string; type: string; content: { body?: string } };
  read: boolean;
  room_id: string;
  ts: number;
}

describe('GET /notifications', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let alice: string;
  let txn = 0;
  let users = 0;

  const register = async (name: string): Promise<string> => {
    const body = { username: name, password: 'a long password', auth: { type: 'm.login.dummy' } };
    return (await must(server.url, 'POST', '/register', { body })).access_token;
  };
  const send = (token: string, method: string, path: string, body: unknown = {}): Promise<Answer> =>
    ask(server.url, method, path, { token, body });
  const say = async (token: string, roomId: string, body: string, more: object = {}): Promise<string> => {
    const path = `/rooms/${roomId}/send/m.room.message/t${(txn += 1)}`;
    return (await must(server.url, 'PUT', path, { token, body: { msgtype: 'm.text', body, ...more } })).event_id;
  };
  /** Somebody new in a room of Alice's, with a third member so that it is no direct chat. */
  const reader = async (): Promise<{ token: string; userId: string; roomId: string }> => {
    const name = `reader${(users += 1)}`;
    const token = await register(name);
    const third = await register(`third${users}`);
    const roomId = (await must(server.url, 'POST', '/createRoom', { token: alice, body: { preset: 'public_chat' } }))
      .room_id;
    for (const one of [token, third]) await send(one, 'POST', `/join/${roomId}`);
    return { token, userId: `@${name}:localhost`, roomId };
  };
  const page = async (token: string, query = ''): Promise<{ notifications: Notification[]; next_token?: string }> =>
    must(server.url, 'GET', `/notifications${query}`, { token });
  const bodies = async (token: string, query = ''): Promise<(string | undefined)[]> =>
    (await page(token, query)).notifications.map(({ event }) => event.content.body);
  const naming = (userId: string): object => ({ 'm.mentions': { user_ids: [userId] } });

  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
    alice = await register('alice');
  });
  after(() => server?.dispose());

  it('lists what notified, the newest first, and nothing that one said oneself or that was redacted', async () => {
    const { token, roomId } = await reader();
    expect(await page(token)).to.deep.equal({ notifications: [] });
    await say(alice, roomId, 'one');
    await say(token, roomId, 'own');
    const gone = await say(alice, roomId, 'gone');
    const eventId = await say(alice, roomId, 'two');
    await send(alice, 'PUT', `/rooms/${roomId}/redact/${encodeURIComponent(gone)}/${(txn += 1)}`);
    const { notifications, next_token: next } = await page(token);
    expect(notifications.map(({ event }) => event.content.body)).to.deep.equal(['two', 'one']);
    expect(next).to.equal(undefined);
    expect(notifications[0]).to.deep.include({ actions: ['notify'], read: false, room_id: roomId });
    expect(notifications[0]?.event.event_id).to.equal(eventId);
    expect(Date.now() - (notifications[0]?.ts ?? 0)).to.be.within(-1_000, 60_000);
  });
  it('resumes from its tokens until there is nothing more', async () => {
    const { token, roomId } = await reader();
    const said = ['1', '2', '3', '4', '5'];
    for (const body of said) await say(alice, roomId, body);
    const got: (string | undefined)[] = [];
    let from = '';
    for (let pages = 1; ; pages++) {
      const { notifications, next_token: next } = await page(token, `?limit=2${from}`);
      got.push(...notifications.map(({ event }) => event.content.body));
      expect(pages).to.be.at.most(3);
      if (next === undefined) break;
      from = `&from=${next}`;
    }
    expect(got).to.deep.equal(said.toReversed());
    const wrong = await ask(server.url, 'GET', '/notifications?from=nonsense', { token });
    expect([wrong.status, wrong.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
  });
  it('finds those with a highlight when only they are wanted', async () => {
    const { token, userId, roomId } = await reader();
    await say(alice, roomId, 'plain');
    await say(alice, roomId, 'named', naming(userId));
    await say(alice, roomId, 'everybody', { 'm.mentions': { room: true } });
    expect(await bodies(token)).to.deep.equal(['everybody', 'named', 'plain']);
    const { notifications } = await page(token, '?only=highlight');
    expect(notifications.map(({ event }) => event.content.body)).to.deep.equal(['everybody', 'named']);
    for (const { actions } of notifications) {
      expect(actions).to.include('notify');
      expect(actions).to.deep.include({ set_tweak: 'highlight' });
    }
    expect(notifications[1]?.actions).to.deep.include({ set_tweak: 'sound', value: 'default' });
  });
  it('says what was read, with and without threads', async () => {
    const { token, roomId } = await reader();
    const root = await say(alice, roomId, 'root');
    const reply = await say(alice, roomId, 'in thread', { 'm.relates_to': { rel_type: 'm.thread', event_id: root } });
    await say(alice, roomId, 'about it', { 'm.relates_to': { rel_type: 'm.reference', event_id: reply } });
    await say(alice, roomId, 'last');
    const read = async (): Promise<boolean[]> => (await page(token)).notifications.map((one) => one.read);
    expect(await read()).to.deep.equal([false, false, false, false]);
    await send(token, 'POST', `/rooms/${roomId}/receipt/m.read/${encodeURIComponent(root)}`, { thread_id: 'main' });
    expect(await read()).to.deep.equal([false, false, false, true]);
    const { notifications } = await page(token);
    const last = encodeURIComponent(notifications[0]?.event.event_id ?? '');
    await send(token, 'POST', `/rooms/${roomId}/receipt/m.read/${last}`, { thread_id: 'main' });
    expect(await read()).to.deep.equal([true, false, false, true]);
    await send(token, 'POST', `/rooms/${roomId}/receipt/m.read/${last}`);
    expect(await read()).to.deep.equal([true, true, true, true]);
  });
  it('obeys the push rules of a room', async () => {
    const { token, userId, roomId } = await reader();
    await send(token, 'PUT', `/pushrules/global/room/${encodeURIComponent(roomId)}`, { actions: [] });
    await say(alice, roomId, 'plain');
    await say(alice, roomId, 'named', naming(userId));
    expect(await bodies(token)).to.deep.equal(['named']);
  });
  it('lists invites, and passes over those whom the user ignores', async () => {
    const { token, userId, roomId } = await reader();
    const invited = (await must(server.url, 'POST', '/createRoom', { token: alice, body: { invite: [userId] } }))
      .room_id;
    const [invite] = (await page(token)).notifications;
    expect([invite?.room_id, invite?.event.type]).to.deep.equal([invited, 'm.room.member']);
    await say(alice, roomId, 'hello');
    const ignored = { ignored_users: { '@alice:localhost': {} } };
    await send(token, 'PUT', `/user/${userId}/account_data/m.ignored_user_list`, ignored);
    expect(await page(token)).to.deep.equal({ notifications: [] });
  });
  it('forgets rooms that were left', async () => {
    const { token, roomId } = await reader();
    await say(alice, roomId, 'hello');
    await send(token, 'POST', `/rooms/${roomId}/leave`);
    expect(await page(token)).to.deep.equal({ notifications: [] });
  });
});
