import { expect } from 'chai';
import { sql } from '#src/storage/database.ts';
import { OPERATOR } from '#src/services/audit/actor.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

/** What was said and shown before its sender was erased; each once. */
const SECRETS = /secret-[a-z-]+/g;
const secretsIn = (answer: unknown): string[] => [...new Set(JSON.stringify(answer).match(SECRETS))].toSorted();

/** Tables that may name an erased user, and why. */
const STAYING: Readonly<Record<string, string>> = {
  accounts: 'nobody else gets the name',
  users: 'numbers of all who are named in events',
  member: 'memberships are events',
  events: 'events stay, for those who were there',
  rooms: 'who made a room is an event',
  aliases: 'who made an alias may be asked for by administrators of the room',
  media: 'what nobody else shows goes when its grace has passed',
  reports: 'what was reported stays until an administrator has dealt with it',
  device_changes: 'others have to learn that the devices are gone',
  device_changes_due: 'others have to learn that the devices are gone',
};

describe('a user who wants to be erased', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let room: string;
  let said: Record<string, string>;
  /** Carol was there before the erasure, but not when Eve said anything. */
  const erase = async (): Promise<void> => {
    const { userId } = await server.session('eve');
    await server.services.accounts.deactivate(userId, true);
    await server.idle();
  };

  before(async () => {
    server = await InProcessServer.start();
    await server.setProfile('eve', { displayname: 'secret-name' });
    room = await server.room('bob', { preset: 'public_chat', name: 'a name of bob' });
    await server.join('eve', room);
    await server.setState('bob', room, 'm.room.power_levels', {
      ...(await server.must('bob', 'GET', `/rooms/${room}/state/m.room.power_levels`)),
      events: {},
      state_default: 0,
      events_default: 0,
    });
    const relate = (type: string, relation: object, content: object): Promise<Json> =>
      server.must('eve', 'PUT', `/rooms/${room}/send/${type}/${JSON.stringify(relation).length}${type}`, {
        ...content,
        'm.relates_to': relation,
      });
    const text = (body: string): object => ({ msgtype: 'm.text', body });
    const bobs = await server.say('bob', room, 'said by bob');
    const message = await server.say('eve', room, 'secret-message');
    await relate(
      'm.room.message',
      { rel_type: 'm.replace', event_id: message },
      {
        ...text('* secret-edit'),
        'm.new_content': text('secret-edit'),
      },
    );
    await relate('m.room.message', { rel_type: 'm.thread', event_id: bobs }, text('secret-reply'));
    await relate('m.reaction', { rel_type: 'm.annotation', event_id: bobs, key: 'secret-key' }, {});
    await relate('org.test', { rel_type: 'm.reference', event_id: bobs }, { what: 'secret-reference' });
    await server.setState('eve', room, 'm.room.topic', { topic: 'secret-old-topic' });
    await server.setState('bob', room, 'm.room.topic', { topic: 'a topic of bob' });
    await server.setState('eve', room, 'm.room.avatar', { url: 'mxc://test/in-force' });
    const typo = await server.say('bob', room, 'a typo');
    await server.setState('bob', room, 'm.room.power_levels', {
      ...(await server.must('bob', 'GET', `/rooms/${room}/state/m.room.power_levels`)),
      redact: 0,
    });
    await server.must('eve', 'PUT', `/rooms/${room}/redact/${typo}/1`, { reason: 'secret-reason' });
    said = { bobs, message, typo };
    await erase();
    await server.join('carol', room);
    await server.say('bob', room, 'said after');
  });
  after(() => server?.stop());

  /** Every way of reading the room. */
  const WAYS: readonly (readonly [string, (who: string) => Promise<unknown>])[] = [
    ['a first sync', (who) => server.must(who, 'GET', `/sync?filter=${query({ room: { timeline: { limit: 100 } } })}`)],
    [
      'a first sync with a short timeline',
      (who) => server.must(who, 'GET', `/sync?filter=${query({ room: { timeline: { limit: 1 } } })}`),
    ],
    [
      'a sync in the format of federation',
      (who) =>
        server.must(
          who,
          'GET',
          `/sync?filter=${query({ event_format: 'federation', room: { timeline: { limit: 100 } } })}`,
        ),
    ],
    ['a sync with the whole state', (who) => server.must(who, 'GET', '/sync?full_state=true')],
    ['messages backwards', (who) => server.must(who, 'GET', `/rooms/${room}/messages?dir=b&limit=100`)],
    ['messages forwards', (who) => server.must(who, 'GET', `/rooms/${room}/messages?dir=f&limit=100`)],
    [
      'the context of an event',
      (who) => server.must(who, 'GET', `/rooms/${room}/context/${said['message']}?limit=100`),
    ],
    ['one event', (who) => server.must(who, 'GET', `/rooms/${room}/event/${said['message']}`)],
    ['an event to which theirs relate', (who) => server.must(who, 'GET', `/rooms/${room}/event/${said['bobs']}`)],
    ['an event that they redacted', (who) => server.must(who, 'GET', `/rooms/${room}/event/${said['typo']}`)],
    ['relations', (who) => server.must(who, 'GET', `/v1/rooms/${room}/relations/${said['bobs']}`)],
    ['relations of their message', (who) => server.must(who, 'GET', `/v1/rooms/${room}/relations/${said['message']}`)],
    ['threads', (who) => server.must(who, 'GET', `/v1/rooms/${room}/threads`)],
    ['the state', (who) => server.must(who, 'GET', `/rooms/${room}/state`)],
    ['members', (who) => server.must(who, 'GET', `/rooms/${room}/members`)],
    [
      'their member event',
      async (who) =>
        server.must(
          who,
          'GET',
          `/rooms/${room}/state/m.room.member/${(await server.session('eve')).userId}?format=event`,
        ),
    ],
    ['the initial sync of a room', (who) => server.must(who, 'GET', `/rooms/${room}/initialSync?limit=100`)],
    ['the initial sync', (who) => server.must(who, 'GET', '/initialSync?limit=100')],
    ['notifications', (who) => server.must(who, 'GET', '/notifications')],
    [
      'a search',
      async (who) => {
        const answers = [];
        for (const term of ['secret', 'edit', 'topic', 'reply']) {
          const search = {
            search_categories: {
              room_events: { search_term: term, event_context: { include_profile: true }, include_state: true },
            },
          };
          const {
            search_categories: {
              room_events: { results, state },
            },
          } = await server.must(who, 'POST', '/search', search);
          answers.push(results, state);
        }
        return answers;
      },
    ],
  ];
  const query = (filter: object): string => encodeURIComponent(JSON.stringify(filter));

  for (const [way, read] of WAYS) {
    it(`is not read by whoever was not there then: ${way}`, async () => {
      expect(secretsIn(await read('carol'))).to.deep.equal([]);
    });
  }

  it('is read by whoever was there, as ever', async () => {
    const all = secretsIn([...(await Promise.all(WAYS.map(([, read]) => read('bob'))))]);
    expect(all).to.deep.equal([
      'secret-edit',
      'secret-key',
      'secret-message',
      'secret-name',
      'secret-old-topic',
      'secret-reason',
      'secret-reference',
      'secret-reply',
    ]);
  });

  it('is not read by whoever looks in from outside, nor by whoever is invited', async () => {
    await server.setState('bob', room, 'm.room.history_visibility', { history_visibility: 'world_readable' });
    expect(secretsIn(await server.must('stranger', 'GET', `/rooms/${room}/messages?dir=b&limit=100`))).to.deep.equal(
      [],
    );
    await server.must('bob', 'POST', `/rooms/${room}/invite`, { user_id: (await server.session('dave')).userId });
    expect(secretsIn(await server.must('dave', 'GET', '/sync'))).to.deep.equal([]);
  });

  it('leaves the room as it is: its name, and what else of its state is in force', async () => {
    const state: Json[] = await server.must('carol', 'GET', `/rooms/${room}/state`);
    const content = (type: string): Json => state.find((event) => event.type === type)?.content;
    expect(content('m.room.name')).to.deep.equal({ name: 'a name of bob' });
    expect(content('m.room.avatar')).to.deep.equal({ url: 'mxc://test/in-force' });
  });

  it('stays erased after a restart', async () => {
    await server.restart();
    for (const [way, read] of WAYS) expect(secretsIn(await read('carol')), way).to.deep.equal([]);
    expect(secretsIn(await server.must('bob', 'GET', `/rooms/${room}/messages?dir=b&limit=100`))).to.include(
      'secret-message',
    );
  });

  describe('leaves nothing else behind', () => {
    const TABLES = sql(
      'test_tables_of_users',
      `select table_name as "table", column_name as "column", data_type as type from information_schema.columns
       where table_schema = 'public' and column_name in ('user_id', 'user_nid', 'sender', 'creator', 'inviter', 'reporter', 'signer', 'claimed_by')
       order by 1, 2`,
    );
    /** Rows that name somebody, by table. */
    const rowsOf = async (name: string): Promise<Record<string, number>> => {
      const { userId } = await server.session(name);
      const { database, interner } = server.services;
      const nid = await interner.userNid(userId);
      const found: Record<string, number> = {};
      for (const { table, column, type } of await database.query<{ table: string; column: string; type: string }>(
        TABLES,
      )) {
        const text = `select count(*)::int as count from ${table} where ${column} = $1`;
        const [row] = await database.query<{ count: number }>({ name: `test_${table}_${column}`, text }, [
          type === 'text' ? userId : nid,
        ]);
        if ((row?.count ?? 0) > 0) found[table] = row!.count;
      }
      return found;
    };

    it('in any table that names users', async () => {
      const { services } = server;
      const { userId } = await server.session('frank');
      const own = await server.room('frank', { preset: 'public_chat', room_alias_name: 'franks' });
      await server.join('bob', own);
      const said = await server.say('bob', own, 'hello frank');
      await server.must('frank', 'POST', `/rooms/${own}/receipt/m.read/${said}`, {});
      await server.must('frank', 'PUT', `/user/${userId}/account_data/org.test`, { a: 1 });
      await server.must('frank', 'PUT', `/user/${userId}/rooms/${own}/account_data/org.test`, { a: 1 });
      await server.must('frank', 'PUT', `/user/${userId}/rooms/${own}/tags/u.x`, {});
      await server.must('frank', 'PUT', '/pushrules/global/content/x', { pattern: 'x', actions: ['notify'] });
      await server.must('frank', 'POST', `/user/${userId}/filter`, {});
      await server.must('frank', 'PUT', `/presence/${userId}/status`, { presence: 'online', status_msg: 'here' });
      await server.setProfile('frank', { displayname: 'Frank' });
      await server.must('frank', 'POST', `/user/${userId}/openid/request_token`, {});
      await services.accountThreepids.replace(userId, [{ medium: 'email', address: 'frank@mail.test' }]);
      const ids = [{ provider: 'idp', externalId: 'frank' }];
      await services.userChanges.put(OPERATOR, userId, { externalIds: ids });
      await server.must('frank', 'POST', `/rooms/${own}/invite`, {
        medium: 'email',
        address: 'g@mail.test',
        id_server: 'test',
      });
      await server.must('frank', 'PUT', `/rooms/${own}/send/org.test/1?org.matrix.msc4140.delay=60000`, {});
      await server.must('frank', 'POST', '/pushers/set', {
        app_id: 'app',
        pushkey: 'key',
        kind: 'http',
        app_display_name: 'a',
        device_display_name: 'd',
        lang: 'en',
        data: { url: 'https://push.test/_matrix/push/v1/notify' },
      });
      await server.must('frank', 'POST', `/rooms/${own}/report/${said}`, { reason: 'no reason' });
      await server.must('bob', 'PUT', `/rooms/${own}/send/m.room.message/9`, {
        msgtype: 'm.text',
        body: 'frank',
        'm.mentions': { user_ids: [userId] },
      });
      await server.idle();
      await services.presence.close();
      const before = await rowsOf('frank');
      expect(Object.keys(before)).to.include.members([
        'account_data',
        'account_threepids',
        'delayed_events',
        'devices',
        'directory_users',
        'external_ids',
        'filters',
        'mention',
        'openid_tokens',
        'presence',
        'profiles',
        'push_rules',
        'pushers',
        'receipts',
        'room_tags',
        'sessions',
        'third_party_invites',
      ]);
      await services.accounts.deactivate(userId, true);
      await server.idle();
      expect(Object.keys(await rowsOf('frank')).filter((table) => STAYING[table] === undefined)).to.deep.equal([]);
    });

    it('in what others are told', async () => {
      const { userId } = await server.session('frank');
      expect((await server.ask('bob', 'GET', `/profile/${userId}`)).body).to.deep.equal({});
      const { results } = await server.must('bob', 'POST', '/user_directory/search', { search_term: 'frank' });
      expect(results).to.deep.equal([]);
      const { rooms } = await server.must('carol', 'GET', '/sync');
      expect(JSON.stringify(rooms)).not.to.include('Frank');
    });
  });

  it('keeps their data when they only deactivate their account, but leaves all rooms', async () => {
    const { userId } = await server.session('gina');
    await server.must('gina', 'PUT', `/user/${userId}/account_data/org.test`, { kept: true });
    await server.join('gina', room);
    await server.say('gina', room, 'secret-kept');
    await server.services.accounts.deactivate(userId, false);
    await server.idle();
    expect(await server.services.accountData.get(userId, 0, 'org.test')).to.equal('{"kept":true}');
    await server.join('henry', room);
    expect(secretsIn(await server.must('henry', 'GET', `/rooms/${room}/messages?dir=b&limit=100`))).to.deep.equal([
      'secret-kept',
    ]);
    const { joined } = await server.must('henry', 'GET', `/rooms/${room}/joined_members`);
    expect(joined).not.to.have.property(userId);
  });
});
