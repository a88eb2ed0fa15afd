import { expect } from 'chai';
import fc from 'fast-check';
import { EncryptionServer, type TestDevice } from '#test/integration/e2ee/encryption-server.ts';
import type { Answer } from '#test/support/http.ts';

const UNSTABLE = '/_matrix/client/unstable';
const SLIDING = `${UNSTABLE}/org.matrix.simplified_msc3575/sync`;
const EXTENSION = 'io.element.msc4308.thread_subscriptions';
const NOT_IN_THREAD = 'IO.ELEMENT.MSC4306.M_NOT_IN_THREAD';
const CONFLICT = 'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION';
const RULES = ['.io.element.msc4306.rule.unsubscribed_thread', '.io.element.msc4306.rule.subscribed_thread'];

// What a test expects in a body it says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

describe('thread subscriptions', function () {
  this.timeout(120_000);
  let server: EncryptionServer;
  let alice: TestDevice;
  let bob: TestDevice;
  let room: string;
  let root: string;
  let txns = 0;

  before(async () => {
    server = await EncryptionServer.start({ TSUDOI_QUOTAS__THREAD_SUBSCRIPTIONS: '12' });
  });
  after(() => server.stop());
  beforeEach(async () => {
    alice = await server.register();
    bob = await server.register();
    room = await server.room(bob, alice);
    root = await say('root');
  });

  const send = async (content: object, type = 'm.room.message', roomId = room): Promise<string> =>
    (await server.must(bob, 'PUT', `/rooms/${roomId}/send/${type}/t${(txns += 1)}`, content)).event_id;
  const say = (body: string, more: object = {}): Promise<string> => send({ msgtype: 'm.text', body, ...more });
  const inThread = (thread: string): object => ({ 'm.relates_to': { rel_type: 'm.thread', event_id: thread } });
  const reply = (body = 'reply', more: object = {}): Promise<string> => say(body, { ...inThread(root), ...more });
  const pathOf = (thread = root, roomId = room): string =>
    `${UNSTABLE}/io.element.msc4306/rooms/${roomId}/thread/${encodeURIComponent(thread)}/subscription`;
  const subscribe = (automatic?: unknown, thread = root, device = alice): Promise<Answer> =>
    server.ask(device, 'PUT', pathOf(thread), automatic === undefined ? {} : { automatic });
  const unsubscribe = (thread = root): Promise<Answer> => server.ask(alice, 'DELETE', pathOf(thread));
  const read = (thread = root, device = alice): Promise<Answer> => server.ask(device, 'GET', pathOf(thread));
  const outcome = ({ status, body }: Answer): unknown[] => [status, body.errcode];
  const sliding = (extension: object, pos?: string, timeout = 0): Promise<Json> =>
    server.must(alice, 'POST', `${SLIDING}?timeout=${timeout}${pos === undefined ? '' : `&pos=${pos}`}`, {
      extensions: { [EXTENSION]: { enabled: true, ...extension } },
    });
  const list = (query: string): Promise<Answer> =>
    server.ask(alice, 'GET', `${UNSTABLE}/io.element.msc4308/thread_subscriptions?${query}`);
  const unread = async (device = alice): Promise<{ main: number; threads: Record<string, number> }> => {
    const filter = encodeURIComponent(JSON.stringify({ room: { timeline: { unread_thread_notifications: true } } }));
    const { rooms } = await server.must(device, 'GET', `/sync?filter=${filter}`);
    const joined = rooms.join[room];
    return {
      main: joined.unread_notifications.notification_count,
      threads: Object.fromEntries(
        Object.entries<Json>(joined.unread_thread_notifications ?? {}).map(([id, count]) => [
          id,
          count.notification_count,
        ]),
      ),
    };
  };

  it('are made, read and ended, as often as a client likes', async () => {
    expect(outcome(await read())).to.deep.equal([404, 'M_NOT_FOUND']);
    for (let round = 0; round < 2; round++) {
      expect((await subscribe()).body).to.deep.equal({});
      expect((await read()).body).to.deep.equal({ automatic: false });
    }
    for (let round = 0; round < 2; round++) {
      expect((await unsubscribe()).status).to.equal(200);
      expect(outcome(await read())).to.deep.equal([404, 'M_NOT_FOUND']);
    }
    expect(outcome(await read(root, bob))).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('survive a restart', async () => {
    await subscribe();
    await server.restart();
    expect((await read()).body).to.deep.equal({ automatic: false });
  });

  it('that a client makes by itself need a cause in the thread, and give way to those of the user', async () => {
    const cause = await reply();
    const other = await say('other root');
    const elsewhere = await say('in another thread', inThread(other));
    for (const wrong of [root, other, elsewhere, '$unknown', 'x'])
      expect(outcome(await subscribe(wrong)), wrong).to.deep.equal([400, NOT_IN_THREAD]);
    for (const wrong of [true, 7, [cause]]) expect(outcome(await subscribe(wrong))).to.deep.equal([400, 'M_BAD_JSON']);
    await subscribe(cause);
    expect((await read()).body).to.deep.equal({ automatic: true });
    await subscribe();
    expect((await read()).body).to.deep.equal({ automatic: false });
    await subscribe(cause);
    expect((await read()).body).to.deep.equal({ automatic: false });
  });

  it('that the user ended are not made again by a client for what came before', async () => {
    const first = await reply();
    await subscribe(first);
    const second = await reply();
    await unsubscribe();
    const third = await reply();
    for (const cause of [first, second]) expect(outcome(await subscribe(cause))).to.deep.equal([409, CONFLICT]);
    expect((await read()).status).to.equal(404);
    expect((await subscribe(third)).status).to.equal(200);
    expect((await read()).body).to.deep.equal({ automatic: true });
  });

  it('are refused for threads that are not there or not to be seen', async () => {
    const stranger = await server.register();
    for (const device of [stranger, alice]) {
      const thread = device === alice ? '$nothing' : root;
      for (const method of ['GET', 'PUT', 'DELETE'])
        expect(outcome(await server.ask(device, method, pathOf(thread)))).to.deep.equal([404, 'M_NOT_FOUND']);
    }
    const nowhere = pathOf(root, '!nowhere:localhost');
    expect(outcome(await server.ask(alice, 'PUT', nowhere, {}))).to.deep.equal([404, 'M_NOT_FOUND']);
  });

  it('of which there are as many as are kept push out those that were ended longest ago, and are refused after that', async () => {
    const roots: string[] = [];
    for (let n = 0; n < 14; n++) roots.push(await say(`root ${n}`));
    for (const thread of roots.slice(0, 12)) await subscribe(undefined, thread);
    expect(outcome(await subscribe(undefined, roots[12]))).to.deep.equal([413, 'M_TOO_LARGE']);
    await unsubscribe(roots[3]);
    expect((await subscribe(undefined, roots[12])).status).to.equal(200);
    await server.restart();
    for (const [n, thread] of roots.entries())
      expect((await read(thread)).status).to.equal(n === 3 || n > 12 ? 404 : 200);
  });

  it('are told by sliding sync, the latest ones first, which wakes for them', async () => {
    const first = await sliding({ limit: 2 });
    expect(first.extensions).not.to.have.property(EXTENSION);
    const waiting = sliding({ limit: 2 }, first.pos, 60_000);
    await subscribe();
    const told = (await waiting).extensions[EXTENSION];
    expect(told.subscribed[room][root]).to.include({ automatic: false });
    expect(told.subscribed[room][root].bump_stamp).to.be.a('number');
    expect(told).not.to.have.property('prev_batch');
    const { pos } = await sliding({ limit: 2 }, (await sliding({ limit: 2 }, first.pos)).pos);
    await unsubscribe();
    const ended = (await sliding({ limit: 2 }, pos)).extensions[EXTENSION];
    expect(ended).not.to.have.property('subscribed');
    expect(ended.unsubscribed[room][root].bump_stamp).to.be.greaterThan(told.subscribed[room][root].bump_stamp);
  });

  it('that sliding sync has no room for are found by paging backwards, up to where the client was', async () => {
    const before = await say('followed before');
    await subscribe(undefined, before);
    const first = await sliding({});
    const roots: string[] = [];
    for (let n = 0; n < 5; n++) {
      roots.push(await say(`root ${n}`));
      await subscribe(undefined, roots[n]);
    }
    const second = await sliding({ limit: 2 }, first.pos);
    const window = second.extensions[EXTENSION];
    expect(Object.keys(window.subscribed[room])).to.have.members(roots.slice(3));
    const found: string[] = [];
    let from = window.prev_batch as string | undefined;
    while (from !== undefined) {
      const query = new URLSearchParams({ dir: 'b', from, to: first.pos, limit: '1' });
      const { status, body } = await list(query.toString());
      expect(status).to.equal(200);
      found.push(...Object.keys(body.subscribed?.[room] ?? {}));
      from = body.end;
    }
    expect(found).to.deep.equal([roots[2], roots[1], roots[0]]);
    const all = (await list('dir=b')).body;
    expect(Object.keys(all.subscribed[room])).to.have.members([before, ...roots]);
    expect(all).not.to.have.property('end');
    for (const query of ['dir=b&from=x', 'dir=b&to=x', 'dir=b&limit=0', 'dir=f'])
      expect(outcome(await list(query)), query).to.deep.equal([400, 'M_INVALID_PARAM']);
    expect((await list('')).status).to.equal(400);
  });

  it('decide what in threads notifies, from the first one on', async () => {
    const rules = async (): Promise<Json[]> =>
      (await server.must(alice, 'GET', '/pushrules/')).global.postcontent.map((rule: Json) => [
        rule.rule_id,
        rule.enabled,
      ]);
    await reply();
    // No client of hers has asked for it: threads notify as everything does.
    expect(await rules()).to.deep.equal(RULES.map((id) => [id, false]));
    expect(await unread()).to.deep.equal({ main: 1, threads: { [root]: 1 } });
    await unsubscribe();
    expect(await rules()).to.deep.equal(RULES.map((id) => [id, true]));
    expect(await unread()).to.deep.equal({ main: 1, threads: {} });
    await reply('hello', { 'm.mentions': { user_ids: [alice.userId] } });
    expect((await unread()).threads).to.deep.equal({ [root]: 1 });
    await subscribe();
    await reply();
    await send({ body: 'a sticker', url: 'mxc://x/y', info: {}, ...inThread(root) }, 'm.sticker');
    await send({ 'm.relates_to': { rel_type: 'm.annotation', event_id: root, key: '👍' } }, 'm.reaction');
    expect((await unread()).threads).to.deep.equal({ [root]: 3 });
    await server.restart();
    expect(await unread()).to.deep.equal({ main: 1, threads: { [root]: 3 } });
    await unsubscribe();
    expect((await unread()).threads).to.deep.equal({ [root]: 1 });
  });

  it('hold in rooms of which only mentions notify, and not in those that are muted', async () => {
    await subscribe();
    await server.must(alice, 'PUT', `/pushrules/global/room/${room}`, { actions: [] });
    await say('unheard');
    await reply();
    expect(await unread()).to.deep.equal({ main: 0, threads: { [root]: 1 } });
    await server.must(alice, 'PUT', `/pushrules/global/override/${room}`, {
      conditions: [{ kind: 'event_match', key: 'room_id', pattern: room }],
      actions: [],
    });
    expect(await unread()).to.deep.equal({ main: 0, threads: {} });
  });

  it('are a kind of push rules of the server alone, which users may switch off', async () => {
    const rule = { conditions: [], actions: ['notify'] };
    for (const kind of ['postcontent', 'io.element.msc4306.postcontent']) {
      const made = await server.ask(alice, 'PUT', `/pushrules/global/${kind}/mine`, rule);
      expect(outcome(made)).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
    await unsubscribe();
    const enabled = `/pushrules/global/io.element.msc4306.postcontent/${RULES[0]}/enabled`;
    await server.must(alice, 'PUT', enabled, { enabled: false });
    await reply();
    expect((await unread()).threads).to.deep.equal({ [root]: 1 });
    // What the user decided about the rules holds, whatever threads they follow later.
    await subscribe();
    expect((await server.must(alice, 'GET', enabled)).enabled).to.equal(false);
  });

  it('decide which notifications are listed', async () => {
    const listed = async (): Promise<string[]> =>
      (await server.must(alice, 'GET', '/notifications')).notifications.map((one: Json) => one.event.content.body);
    await reply('before');
    expect(await listed()).to.deep.equal(['before', 'root']);
    await unsubscribe();
    expect(await listed()).to.deep.equal(['root']);
    await subscribe();
    await reply('followed');
    await send({ body: 'a sticker', url: 'mxc://x/y', info: {}, ...inThread(root) }, 'm.sticker');
    expect(await listed()).to.deep.equal(['a sticker', 'followed', 'root']);
    await server.must(alice, 'PUT', `/pushrules/global/room/${room}`, { actions: [] });
    expect(await listed()).to.deep.equal(['a sticker', 'followed']);
    await unsubscribe();
    await reply('to you', { 'm.mentions': { user_ids: [alice.userId] } });
    expect(await listed()).to.deep.equal(['to you']);
  });

  it('are asked for by rules of the user’s own', async () => {
    await server.must(alice, 'PUT', '/pushrules/global/override/loud', {
      conditions: [{ kind: 'io.element.msc4306.thread_subscription', subscribed: true }],
      actions: ['notify', { set_tweak: 'highlight' }],
    });
    await subscribe();
    await reply();
    const body = await server.must(alice, 'GET', '/notifications');
    expect(body.notifications.map((one: Json) => one.event.content.body)).to.include('reply');
    expect((await server.must(alice, 'GET', '/notifications?only=highlight')).notifications).to.have.length(1);
  });

  it('notify, over random histories, of what is said in threads while they are followed, and of every mention', async () => {
    const step = fc.record({
      act: fc.constantFrom('say', 'mention', 'follow', 'leave', 'read'),
      thread: fc.nat(1),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 14 }), async (steps) => {
        const roots = [await say('a'), await say('b')];
        const followed = [false, false];
        await unsubscribe(roots[0]);
        const heard: { isMention: boolean }[][] = [[], []];
        for (const { act, thread } of steps) {
          const at = roots[thread] as string;
          const list = heard[thread] as { isMention: boolean }[];
          if (act === 'say' || act === 'mention') {
            const isMention = act === 'mention';
            const mentions = isMention ? { 'm.mentions': { user_ids: [alice.userId] } } : {};
            await say('x', { ...inThread(at), ...mentions });
            if (isMention || followed[thread] === true) list.push({ isMention });
          } else if (act === 'follow') {
            await subscribe(undefined, at);
            followed[thread] = true;
          } else if (act === 'leave') {
            await unsubscribe(at);
            if (followed[thread] === true) heard[thread] = list.filter(({ isMention }) => isMention);
            followed[thread] = false;
          } else {
            const last = await say('seen', inThread(at));
            await server.must(alice, 'POST', `/rooms/${room}/receipt/m.read/${last}`, { thread_id: at });
            heard[thread] = [];
          }
        }
        const { threads } = await unread();
        expect([threads[roots[0] as string] ?? 0, threads[roots[1] as string] ?? 0]).to.deep.equal(
          heard.map((list) => list.length),
        );
        // What is left makes room for the threads of the next history.
        for (const thread of roots) await unsubscribe(thread);
      }),
      { numRuns: 15 },
    );
  });
});
