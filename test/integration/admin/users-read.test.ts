import { expect } from 'chai';
import { accountPage } from '#src/storage/accounts/account-pages.ts';
import type { Database } from '#src/storage/database.ts';
import { sql, type Statement } from '#src/storage/statement.ts';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const ADMIN = 'admin-root';
const ROOT = '@admin-root:test';

describe('the list of users for administrators', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  const list = (query = '', version = 'v2'): Promise<Json> =>
    server.must(ADMIN, 'GET', `/_synapse/admin/${version}/users${query}`);
  const names = async (query = '', version = 'v2'): Promise<string[]> =>
    (await list(query, version)).users.map(({ name }: { name: string }) => name.slice(1, -5));
  const change = (name: string, changes: object): Promise<void> =>
    server.services.database.write((tx) => server.services.users.change(tx, `@${name}:test`, changes));

  before(async () => {
    server = await InProcessServer.start();
    for (const name of [ADMIN, 'anna', 'bert', 'carl', 'dora', 'guest-1', 'locked', 'gone', 'robot']) {
      await server.account(name);
      await server.clock.advance(1_000);
    }
    await change('locked', { locked: true });
    await change('gone', { deactivated: true, erased: true });
    await change('robot', { userType: 'bot' });
    await change('bert', { shadowBanned: true });
    await server.setProfile('carl', { displayname: 'Zoë "the 100%" Ångström', avatar_url: 'mxc://test/z' });
    await server.setProfile('dora', { displayname: 'Adorable', avatar_url: 'mxc://test/a' });
    await server.idle();
  });
  after(() => server?.stop());

  it('has every member that tools expect, and no other', async () => {
    const { total, users } = await list('?name=carl');
    const [{ last_seen_ts: seen, creation_ts: created, ...carl }] = users;
    expect(total).to.equal(1);
    expect(carl).to.deep.equal({
      name: '@carl:test',
      user_type: null,
      is_guest: false,
      admin: false,
      deactivated: false,
      shadow_banned: false,
      displayname: 'Zoë "the 100%" Ångström',
      avatar_url: 'mxc://test/z',
      erased: false,
      locked: false,
    });
    expect(seen === null || Number.isInteger(seen)).to.equal(true);
    expect(created).to.be.within(server.clock.now() - 60_000, server.clock.now());
  });

  it('is in the order of user ids and leaves out the deactivated and the locked, unless they are wanted', async () => {
    expect(await names()).to.deep.equal([ADMIN, 'anna', 'bert', 'carl', 'dora', 'guest-1', 'robot']);
    expect(await names('?deactivated=true'))
      .to.include('gone')
      .and.not.to.include('locked');
    expect(await names('?locked=true'))
      .to.include('locked')
      .and.not.to.include('gone');
    expect(await names('?guests=false')).not.to.include('guest-1');
    expect(await names('?admins=true')).to.deep.equal([ADMIN]);
    expect(await names('?admins=false')).not.to.include(ADMIN);
  });

  it('has in its third version the deactivated, the others, or both', async () => {
    expect(await names('?deactivated=true', 'v3')).to.deep.equal(['gone']);
    expect(await names('?deactivated=false', 'v3')).not.to.include('gone');
    expect(await names('', 'v3'))
      .to.include('gone')
      .and.to.include('anna');
  });

  it('is filtered by parts of names and ids, in which no character means anything but itself', async () => {
    expect(await names('?name=ZO%C3%AB')).to.deep.equal(['carl']);
    expect(await names('?name=100%25')).to.deep.equal(['carl']);
    expect(await names('?name=%22the')).to.deep.equal(['carl']);
    expect(await names('?name=ADOR')).to.deep.equal(['dora']);
    expect(await names('?name=_')).to.deep.equal([]);
    expect(await names('?user_id=R')).to.deep.equal([ADMIN, 'bert', 'carl', 'dora', 'robot']);
    expect(await names('?user_id=%3Atest&name=anna')).to.deep.equal(['anna']);
    expect(await names('?name=%3Atest')).to.deep.equal([]);
  });

  it('leaves out types of users, an empty one being no type at all', async () => {
    expect(await names('?not_user_type=bot')).not.to.include('robot');
    expect(await names('?not_user_type=')).to.deep.equal(['robot']);
    expect(await names('?not_user_type=&not_user_type=bot')).to.deep.equal([]);
    expect(await names('?not_user_type=support'))
      .to.include('robot')
      .and.to.include('anna');
  });

  it('is ordered by what is asked for, and by user id where that is the same, in both directions', async () => {
    const all = [ADMIN, 'anna', 'bert', 'carl', 'dora', 'gone', 'guest-1', 'locked', 'robot'];
    const without = (...some: string[]): string[] => all.filter((name) => !some.includes(name));
    const ordered = (order: string): Promise<string[]> => names(`?locked=true&order_by=${order}`, 'v3');
    expect(await ordered('name')).to.deep.equal(all);
    expect(await ordered('name&dir=b')).to.deep.equal(all.toReversed());
    for (const [order, who] of [
      ['is_guest', 'guest-1'],
      ['admin', ADMIN],
      ['deactivated', 'gone'],
      ['locked', 'locked'],
      ['shadow_banned', 'bert'],
    ] as const) {
      expect(await ordered(order), order).to.deep.equal([...without(who), who]);
      expect(await ordered(`${order}&dir=b`), order).to.deep.equal([who, ...without(who)]);
    }
    expect(await ordered('user_type')).to.deep.equal(['robot', ...without('robot')]);
    expect(await ordered('user_type&dir=b')).to.deep.equal([...without('robot'), 'robot']);
    for (const order of ['displayname', 'avatar_url']) {
      expect(await ordered(order), order).to.deep.equal(['dora', 'carl', ...without('carl', 'dora')]);
      expect(await ordered(`${order}&dir=b`), order).to.deep.equal([...without('carl', 'dora'), 'carl', 'dora']);
    }
    const made = [ADMIN, 'anna', 'bert', 'carl', 'dora', 'guest-1', 'locked', 'gone', 'robot'];
    expect(await ordered('creation_ts')).to.deep.equal(made);
    expect(await ordered('creation_ts&dir=b')).to.deep.equal(made.toReversed());
  });

  it('is ordered by when users were last seen, those who never were after the others', async () => {
    await server.must('dora', 'GET', '/account/whoami');
    await server.clock.advance(120_000);
    await server.must('anna', 'GET', '/account/whoami');
    await server.clock.advance(120_000);
    const order = await names('?order_by=last_seen_ts&name=a');
    expect(order.indexOf('dora')).to.be.lessThan(order.indexOf('anna'));
    const back = await names('?order_by=last_seen_ts&dir=b&name=a');
    expect(back.indexOf('anna')).to.be.lessThan(back.indexOf('dora'));
    expect((await list('?name=anna')).users[0].last_seen_ts).to.be.a('number');
  });

  it('is read page by page, each named by the one before, to the same end in every order', async () => {
    for (const order of ['name', 'displayname', 'creation_ts', 'is_guest', 'last_seen_ts', 'user_type']) {
      const found: string[] = [];
      let from = '0';
      for (let pages = 0; pages < 20; pages += 1) {
        const page = await list(`?order_by=${order}&limit=2&from=${from}`, 'v3');
        expect(page.total).to.equal(8);
        found.push(...page.users.map(({ name }: { name: string }) => name));
        if (page.next_token === undefined) break;
        from = page.next_token;
      }
      expect(new Set(found).size, order).to.equal(8);
      expect(found).to.have.length(8);
    }
    expect(await list('?limit=0')).to.deep.include({ users: [], next_token: '0' });
    expect(await list('?from=100')).to.deep.equal({ users: [], total: 7 });
    expect((await list('?limit=100000000')).users).to.have.length(7);
  });

  it('refuses what is no order, no direction and no number', async () => {
    for (const query of [
      'order_by=password_hash',
      'dir=x',
      'limit=-1',
      'from=-1',
      'limit=x',
      'guests=1',
      'admins=yes',
    ]) {
      const { body, status } = await server.ask(ADMIN, 'GET', `/_synapse/admin/v2/users?${query}`);
      expect([status, body.errcode], query).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
  });

  it('is read from indexes, however many users there are', async () => {
    const { database } = server.services;
    await database.query(
      sql(
        'test_many_accounts',
        `insert into accounts (user_id, localpart, created_ts) select '@many' || n || ':test', 'many' || n, n from generate_series(1, 20000) n`,
      ),
    );
    await database.query(sql('test_many_accounts_analyze', 'analyze accounts'));
    const plans = new Map<string, string>();
    const explain = ({ text }: Statement, values?: readonly unknown[]): Promise<never[]> => {
      const name = `test_accounts_explained_${plans.size}`;
      return database.query({ name, text: `explain (format json) ${text}` }, values);
    };
    for (const order of ['name', 'is_guest', 'admin', 'deactivated', 'locked', 'shadow_banned', 'creation_ts'] as const)
      for (const direction of ['f', 'b'] as const) {
        const reader = { query: explain } as unknown as Database;
        const plan = await accountPage(reader, {}, { order, direction, limit: 10, offset: 0 });
        plans.set(`${order} ${direction}`, JSON.stringify(plan));
      }
    const wholly = [...plans].filter(([, plan]) => /"Seq Scan"[^}]*"Relation Name":"accounts"/.test(plan));
    expect(wholly.map(([order]) => order)).to.deep.equal([]);
  });
});

