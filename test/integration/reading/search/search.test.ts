import { expect } from 'chai';
import fc from 'fast-check';
import type { Json } from '#test/support/in-process-server.ts';
import { SearchServer } from './search-server.ts';

describe('searching messages', function () {
  this.timeout(60_000);
  let server: SearchServer;

  before(async () => {
    server = await SearchServer.start();
  });
  after(() => server.stop());

  const say = async (token: string, room: string, text: string): Promise<string> => {
    await server.rooms.clock.advance(1_000);
    return server.rooms.say(token, room, text);
  };
  const publicRoom = (token: string, wish: object = {}): Promise<string> =>
    server.rooms.room(token, { preset: 'public_chat', ...wish });

  it('finds Japanese, Chinese, Korean and Latin texts by parts that people type', async () => {
    const room = await publicRoom('anna');
    const texts = {
      japanese: '明日は東京都庁の展望室へ行きます',
      kana: 'ﾊﾝﾊﾞｰｸﾞをたべたい',
      chinese: '我们正在学习中文',
      korean: '내일 한국어를 공부합니다',
      latin: 'Crème brûlée, then Martians',
      emoji: 'おめでとう🎉🎊',
    };
    for (const text of Object.values(texts)) await say('anna', room, text);
    const expected: [string, string][] = [
      ['東京', texts.japanese],
      ['展望室', texts.japanese],
      ['庁', texts.japanese],
      ['はんばーぐ', texts.kana],
      ['ハンバーグ', texts.kana],
      ['学习', texts.chinese],
      ['공부', texts.korean],
      ['한국', texts.korean],
      ['creme', texts.latin],
      ['ＭＡＲＴＩＡＮ', texts.latin],
      ['martians brulee', texts.latin],
      ['🎉', texts.emoji],
    ];
    for (const [term, text] of expected) expect(await server.texts('anna', term), term).to.deep.equal([text]);
    expect(await server.texts('anna', '京東')).to.deep.equal([]);
    expect(await server.texts('anna', 'artians')).to.deep.equal([]);
  });

  it('finds every message by every part of it of two characters or more', async () => {
    const room = await publicRoom('prop');
    const alphabet = [...'東京都大阪府京都市のにはをがアイウガギ々ー中文学习한국어공부、。「」 '];
    const message = fc.array(fc.constantFrom(...alphabet), { minLength: 2, maxLength: 24 });
    const texts = fc.sample(message, 30).map((characters) => characters.join(''));
    const sent: string[] = [];
    for (const text of texts) sent.push(await say('prop', room, text));
    await server.idle();
    for (const [index, text] of texts.entries()) {
      const characters = [...text];
      for (let from = 0; from < characters.length - 1; from += 3) {
        for (const length of [2, 3, 7, characters.length]) {
          const part = characters.slice(from, from + length).join('');
          if (/^[、。「」 ]*$/.test(part)) continue;
          const { results } = await server.find('prop', `"${part}"`, { filter: { limit: 100 } });
          const ids = results.map(({ result }: Json) => result.event_id);
          expect(ids, `${part} in ${text}`).to.include(sent[index]);
        }
      }
    }
  });

  it('searches names and topics, and only the keys that are asked for', async () => {
    const room = await publicRoom('keys', { name: '神保町の集い', topic: '神保町で本を探す' });
    await say('keys', room, '神保町に着いた');
    const all = { order_by: 'recent' };
    expect(await server.texts('keys', '神保町', all)).to.have.members([
      '神保町の集い',
      '神保町で本を探す',
      '神保町に着いた',
    ]);
    expect(await server.texts('keys', '神保町', { keys: ['content.body'] })).to.deep.equal(['神保町に着いた']);
    expect(await server.texts('keys', '神保町', { keys: ['content.name'] })).to.deep.equal(['神保町の集い']);
    expect(await server.texts('keys', '神保町', { keys: ['content.topic'] })).to.deep.equal(['神保町で本を探す']);
  });

  it('shows nobody what they may not see', async () => {
    const room = await publicRoom('owner');
    await server.rooms.setState('owner', room, 'm.room.history_visibility', { history_visibility: 'joined' });
    await say('owner', room, '秘密その一');
    await server.rooms.join('visitor', room);
    await say('owner', room, '秘密その二');
    await server.rooms.must('visitor', 'POST', `/rooms/${room}/leave`, {});
    await say('owner', room, '秘密その三');
    expect(await server.texts('visitor', '秘密')).to.deep.equal(['秘密その二']);
    expect((await server.find('visitor', '秘密')).count).to.equal(1);
    expect(await server.texts('owner', '秘密')).to.deep.equal(['秘密その三', '秘密その二', '秘密その一']);
    expect(await server.texts('stranger', '秘密')).to.deep.equal([]);
    expect(await server.texts('stranger', '秘密', { filter: { rooms: [room] } })).to.deep.equal([]);
    await server.rooms.must('visitor', 'POST', `/rooms/${room}/forget`, {});
    await server.restart();
    expect(await server.texts('visitor', '秘密')).to.deep.equal([]);
  });

  it('never finds texts of encrypted rooms, those from before they were included', async () => {
    const room = await publicRoom('crypt');
    await say('crypt', room, '暗号化の前');
    expect(await server.texts('crypt', '暗号')).to.deep.equal(['暗号化の前']);
    await server.rooms.setState('crypt', room, 'm.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2' });
    await say('crypt', room, '暗号化の後');
    expect(await server.texts('crypt', '暗号')).to.deep.equal([]);
    const { database } = server.rooms.services;
    const rows = await database.query<{ n: number }>(
      {
        name: 'test_docs',
        text: `select count(*)::int as n from search_docs d join rooms r on r.nid = d.room where r.room_id = $1`,
      },
      [room],
    );
    expect(rows[0]?.n).to.equal(0);
  });

  it('forgets what is redacted', async () => {
    const room = await publicRoom('reda');
    const id = await say('reda', room, '取り消す言葉');
    expect(await server.texts('reda', '取り消す')).to.have.length(1);
    await server.rooms.must('reda', 'PUT', `/rooms/${room}/redact/${encodeURIComponent(id)}/r1`, {});
    expect(await server.texts('reda', '取り消す')).to.deep.equal([]);
    expect((await server.find('reda', '取り消す')).count).to.equal(0);
  });

  it('forgets what is about to be deleted', async () => {
    const room = await publicRoom('purge');
    const id = await say('purge', room, '古い言葉');
    await say('purge', room, '新しい言葉');
    const { rooms, events } = server.rooms.services;
    const stored = await rooms.byId(room);
    await server.idle();
    await server.index.forget(stored!.nid, [(await events.find(stored!, id))!.nid]);
    expect(await server.texts('purge', '言葉')).to.deep.equal(['新しい言葉']);
  });

  it('gives next_batch with every full page, and an empty page without it at the end', async () => {
    const room = await publicRoom('pages');
    for (let i = 1; i <= 6; i++) await say('pages', room, `ページの話 ${i}`);
    for (const orderBy of ['recent', 'rank']) {
      const seen: string[] = [];
      let nextBatch: string | undefined;
      const sizes: number[] = [];
      do {
        const page: Json = await server.find('pages', 'ページ', { order_by: orderBy, filter: { limit: 3 } }, nextBatch);
        seen.push(...page.results.map(({ result }: Json) => result.content.body));
        sizes.push(page.results.length);
        expect(page.count, orderBy).to.equal(6);
        nextBatch = page.next_batch;
      } while (nextBatch !== undefined);
      expect(sizes, orderBy).to.deep.equal([3, 3, 0]);
      expect(seen, orderBy).to.have.length(6);
      expect(new Set(seen).size).to.equal(6);
      if (orderBy === 'recent') expect(seen[0]).to.equal('ページの話 6');
    }
  });

  it('puts the best match first by rank, the newest one first by time', async () => {
    const room = await publicRoom('rank');
    await say('rank', room, '蕎麦と蕎麦と蕎麦');
    await say('rank', room, `蕎麦${'のはなし'.repeat(60)}`);
    const ranked = await server.find('rank', '蕎麦', { order_by: 'rank' });
    expect(ranked.results[0].result.content.body).to.equal('蕎麦と蕎麦と蕎麦');
    expect(ranked.results[0].rank).to.be.above(ranked.results[1].rank);
    const recent = await server.find('rank', '蕎麦', { order_by: 'recent' });
    expect(recent.results[1].result.content.body).to.equal('蕎麦と蕎麦と蕎麦');
  });

  it('has fewer results to a page when many events are wanted around each, and continues with the others', async () => {
    const roomId = await server.rooms.room('alice');
    for (let i = 0; i < 30; i++) await server.rooms.say('alice', roomId, `surroundings ${i}`);
    const wide = { event_context: { before_limit: 1_000_000, after_limit: 1_000_000 }, filter: { limit: 500 } };
    for (const order of ['recent', 'rank']) {
      const found: string[] = [];
      let next: string | undefined;
      do {
        const page = await server.find('alice', 'surroundings', { ...wide, order_by: order }, next);
        const sizes = page.results.map(
          ({ context }: Json) => context.events_before.length + context.events_after.length,
        );
        expect(sizes.length).to.be.within(0, 7);
        expect(Math.max(0, ...sizes)).to.be.at.most(200);
        found.push(...page.results.map(({ result }: Json) => result.content.body));
        next = page.next_batch;
      } while (next !== undefined);
      expect(found).to.have.length(30);
      expect(new Set(found)).to.have.property('size', 30);
    }
  });
  it('refuses a term that nobody types', async () => {
    const { status, body } = await server.ask('alice', { search_term: '東京 '.repeat(10_000) });
    expect([status, body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('shows what stands around a result, the events before it newest first', async () => {
    const room = await publicRoom('ctx');
    await server.rooms.setProfile('ctx2', { displayname: 'Contexta' });
    await server.rooms.join('ctx2', room);
    for (const text of ['一番', '二番']) await say('ctx', room, text);
    await say('ctx2', room, '目印の言葉');
    for (const text of ['三番', '四番']) await say('ctx', room, text);
    const { results } = await server.find('ctx', '目印', {
      event_context: { before_limit: 2, after_limit: 1, include_profile: true },
    });
    const { context } = results[0];
    expect(context.events_before.map((event: Json) => event.content.body)).to.deep.equal(['二番', '一番']);
    expect(context.events_after.map((event: Json) => event.content.body)).to.deep.equal(['三番']);
    expect(context.profile_info['@ctx2:test'].displayname).to.equal('Contexta');
    expect(context.profile_info).to.have.property('@ctx:test');
    const older = await server.rooms.must('ctx', 'GET', `/rooms/${room}/messages?dir=b&limit=1&from=${context.start}`);
    expect(older.chunk[0].type).to.equal('m.room.member');
    const newer = await server.rooms.must('ctx', 'GET', `/rooms/${room}/messages?dir=f&limit=1&from=${context.end}`);
    expect(newer.chunk[0].content.body).to.equal('四番');
    expect((await server.find('ctx', '目印')).results[0]).not.to.have.property('context');
  });

  it('groups by room and by sender, and pages within a group', async () => {
    const one = await publicRoom('group', { preset: 'public_chat' });
    const two = await publicRoom('group');
    await server.rooms.join('group2', one);
    for (let i = 0; i < 3; i++) {
      await say('group', one, `班の話 ${i}`);
      await say('group', two, `班の話 ${i}`);
    }
    await say('group2', one, '班の話 四');
    const groupings = { group_by: [{ key: 'room_id' }, { key: 'sender' }] };
    for (const orderBy of ['recent', 'rank']) {
      const found = await server.find('group', '班の話', { order_by: orderBy, groupings, filter: { limit: 4 } });
      expect(Object.keys(found.groups)).to.have.members(['room_id', 'sender']);
      const byRoom = found.groups.room_id;
      const ids = Object.values(byRoom).flatMap((group: Json) => group.results);
      expect(ids).to.have.members(found.results.map(({ result }: Json) => result.event_id));
      const rest = await server.find('group', '班の話', { order_by: orderBy, groupings }, byRoom[two].next_batch);
      const restIds = rest.results.map(({ result }: Json) => result.event_id);
      expect(rest.results.every(({ result }: Json) => result.room_id === two)).to.equal(true);
      expect(restIds.length + byRoom[two].results.length, orderBy).to.equal(3);
      expect(rest.count, orderBy).to.equal(3);
      expect(byRoom[two].results.some((id: string) => restIds.includes(id))).to.equal(false);
    }
  });

  it('obeys the filter: rooms, senders, types, contains_url', async () => {
    const one = await publicRoom('filter');
    const two = await publicRoom('filter');
    await server.rooms.join('filter2', one);
    await say('filter', one, '濾過の壱');
    await say('filter2', one, '濾過の弐');
    await say('filter', two, '濾過の参');
    await server.rooms.must('filter', 'PUT', `/rooms/${two}/send/m.room.message/u1`, {
      msgtype: 'm.file',
      body: '濾過.pdf',
      url: 'mxc://test/abc',
    });
    const of = (filter: object): Promise<string[]> => server.texts('filter', '濾過', { filter });
    expect(await of({ rooms: [one] })).to.deep.equal(['濾過の弐', '濾過の壱']);
    expect(await of({ not_rooms: [one] })).to.deep.equal(['濾過.pdf', '濾過の参']);
    expect(await of({ senders: ['@filter2:test'] })).to.deep.equal(['濾過の弐']);
    expect(await of({ not_senders: ['@filter:test'] })).to.deep.equal(['濾過の弐']);
    expect(await of({ senders: ['@nobody:test'] })).to.deep.equal([]);
    expect(await of({ contains_url: true })).to.deep.equal(['濾過.pdf']);
    expect(await of({ types: ['m.room.name'] })).to.deep.equal([]);
    expect(await of({ rooms: [] })).to.deep.equal([]);
    expect(await of({ limit: 0 })).to.deep.equal([]);
  });

  it('finds what was sent before it began, without waiting for the index', async () => {
    const room = await publicRoom('now');
    for (let i = 0; i < 5; i++) {
      await say('now', room, `今すぐ${i}`);
      const { body } = await server.ask('now', { search_term: `今すぐ${i}` });
      expect(body.search_categories.room_events.results).to.have.length(1);
    }
  });

  it('counts exactly where few messages may match, whoever may see them', async () => {
    const room = await publicRoom('counter');
    for (let i = 0; i < 7; i++) await say('counter', room, i === 3 ? 'unique word' : `other words ${i}`);
    for (const orderBy of ['recent', 'rank']) {
      const one = await server.find('counter', 'unique', { order_by: orderBy, filter: { limit: 1 } });
      expect([one.count, one.results.length], orderBy).to.deep.equal([1, 1]);
    }
    // Grams that both words have, and one of them is meant: 30 of 60 candidates match.
    for (let i = 0; i < 60; i++)
      await say('counter', room, i % 2 === 0 ? `constellation ${i}` : `constellations ${i}x`);
    expect((await server.find('counter', 'constellations', { filter: { limit: 2 } })).count).to.equal(30);
    const page = await server.find('counter', 'constellation', { filter: { limit: 2 } });
    expect(page.count).to.equal(60);
    expect((await server.find('counter', 'constellation', { filter: { limit: 2 } }, page.next_batch)).count).to.equal(
      60,
    );
    // What came before somebody may read is no match of theirs.
    const hidden = await publicRoom('counter', {
      initial_state: [{ type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } }],
    });
    for (let i = 0; i < 20; i++) await say('counter', hidden, `mostly hidden ${i}`);
    await server.rooms.join('latecomer', hidden);
    for (let i = 0; i < 3; i++) await say('counter', hidden, `mostly hidden, but this ${i}`);
    expect((await server.find('latecomer', 'mostly hidden', { filter: { limit: 1 } })).count).to.equal(3);
  });

  it('looks through so many long texts a page and lets others have their turn meanwhile', async () => {
    const room = await publicRoom('long');
    const long = 'あ'.repeat(19_000);
    for (let i = 0; i < 130; i++) await say('long', room, i === 0 ? `${long}珍` : long);
    await server.idle();
    const texts: string[] = [];
    let pages = 0;
    let turns = 0;
    let most = 0;
    let nextBatch: string | undefined;
    do {
      let isSearching = true;
      const count = (): void => {
        turns += 1;
        if (isSearching) setImmediate(count);
      };
      setImmediate(count);
      const before = turns;
      const page: Json = await server.find('long', '珍', {}, nextBatch);
      isSearching = false;
      most = Math.max(most, turns - before);
      texts.push(...page.results.map(({ result }: Json) => result.content.body));
      nextBatch = page.next_batch;
      pages += 1;
    } while (nextBatch !== undefined && pages < 20);
    expect(texts).to.deep.equal([`${long}珍`]);
    // 130 texts of 19 000 characters are two and a half million; a page looks through one and a half million of them.
    expect(pages).to.equal(2);
    expect(most).to.be.greaterThan(20);
  });

  it('asks for the rooms that a filter names in one statement, however many they are', async () => {
    const room = await publicRoom('longlist');
    await say('longlist', room, '長い名簿');
    const costOf = async (count: number): Promise<number> => {
      const unknown = Array.from({ length: count }, (_, i) => `!unknown${i}:elsewhere.test`);
      const filter = { rooms: [room, ...unknown], not_rooms: unknown };
      expect(await server.texts('longlist', '長い名簿', { filter })).to.have.length(1);
      return server.rooms.statements(() => server.ask('longlist', { search_term: '長い名簿', filter }));
    };
    expect(await costOf(900)).to.equal(await costOf(1));
    const tooMany = { not_rooms: Array.from({ length: 1_001 }, (_, i) => `!unknown${i}:elsewhere.test`) };
    const { status, body } = await server.ask('longlist', { search_term: 'x', filter: tooMany });
    expect([status, body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('leaves out what ignored users said', async () => {
    const room = await publicRoom('calm');
    await server.rooms.join('loud', room);
    await say('loud', room, '騒音の話');
    await say('calm', room, '騒音の後の話');
    expect(await server.texts('calm', '騒音')).to.have.length(2);
    await server.ignore('calm', ['loud']);
    expect(await server.texts('calm', '騒音')).to.deep.equal(['騒音の後の話']);
    expect(await server.texts('loud', '騒音')).to.have.length(2);
  });

  it('crosses upgraded rooms in which the user was', async () => {
    const old = await publicRoom('upg');
    await server.rooms.join('late', old);
    await say('upg', old, '引越の前の話');
    const next = await publicRoom('upg', { creation_content: { predecessor: { room_id: old, event_id: '$x' } } });
    await say('upg', next, '引越の後の話');
    expect(await server.texts('upg', '引越', { filter: { rooms: [next] } })).to.deep.equal([
      '引越の後の話',
      '引越の前の話',
    ]);
    await server.rooms.join('newcomer', next);
    expect(await server.texts('newcomer', '引越', { filter: { rooms: [next] } })).to.deep.equal(['引越の後の話']);
    expect(await server.texts('upg', '引越', { filter: { rooms: [next], not_rooms: [old] } })).to.deep.equal([
      '引越の後の話',
    ]);
  });

  it('adds the state of the rooms when asked, and says what to highlight', async () => {
    const room = await publicRoom('state', { name: '状態の部屋' });
    await say('state', room, '目立つ言葉とwords');
    const found = await server.find('state', '目立つ Word', { include_state: true });
    expect(found.highlights).to.deep.equal(['目立つ', 'Word']);
    expect(found.state[room].map((event: Json) => event.type)).to.include('m.room.name');
    expect(found.count).to.equal(1);
    expect(await server.find('state', '目立つ')).not.to.have.property('state');
  });

  it('finds a single character, and nothing for a term without any', async () => {
    const room = await publicRoom('single');
    await say('single', room, '鯖を食う');
    await say('single', room, '鯖');
    expect(await server.texts('single', '鯖')).to.deep.equal(['鯖', '鯖を食う']);
    expect((await server.find('single', '、。')).results).to.deep.equal([]);
    expect((await server.find('single', '')).count).to.equal(0);
  });

  it('finds what is old and rare among thousands of messages, in one room and in all', async () => {
    const one = await publicRoom('many');
    const two = await publicRoom('many');
    await say('many', one, '珊瑚礁の写真');
    await say('many', two, '珊瑚礁の地図と鯨');
    await say('many', one, 'Coral reefs, old');
    const { rooms, events } = server.rooms.services;
    for (const id of [one, two]) {
      const room = (await rooms.byId(id))!;
      for (let i = 0; i < 6; i++) {
        await server.rooms.clock.advance(1_000);
        const drafts = Array.from({ length: 400 }, (_, j) => ({
          type: 'm.room.message',
          sender: '@many:test',
          content: { msgtype: 'm.text', body: `東京の話 ${i} ${j}` },
        }));
        await events.sendAll(room, drafts);
      }
    }
    expect(await server.texts('many', '珊瑚')).to.deep.equal(['珊瑚礁の地図と鯨', '珊瑚礁の写真']);
    expect(await server.texts('many', '珊瑚礁の写真')).to.deep.equal(['珊瑚礁の写真']);
    expect(await server.texts('many', '珊瑚 地図')).to.deep.equal(['珊瑚礁の地図と鯨']);
    expect(await server.texts('many', 'coral reef')).to.deep.equal(['Coral reefs, old']);
    expect(await server.texts('many', '珊瑚', { filter: { rooms: [two] } })).to.deep.equal(['珊瑚礁の地図と鯨']);
    expect(
      await server.texts('many', '珊瑚', { filter: { senders: ['@many:test'] }, keys: ['content.body'] }),
    ).to.have.length(2);
    expect((await server.find('many', '珊瑚')).count).to.equal(2);
    const common = await server.find('many', '東京');
    expect(common.results).to.have.length(10);
    expect(common.count).to.be.within(4_000, 6_000);
    expect((await server.find('many', '東京', { filter: { rooms: [one] } })).count).to.be.within(2_000, 3_000);

    // A single character is looked for text by text, many thousands for a page.
    expect(await server.texts('many', '鯨')).to.deep.equal(['珊瑚礁の地図と鯨']);
    // A page may end before it is found, and says where to go on.
    let nextBatch: string | undefined;
    let found: string[] = [];
    let pages = 0;
    do {
      const page: Json = await server.find('many', '鯨', {}, nextBatch);
      found = [...found, ...page.results.map(({ result }: Json) => result.content.body)];
      nextBatch = page.next_batch;
      pages += 1;
    } while (nextBatch !== undefined && pages < 10);
    expect(found).to.deep.equal(['珊瑚礁の地図と鯨']);
    expect(nextBatch).to.equal(undefined);
  });

  it('refuses tokens and bodies that are none', async () => {
    expect((await server.ask('single', { search_term: 'x' }, 'nonsense')).body.errcode).to.equal('M_INVALID_PARAM');
    expect((await server.ask('single', { search_term: 'x' }, 'f1_W10')).body.errcode).to.equal('M_INVALID_PARAM');
    expect((await server.ask('single', {})).status).to.equal(400);
    expect((await server.ask('single', { search_term: 'x', order_by: 'taste' })).status).to.equal(400);
  });
});
