import { expect } from 'chai';
import { ROOM_VERSIONS } from '#src/protocol/room-versions/room-versions.ts';
import { type Answer, InProcessServer, type Json } from '#test/support/in-process-server.ts';

const VERSIONS = [...ROOM_VERSIONS.keys()];
const ALICE = '@alice:test';
const BOB = '@bob:test';
const CAROL = '@carol:test';

describe('upgrading rooms', function () {
  this.timeout(120_000);
  let server: InProcessServer;

  before(async () => {
    server = await InProcessServer.start();
    await server.account('alice', 'bob', 'carol');
  });
  after(() => server.stop());

  const create = (wish: object): Promise<string> => server.room('alice', wish);
  const upgrade = (token: string, roomId: string, body: unknown): Promise<Answer> =>
    server.ask(token, 'POST', `/rooms/${encodeURIComponent(roomId)}/upgrade`, body);
  const upgraded = async (roomId: string, body: object): Promise<string> => {
    const answer = await upgrade('alice', roomId, body);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    return answer.body.replacement_room;
  };
  const event = async (roomId: string, type: string, key = '', token = 'alice'): Promise<Json> => {
    const path = `/rooms/${encodeURIComponent(roomId)}/state/${type}/${encodeURIComponent(key)}?format=event`;
    const answer = await server.ask(token, 'GET', path);
    return answer.status === 200 ? answer.body : undefined;
  };
  const content = async (roomId: string, type: string, key = ''): Promise<Json> =>
    (await event(roomId, type, key))?.content;

  for (const from of VERSIONS) {
    it(`is possible from version ${from} to every version`, async () => {
      for (const to of VERSIONS) {
        const old = await create({ room_version: from, preset: 'public_chat', name: 'Tea', topic: 'of tea' });
        await server.setState('alice', old, 'm.room.member', { membership: 'ban', reason: 'spam' }, CAROL);
        const next = await upgraded(old, { new_version: to });
        const createEvent = await event(next, 'm.room.create');
        const tombstone = await event(old, 'm.room.tombstone');
        expect(createEvent.content.room_version, `${from} to ${to}`).to.equal(to);
        expect(createEvent.content.predecessor).to.deep.equal(
          to === '12' ? { room_id: old } : { room_id: old, event_id: tombstone.event_id },
        );
        expect(tombstone.content.replacement_room).to.equal(next);
        expect((await content(next, 'm.room.name')).name).to.equal('Tea');
        expect((await content(next, 'm.room.topic')).topic).to.equal('of tea');
        expect((await content(next, 'm.room.join_rules')).join_rule).to.equal('public');
        expect(await content(next, 'm.room.member', CAROL)).to.deep.equal({ membership: 'ban', reason: 'spam' });
        const levels = await content(next, 'm.room.power_levels');
        expect(levels.users, `${from} to ${to}`).to.deep.equal(to === '12' ? {} : { [ALICE]: 100 });
        expect(levels.events['m.room.tombstone'], `${from} to ${to}`).to.equal(to === '12' ? 150 : 100);
        const locked = await content(old, 'm.room.power_levels');
        expect([locked.events_default, locked.invite]).to.deep.equal([50, 50]);
      }
    });
  }

  it('carries over encryption, visibility, guests, avatar, server ACL, power levels and the links of spaces', async () => {
    const old = await create({ room_version: '10', creation_content: { type: 'm.space' }, preset: 'private_chat' });
    const state: [string, object, string?][] = [
      ['m.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2' }],
      ['m.room.history_visibility', { history_visibility: 'joined' }],
      ['m.room.guest_access', { guest_access: 'forbidden' }],
      ['m.room.avatar', { url: 'mxc://localhost/a' }],
      ['m.room.server_acl', { allow: ['*'], deny: ['evil.test'] }],
      ['m.space.child', { via: ['localhost'] }, '!child:test'],
      ['m.space.parent', { via: ['localhost'], canonical: true }, '!parent:test'],
      [
        'm.room.join_rules',
        { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: '!parent:test' }] },
      ],
    ];
    for (const [type, body, key] of state) await server.setState('alice', old, type, body, key);
    await server.setState('alice', old, 'm.space.child', {}, '!gone:test');
    const levels = await content(old, 'm.room.power_levels');
    await server.setState('alice', old, 'm.room.power_levels', {
      ...levels,
      users: { ...levels.users, [BOB]: 50 },
      ban: 60,
      kick: 70,
    });
    const next = await upgraded(old, { new_version: '12' });
    for (const [type, body, key = ''] of state) expect(await content(next, type, key), type).to.deep.equal(body);
    expect(await content(next, 'm.space.child', '!gone:test')).to.equal(undefined);
    expect((await content(next, 'm.room.create')).type).to.equal('m.space');
    expect(await content(next, 'm.room.power_levels')).to.deep.include({ users: { [BOB]: 50 }, ban: 60, kick: 70 });
  });

  it('makes a join rule that the version does not know stricter, not laxer', async () => {
    const old = await create({ room_version: '10' });
    await server.setState('alice', old, 'm.room.join_rules', { join_rule: 'knock_restricted', allow: [] });
    expect((await content(await upgraded(old, { new_version: '9' }), 'm.room.join_rules')).join_rule).to.equal(
      'restricted',
    );
    const second = await create({ room_version: '10' });
    await server.setState('alice', second, 'm.room.join_rules', { join_rule: 'knock_restricted', allow: [] });
    expect((await content(await upgraded(second, { new_version: '6' }), 'm.room.join_rules')).join_rule).to.equal(
      'invite',
    );
  });

  it('moves local aliases, the canonical alias and the place in the directory', async () => {
    const old = await create({ room_alias_name: 'tea', visibility: 'public', room_version: '11' });
    await server.must('alice', 'PUT', `/directory/room/${encodeURIComponent('#chai:test')}`, { room_id: old });
    await server.setState('alice', old, 'm.room.canonical_alias', { alias: '#tea:test', alt_aliases: ['#chai:test'] });
    const next = await upgraded(old, { new_version: '12' });
    for (const alias of ['#tea:test', '#chai:test']) {
      const found = await server.must(undefined, 'GET', `/directory/room/${encodeURIComponent(alias)}`);
      expect(found.room_id).to.equal(next);
    }
    expect(await content(old, 'm.room.canonical_alias')).to.deep.equal({});
    expect(await content(next, 'm.room.canonical_alias')).to.deep.equal({
      alias: '#tea:test',
      alt_aliases: ['#chai:test'],
    });
    const listed = async (id: string): Promise<string> =>
      (await server.must(undefined, 'GET', `/directory/list/room/${encodeURIComponent(id)}`)).visibility;
    expect([await listed(old), await listed(next)]).to.deep.equal(['private', 'public']);
  });

  it('gives additional creators their place, takes them out of the users, and drops those of the old room', async () => {
    const old = await create({ room_version: '12', creation_content: { additional_creators: [CAROL] } });
    const levels = await content(old, 'm.room.power_levels');
    await server.setState('alice', old, 'm.room.power_levels', { ...levels, users: { [BOB]: 75 } });
    const next = await upgraded(old, { new_version: '12', additional_creators: [BOB] });
    expect((await content(next, 'm.room.create')).additional_creators).to.deep.equal([BOB]);
    expect((await content(next, 'm.room.power_levels')).users).to.deep.equal({});
    const back = await upgraded(next, { new_version: '11', additional_creators: [CAROL] });
    expect((await content(back, 'm.room.create')).additional_creators).to.equal(undefined);
    expect((await content(back, 'm.room.power_levels')).users).to.deep.equal({ [ALICE]: 100, [BOB]: 100 });
  });

  it('gives a second successor the levels that the room had before the first upgrade locked it', async () => {
    for (const from of ['10', '12']) {
      const old = await create({ preset: 'public_chat', room_version: from });
      const before = await content(old, 'm.room.power_levels');
      await server.setState('alice', old, 'm.room.power_levels', { ...before, events_default: 10, invite: 5 });
      for (const version of ['11', '12', '11']) {
        const levels = await content(await upgraded(old, { new_version: version }), 'm.room.power_levels');
        expect([levels.events_default, levels.invite], `${from} to ${version}`).to.deep.equal([10, 5]);
      }
      const locked = await content(old, 'm.room.power_levels');
      expect([locked.events_default, locked.invite]).to.deep.equal([50, 50]);
      // What was set since then is meant.
      await server.setState('alice', old, 'm.room.power_levels', { ...locked, ban: 60 });
      const last = await content(await upgraded(old, { new_version: '11' }), 'm.room.power_levels');
      expect([last.events_default, last.invite, last.ban]).to.deep.equal([50, 50, 60]);
    }
    // Who had such levels from the beginning keeps them.
    const strict = await create({
      room_version: '10',
      power_level_content_override: { events_default: 50, invite: 50 },
    });
    await upgraded(strict, { new_version: '11' });
    const levels = await content(await upgraded(strict, { new_version: '11' }), 'm.room.power_levels');
    expect([levels.events_default, levels.invite]).to.deep.equal([50, 50]);
  });

  it('takes tags and push rules along', async () => {
    const old = await create({ room_version: '11' });
    await server.must('alice', 'PUT', `/user/${ALICE}/rooms/${old}/tags/m.favourite`, { order: 0.25 });
    await server.must('alice', 'PUT', `/pushrules/global/room/${old}`, { actions: [] });
    const next = await upgraded(old, { new_version: '12' });
    await server.idle();
    const tags = await server.must('alice', 'GET', `/user/${ALICE}/rooms/${next}/tags`);
    const { global } = await server.must('alice', 'GET', '/pushrules/');
    const rules = global.room.map((rule: Json) => rule.rule_id);
    expect(tags).to.deep.equal({ tags: { 'm.favourite': { order: 0.25 } } });
    expect(rules).to.include(next);
  });

  it('is refused to those who may not send the tombstone, and for versions that nobody knows', async () => {
    const old = await create({ preset: 'public_chat', room_version: '11' });
    await server.must('bob', 'POST', `/rooms/${old}/join`, {});
    const refused = (answer: Answer, status: number, errcode: string): void => {
      expect([answer.status, answer.body?.errcode]).to.deep.equal([status, errcode]);
    };
    refused(await upgrade('bob', old, { new_version: '12' }), 403, 'M_FORBIDDEN');
    refused(await upgrade('alice', '!none:test', { new_version: '12' }), 403, 'M_FORBIDDEN');
    refused(await upgrade('alice', old, { new_version: '99' }), 400, 'M_UNSUPPORTED_ROOM_VERSION');
    refused(await upgrade('alice', old, {}), 400, 'M_MISSING_PARAM');
    refused(await upgrade('alice', old, { new_version: 12 }), 400, 'M_BAD_JSON');
    refused(
      await upgrade('alice', old, { new_version: '12', additional_creators: ['nobody'] }),
      400,
      'M_INVALID_PARAM',
    );
    expect(await event(old, 'm.room.tombstone')).to.equal(undefined);
  });

  for (const version of ['11', '12']) {
    it(`makes one successor however often it is asked for at once, and one after the other otherwise (to ${version})`, async () => {
      const old = await create({ preset: 'public_chat', room_version: '10', room_alias_name: `once${version}` });
      const same = await Promise.all([1, 2, 3].map(() => upgraded(old, { new_version: version })));
      expect(new Set(same).size).to.equal(1);
      expect((await content(old, 'm.room.tombstone')).replacement_room).to.equal(same[0]);
      const second = await create({ preset: 'public_chat', room_version: '10' });
      const others = await Promise.all([version, '9'].map((one) => upgraded(second, { new_version: one })));
      expect((await content(second, 'm.room.tombstone')).replacement_room).to.equal(others[1]);
      for (const roomId of others) expect(await event(roomId, 'm.room.create')).to.not.equal(undefined);
    });
  }

  it('carries any number of bans over, by whoever upgrades', async () => {
    const bans = Array.from({ length: 250 }, (_, i) => ({
      type: 'm.room.member',
      state_key: `@spam${i}:elsewhere.test`,
      content: { membership: 'ban', reason: `spam ${i}` },
    }));
    const banned = async (roomId: string): Promise<string[]> => {
      const { chunk } = await server.must('bob', 'GET', `/rooms/${roomId}/members?membership=ban`);
      return chunk.map((event: Json) => `${event.state_key} ${event.content.reason}`);
    };
    const old = await create({ preset: 'public_chat', room_version: '10', initial_state: bans });
    await server.must('bob', 'POST', `/rooms/${old}/join`, {});
    const levels = await content(old, 'm.room.power_levels');
    const events = { ...levels.events, 'm.room.tombstone': 50 };
    const mine = { ...levels, ban: 75, events, users: { ...levels.users, [BOB]: 50 } };
    await server.setState('alice', old, 'm.room.power_levels', mine);
    for (const version of ['11', '12']) {
      const answer = await upgrade('bob', old, { new_version: version });
      expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
      const next = answer.body.replacement_room;
      expect(await banned(next)).to.have.members(bans.map((ban) => `${ban.state_key} ${ban.content.reason}`));
      const after = await event(next, 'm.room.power_levels', '', 'bob');
      expect(after.content.ban).to.equal(75);
      expect(after.content.users).to.deep.equal(version === '12' ? { [ALICE]: 100 } : { [ALICE]: 100, [BOB]: 50 });
    }
  });

  it('carries a ban over without a reason that the version cannot hold', async () => {
    const old = await create({ preset: 'public_chat', room_version: '5' });
    await server.must('alice', 'POST', `/rooms/${old}/ban`, { user_id: BOB, reason: 'half \ud83d' });
    const next = await upgraded(old, { new_version: '12' });
    expect(await content(next, 'm.room.member', BOB)).to.deep.equal({ membership: 'ban' });
  });

  it('does not ban those from the new room who become its creators', async () => {
    const old = await create({ preset: 'public_chat', room_version: '12' });
    for (const userId of [BOB, CAROL])
      await server.setState('alice', old, 'm.room.member', { membership: 'ban' }, userId);
    const next = await upgraded(old, { new_version: '12', additional_creators: [CAROL] });
    expect((await content(next, 'm.room.member', BOB)).membership).to.equal('ban');
    expect(await content(next, 'm.room.member', CAROL)).to.equal(undefined);
  });

  it('asks for more than level 100 in a room of version 12', async () => {
    const old = await create({ preset: 'public_chat', room_version: '12' });
    await server.must('bob', 'POST', `/rooms/${old}/join`, {});
    const levels = await content(old, 'm.room.power_levels');
    await server.setState('alice', old, 'm.room.power_levels', { ...levels, users: { [BOB]: 100 } });
    expect((await upgrade('bob', old, { new_version: '12' })).status).to.equal(403);
  });

  it('by a moderator leaves them the level that they had', async () => {
    const old = await create({ preset: 'public_chat', room_version: '10' });
    await server.must('bob', 'POST', `/rooms/${old}/join`, {});
    const levels = await content(old, 'm.room.power_levels');
    const events = { ...levels.events, 'm.room.tombstone': 50 };
    await server.setState('alice', old, 'm.room.power_levels', {
      ...levels,
      events,
      users: { ...levels.users, [BOB]: 50 },
    });
    const answer = await upgrade('bob', old, { new_version: '11' });
    expect(answer.status).to.equal(200);
    const next = answer.body.replacement_room;
    const after = await event(next, 'm.room.power_levels', '', 'bob');
    expect(after.content.users).to.deep.equal({ [ALICE]: 100, [BOB]: 50 });
  });
});