describe('what administrators read of a user', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  const admin = (path: string): Promise<Json> => server.must(ADMIN, 'GET', `/_synapse/admin/${path}`);
  const refused = async (path: string): Promise<unknown> => {
    const { body, status } = await server.ask(ADMIN, 'GET', `/_synapse/admin/${path}`);
    return [status, body.errcode];
  };

  before(async () => {
    server = await InProcessServer.start();
    await server.account(ADMIN, 'alice', 'bob');
  });
  after(() => server?.stop());

  it('is everything of the account, with the members that tools expect and no other', async () => {
    await server.setProfile('alice', { displayname: 'Alice' });
    await server.services.accountThreepids.replace('@alice:test', [{ medium: 'email', address: 'Alice@mail.test' }]);
    const now = server.clock.now();
    const { last_seen_ts: seen, ...alice } = await admin('v2/users/@alice:test');
    expect(alice).to.deep.equal({
      name: '@alice:test',
      displayname: 'Alice',
      avatar_url: null,
      threepids: [{ medium: 'email', address: 'alice@mail.test', added_at: now, validated_at: now }],
      external_ids: [],
      is_guest: false,
      admin: false,
      deactivated: false,
      erased: false,
      locked: false,
      suspended: false,
      shadow_banned: false,
      creation_ts: Math.floor(now / 1000),
      appservice_id: null,
      consent_server_notice_sent: null,
      consent_version: null,
      consent_ts: null,
      user_type: null,
    });
    expect(seen).to.be.a('number');
    expect((await admin(`v2/users/${encodeURIComponent('@alice:test')}`)).name).to.equal('@alice:test');
  });

  it('tells unknown users, users of other servers and what is no user apart', async () => {
    for (const path of ['', '/devices', '/devices/X']
      .map((end) => `v2/users/USER${end}`)
      .concat(['accountdata', 'pushers'].map((what) => `v1/users/USER/${what}`))) {
      expect(await refused(path.replace('USER', '@nobody:test')), path).to.deep.equal([404, 'M_NOT_FOUND']);
      expect(await refused(path.replace('USER', '@bob:elsewhere.test')), path).to.deep.equal([400, 'M_UNKNOWN']);
      expect(await refused(path.replace('USER', 'bob')), path).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
    expect(await refused('v1/users/@bob:elsewhere.test/admin')).to.deep.equal([400, 'M_UNKNOWN']);
    expect(await admin('v1/users/@nobody:test/admin')).to.deep.equal({ admin: false });
    expect(await admin(`v1/users/${ROOT}/admin`)).to.deep.equal({ admin: true });
  });

  it('is in which rooms they are, and in which they were', async () => {
    const [one, two, three] = [await server.room('bob'), await server.room('bob'), await server.room('alice')];
    await server.must('bob', 'POST', `/rooms/${two}/leave`, {});
    await server.must('alice', 'POST', `/rooms/${three}/invite`, { user_id: '@bob:test' });
    expect(await admin('v1/users/@bob:test/joined_rooms')).to.deep.equal({ joined_rooms: [one], total: 1 });
    expect(await admin('v1/users/@bob:test/memberships')).to.deep.equal({
      memberships: { [one]: 'join', [two]: 'leave', [three]: 'invite' },
    });
    expect(await admin('v1/users/@nobody:elsewhere.test/joined_rooms')).to.deep.equal({ joined_rooms: [], total: 0 });
    expect(await refused('v1/users/bob/joined_rooms')).to.deep.equal([400, 'M_INVALID_PARAM']);
    // Tools show the rooms by their aliases.
    expect(await server.must(ADMIN, 'GET', `/rooms/${one}/aliases`)).to.deep.equal({ aliases: [] });
    expect((await server.ask('alice', 'GET', `/rooms/${one}/aliases`)).status).to.equal(403);
  });

  it('is how many invites they sent and rooms they joined since a time', async () => {
    await server.clock.advance(10_000);
    const before = server.clock.now();
    const [one, two] = [await server.room('carol', { name: 'an "invite"' }), await server.room('carol')];
    for (const user of ['@alice:test', '@bob:test'])
      await server.must('carol', 'POST', `/rooms/${one}/invite`, { user_id: user });
    await server.must('carol', 'PUT', `/rooms/${one}/state/m.room.member/@carol:test`, {
      membership: 'join',
      displayname: '"membership":"invite"',
    });
    await server.must('carol', 'POST', `/rooms/${two}/leave`, {});
    await server.clock.advance(10_000);
    const later = server.clock.now();
    await server.must('carol', 'POST', `/rooms/${one}/invite`, { user_id: '@dan:test' });
    const counts = async (ts: number): Promise<unknown> => [
      (await admin(`v1/users/@carol:test/sent_invite_count?from_ts=${ts}`)).invite_count,
      (await admin(`v1/users/@carol:test/cumulative_joined_room_count?from_ts=${ts}`)).cumulative_joined_room_count,
    ];
    expect(await counts(0)).to.deep.equal([3, 2]);
    expect(await counts(before)).to.deep.equal([3, 2]);
    expect(await counts(later)).to.deep.equal([1, 0]);
    expect(await refused('v1/users/@carol:test/sent_invite_count')).to.deep.equal([400, 'M_MISSING_PARAM']);
    expect(await refused('v1/users/@carol:test/sent_invite_count?from_ts=-1')).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('is their account data, global and by room', async () => {
    const room = await server.room('dan');
    await server.must('dan', 'PUT', '/user/@dan:test/account_data/org.test', { text: 'a "quote"' });
    await server.must('dan', 'PUT', `/user/@dan:test/rooms/${room}/account_data/org.test`, { n: 1 });
    await server.must('dan', 'PUT', `/user/@dan:test/rooms/${room}/tags/u.x`, {});
    expect(await admin('v1/users/@dan:test/accountdata')).to.deep.equal({
      account_data: { global: { 'org.test': { text: 'a "quote"' } }, rooms: { [room]: { 'org.test': { n: 1 } } } },
    });
  });

  it('is their pushers and devices', async () => {
    const pusher = {
      app_id: 'app',
      pushkey: 'key',
      kind: 'http',
      app_display_name: 'a',
      device_display_name: 'd',
      lang: 'en',
      data: { url: 'https://push.test/_matrix/push/v1/notify' },
    };
    await server.must('erna', 'POST', '/pushers/set', pusher);
    expect(await admin('v1/users/@erna:test/pushers')).to.deep.equal({
      pushers: [{ ...pusher, profile_tag: '', enabled: true, device_id: 'DEVICE' }],
      total: 1,
    });
  });

  it('is who has an address, which user ids contain a text, and which names are free', async () => {
    await server.services.accountThreepids.replace('@bob:test', [{ medium: 'email', address: 'bob+1@mail.test' }]);
    const address = encodeURIComponent('Bob+1@mail.test');
    expect(await admin(`v1/threepid/email/users/${address}`)).to.deep.equal({ user_id: '@bob:test' });
    expect(await refused('v1/threepid/email/users/nobody@mail.test')).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await refused('v1/threepid/pigeon/users/x')).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await refused('v1/auth_providers/oidc-x/users/1')).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(await admin(`v1/search_users/${ROOT}?term=bob`)).to.deep.equal([
      { name: '@bob:test', password_hash: null, is_guest: false, admin: false, user_type: null },
    ]);
    expect(await refused(`v1/search_users/${ROOT}`)).to.deep.equal([400, 'M_MISSING_PARAM']);
    expect(await admin('v1/username_available?username=nobody')).to.deep.equal({ available: true });
    expect(await refused('v1/username_available?username=bob')).to.deep.equal([400, 'M_USER_IN_USE']);
    expect(await refused('v1/username_available?username=b%20b')).to.deep.equal([400, 'M_INVALID_USERNAME']);
    expect(await refused('v1/username_available')).to.deep.equal([400, 'M_MISSING_PARAM']);
  });
});
