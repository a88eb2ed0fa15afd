import { expect } from 'chai';
import pg from 'pg';
import { ChildServer } from '#test/support/child-server.ts';
import { emptyDatabase } from '#test/support/database.ts';
import { HeldRows } from '#test/support/held-rows.ts';
import { must } from '#test/support/http.ts';
import type { Json } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

const LOCALE_C = `template template0 encoding 'UTF8' locale_provider libc lc_collate 'C' lc_ctype 'C'`;

describe('a server that finds messages and users, on a database with LC_CTYPE=C', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let url: string;

  before(async () => {
    url = await emptyDatabase(LOCALE_C);
    server = await ChildServer.start({ database: url, env: { TSUDOI_REGISTRATION__ENABLED: 'true' } });
  });
  after(() => server.dispose());

  const register = async (username: string, displayName?: string): Promise<string> => {
    const body = { username, password: 'a password', auth: { type: 'm.login.dummy' } };
    const made = await must(server.url, 'POST', '/register', { body });
    if (displayName !== undefined) await rename(made.access_token, made.user_id, displayName);
    return made.access_token;
  };
  const rename = (token: string, userId: string, displayname: string): Promise<Json> =>
    must(server.url, 'PUT', `/profile/${encodeURIComponent(userId)}/displayname`, { token, body: { displayname } });
  const room = async (token: string, body: object = {}): Promise<string> =>
    (await must(server.url, 'POST', '/createRoom', { token, body: { preset: 'public_chat', ...body } })).room_id;
  const say = (token: string, roomId: string, body: string, txn: string): Promise<Json> =>
    must(server.url, 'PUT', `/rooms/${roomId}/send/m.room.message/${txn}`, {
      token,
      body: { msgtype: 'm.text', body },
    });
  /** A search waits for a second until what was sent before can be found; on a busy machine that takes longer. */
  const caughtUp = (): Promise<unknown> =>
    until('all that was sent can be found', async () => {
      const text = await (await fetch(`${server.url}/metrics`)).text();
      const lags = [...text.matchAll(/^tsudoi_follower_lag\{.*\} (\S+)$/gm)].map(([, lag]) => Number(lag));
      return lags.length > 0 && lags.every((lag) => lag === 0);
    });
  const find = async (token: string, term: string): Promise<string[]> => {
    await caughtUp();
    const body = {
      search_categories: { room_events: { search_term: term, order_by: 'recent', filter: { limit: 500 } } },
    };
    const { search_categories: found } = await must(server.url, 'POST', '/search', { token, body });
    return found.room_events.results.map(({ result }: Json) => result.content.body);
  };
  const people = async (token: string, term: string, more: object = {}): Promise<Json> => {
    await caughtUp();
    return must(server.url, 'POST', '/user_directory/search', { token, body: { search_term: term, ...more } });
  };
  const names = async (token: string, term: string): Promise<string[]> =>
    (await people(token, term)).results.map(({ user_id: userId }: Json) => userId.slice(1).split(':')[0]);
  it('runs on such a database', async () => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query(`select datctype from pg_database where datname = current_database()`);
    await client.end();
    expect(rows).to.deep.equal([{ datctype: 'C' }]);
  });

  it('finds Japanese, Chinese, Korean and Latin messages as soon as they were sent', async () => {
    const token = await register('locale');
    const id = await room(token);
    const texts = ['東京都へ行く', '我在学习', '한국어를 공부합니다', 'Ünïcode Words'];
    for (const [i, text] of texts.entries()) await say(token, id, text, `l${i}`);
    for (const [term, text] of [
      ['京都', texts[0]],
      ['学习', texts[1]],
      ['공부', texts[2]],
      ['unicode WORD', texts[3]],
    ] as const)
      expect(await find(token, term)).to.deep.equal([text!]);
  });

  it('misses nothing when it is killed', async () => {
    const token = await register('killed');
    const id = await room(token);
    // Nothing is indexed before the kill.
    const held = await HeldRows.hold(url, 'lock table search_docs in share mode');
    const sent = await Promise.all(Array.from({ length: 60 }, (_, i) => say(token, id, `停電の話 ${i}`, `k${i}`)));
    expect(sent).to.have.length(60);
    await held.areWaitedFor();
    await server.kill('SIGKILL');
    await held.release();
    await server.launch();
    expect(await find(token, '停電')).to.have.length(60);
    for (let i = 60; i < 70; i++) await say(token, id, `停電の話 ${i}`, `k${i}`);
    await server.restart('SIGTERM');
    expect(await find(token, '停電')).to.have.length(70);
  });

  describe('the user directory', () => {
    let seeker: string;

    before(async () => {
      seeker = await register('seeker', '探す人');
      const common = await room(seeker);
      for (const [user, name] of [
        ['tanaka', '田中 ﾊﾅｺ'],
        ['suzuki', 'すずき いちろう'],
        ['oneill', "Conan O'Neill"],
        ['kim', '김철수'],
      ] as const) {
        const token = await register(user, name);
        await must(server.url, 'POST', `/join/${common}`, { token, body: {} });
      }
    });

    it('finds users by any part of their name, whatever the width, case or kana', async () => {
      expect(await names(seeker, '田中')).to.deep.equal(['tanaka']);
      for (const term of ['中', 'はなこ', 'ハナコ', 'ﾅｺ', 'ハナコ 田'])
        expect(await names(seeker, term), term).to.deep.equal(['tanaka']);
      for (const term of ['スズキ', 'ｲﾁﾛｳ', 'ちろ']) expect(await names(seeker, term), term).to.deep.equal(['suzuki']);
      for (const term of ['CONAN', 'neil', "o'neill", 'ｃｏｎａｎ'])
        expect(await names(seeker, term), term).to.deep.equal(['oneill']);
      expect(await names(seeker, '철수')).to.deep.equal(['kim']);
      expect(await names(seeker, '田中 すずき')).to.deep.equal([]);
    });

    it('finds users by the beginning of their id, not by its middle', async () => {
      for (const term of ['tana', '@tana', 'TANAKA', '@tanaka:'])
        expect(await names(seeker, term), term).to.deep.equal(['tanaka']);
      expect(await names(seeker, 'anaka')).to.deep.equal([]);
    });

    it('lists the searcher where a public room shows them to everybody, and not for a private one', async () => {
      expect(await names(seeker, '探す')).to.deep.equal(['seeker']);
      const recluse = await register('recluse', '籠る人');
      await room(recluse, { preset: 'private_chat' });
      expect(await names(recluse, '籠る')).to.deep.equal([]);
      expect(await names(recluse, 'recluse')).to.deep.equal([]);
      await room(recluse);
      expect(await names(recluse, '籠る')).to.deep.equal(['recluse']);
    });

    it('says when there are more than asked for', async () => {
      for (let i = 0; i < 3; i++) await room(await register(`many${i}`, `大勢の人 ${i}`));
      expect((await people(seeker, '大勢', { limit: 3 })).results).to.have.length(3);
      expect((await people(seeker, '大勢', { limit: 3 })).limited).to.equal(false);
      const few = await people(seeker, '大勢', { limit: 2 });
      expect(few.limited).to.equal(true);
      expect(few.results).to.have.length(2);
      expect(few.results[0]).to.have.keys('user_id', 'display_name');
    });

    it('shows users of public rooms to everybody, others only to who is in a room with them', async () => {
      const hermit = await register('hermit', '隠者');
      const cave = await room(hermit, { preset: 'private_chat' });
      expect(await names(hermit, '大勢')).to.deep.equal(['many0', 'many1', 'many2']);
      expect(await names(seeker, '隠者')).to.deep.equal([]);
      await must(server.url, 'PUT', `/rooms/${cave}/state/m.room.join_rules`, {
        token: hermit,
        body: { join_rule: 'public' },
      });
      expect(await names(seeker, '隠者')).to.deep.equal(['hermit']);
      await must(server.url, 'PUT', `/rooms/${cave}/state/m.room.join_rules`, {
        token: hermit,
        body: { join_rule: 'invite' },
      });
      expect(await names(seeker, '隠者')).to.deep.equal([]);
      const whoami = await must(server.url, 'GET', '/account/whoami', { token: seeker });
      await must(server.url, 'POST', `/rooms/${cave}/invite`, { token: hermit, body: { user_id: whoami.user_id } });
      expect(await names(seeker, '隠者')).to.deep.equal([]);
      await must(server.url, 'POST', `/join/${cave}`, { token: seeker, body: {} });
      expect(await names(seeker, '隠者')).to.deep.equal(['hermit']);
    });

    it('knows nothing of names that are for one room only', async () => {
      const spy = await register('spy', '表の名');
      const id = await room(spy);
      const { user_id: userId } = await must(server.url, 'GET', '/account/whoami', { token: spy });
      expect(await names(seeker, '表の名')).to.deep.equal(['spy']);
      await must(server.url, 'PUT', `/rooms/${id}/state/m.room.member/${encodeURIComponent(userId)}`, {
        token: spy,
        body: { membership: 'join', displayname: '裏の名' },
      });
      // What came after it is found: so it was taken in.
      await room(await register('later', '後の名'));
      expect(await names(seeker, '後の名')).to.deep.equal(['later']);
      expect(await names(seeker, '裏の名')).to.deep.equal([]);
      expect((await people(seeker, 'spy')).results[0].display_name).to.equal('表の名');
    });

    it('follows changes of name, and deactivation', async () => {
      const token = await register('changer', '旧姓');
      await room(token);
      expect(await names(seeker, '旧姓')).to.deep.equal(['changer']);
      const { user_id: userId } = await must(server.url, 'GET', '/account/whoami', { token });
      await rename(token, userId, '新姓');
      expect(await names(seeker, '新姓')).to.deep.equal(['changer']);
      expect(await names(seeker, '旧姓')).to.deep.equal([]);
      const auth = {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: 'changer' },
        password: 'a password',
      };
      await must(server.url, 'POST', '/account/deactivate', { token, body: { auth } });
      expect(await names(seeker, '新姓')).to.deep.equal([]);
      expect(await names(seeker, 'changer')).to.deep.equal([]);
      await server.restart('SIGKILL');
      expect(await names(seeker, '田中')).to.deep.equal(['tanaka']);
      expect(await names(seeker, 'changer')).to.deep.equal([]);
    });

    it('finds nobody for a term without letters, and refuses bodies that are none', async () => {
      for (const term of ['', ' ', '@', '、。']) expect(await names(seeker, term), term).to.deep.equal([]);
    });
  });
});
