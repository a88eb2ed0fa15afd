import { until } from '#test/support/until.ts';
import type { ServerResponse } from 'node:http';
import { expect } from 'chai';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { verifyText } from '#src/protocol/signing/json-signatures.ts';
import { importVerifyKey } from '#src/protocol/signing/signing-key.ts';
import { signedEventText } from '#src/protocol/events/event-hashes.ts';
import { buildPdu, type BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { systemRandom } from '#src/kernel/random.ts';
import type { Answer, InProcessServer, Json } from '#test/support/in-process-server.ts';
import { UnjoinedRoomCleaner } from '#src/services/federation/out-of-band/unjoined-room-cleaner.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { PushGateway } from '#test/support/stand-ins/push-gateway.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';

const FEDERATION = '/_matrix/federation';
const MALLORY = '@mallory:p.test';

describe('handshakes with servers that are not in a room', function () {
  this.timeout(60_000);
  let federation: Federation;
  let a: InProcessServer;
  let p: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test', 'q.test'],
      // What a killed process was doing is done again soon.
      server: { extensions: { jobLockMs: 2_000 } },
    });
    a = federation.server('a.test');
    p = federation.partner('p.test');
  });
  after(() => federation?.stop());

  const enc = encodeURIComponent;
  const make = (how: string, roomId: string, userId = MALLORY, versions = ['10'], from = p): Promise<Answer> =>
    from.send(
      'a.test',
      'GET',
      `${FEDERATION}/v1/make_${how}/${enc(roomId)}/${enc(userId)}?${versions.map((one) => `ver=${one}`).join('&')}`,
    );
  const send = (
    how: string,
    roomId: string,
    event: BuiltPdu,
    version = how === 'knock' ? 'v1' : 'v2',
    query = '',
  ): Promise<Answer> =>
    p.send(
      'a.test',
      'PUT',
      `${FEDERATION}/${version}/send_${how}/${enc(roomId)}/${enc(event.eventId)}${query}`,
      event.pdu,
    );
  /** The event that the partner makes of a template. */
  const complete = ({ event, room_version: id }: Json, changes: JsonObject = {}, key = p.signingKey): BuiltPdu => {
    const {
      auth_events: authEvents,
      content,
      depth,
      prev_events: prevEvents,
      room_id: roomId,
      sender,
      state_key: stateKey,
      type,
    } = {
      ...event,
      ...changes,
    };
    const version = roomVersion(id)!;
    const assigned = version.eventIdFormat === 'assigned' ? { eventId: `$${systemRandom.string(12)}:p.test` } : {};
    return buildPdu(
      version,
      {
        authEvents,
        content,
        depth,
        prevEvents,
        roomId,
        sender,
        stateKey,
        type,
        originServerTs: federation.clock.now(),
        ...assigned,
      },
      { serverName: 'p.test', signingKey: key },
    );
  };
  const made = async (how: string, roomId: string, version = '10', userId = MALLORY): Promise<Json> => {
    const { body, status } = await make(how, roomId, userId, [version]);
    expect(status, JSON.stringify(body)).to.equal(200);
    return body;
  };
  const refused = async (answer: Promise<Answer>, status: number, errcode: string): Promise<Json> => {
    const { body, status: actual } = await answer;
    expect([actual, body.errcode], body.error).to.deep.equal([status, errcode]);
    return body;
  };
  const membership = async (roomId: string, userId = MALLORY): Promise<string | undefined> =>
    (await a.must('alice', 'GET', `/rooms/${roomId}/members`)).chunk.find((event: Json) => event.state_key === userId)
      ?.content.membership;
  const open = (version = '10', more: object = {}): Promise<string> =>
    a.room('alice', { preset: 'public_chat', room_version: version, ...more });

  describe('joining', () => {
    it('answers with the state before the join, its auth chain, and the join where it is authorised', async () => {
      const roomId = await open();
      const join = complete(await made('join', roomId));
      const { body } = await send('join', roomId, join);
      expect(body).not.to.have.property('event');
      expect(body.members_omitted).to.equal(false);
      const types = body.state.map((event: Json) => event.type);
      expect(types).to.include('m.room.create').and.to.include('m.room.power_levels');
      expect(body.state.filter(({ type }: Json) => type === 'm.room.member')).to.have.lengthOf(1);
      expect(body.auth_chain.length).to.be.at.least(3);
      expect(await membership(roomId)).to.equal('join');
      // Once more is no other join.
      expect((await send('join', roomId, join)).status).to.equal(200);
    });
    it('answers as version 1 does with status and body in a list', async () => {
      const roomId = await open();
      const { body } = await send('join', roomId, complete(await made('join', roomId)), 'v1');
      expect(body[0]).to.equal(200);
      expect(body[1].state.length).to.be.above(3);
      expect(body[1].auth_chain.length).to.be.at.least(3);
    });
    it('omits memberships for servers that can do without, but those that name a nameless room', async () => {
      for (const [wish, count] of [
        [{ name: 'Named' }, 0],
        [{}, 1],
      ] as const) {
        const roomId = await open('10', wish);
        const { body } = await send('join', roomId, complete(await made('join', roomId)), 'v2', '?omit_members=true');
        expect(body.members_omitted).to.equal(true);
        expect(body.servers_in_room).to.deep.equal(['a.test']);
        expect(body.state.filter(({ type }: Json) => type === 'm.room.member')).to.have.lengthOf(count);
        const ids = new Set(body.state.map((event: Json) => JSON.stringify(event)));
        expect(body.auth_chain.some((event: Json) => ids.has(JSON.stringify(event)))).to.equal(false);
      }
    });
    it('refuses rooms that are not here, versions that are not supported, and users of others', async () => {
      const roomId = await open('11');
      await refused(make('join', '!nothing:a.test'), 404, 'M_NOT_FOUND');
      const { room_version: version } = await refused(
        make('join', roomId, MALLORY, ['9', '10']),
        400,
        'M_INCOMPATIBLE_ROOM_VERSION',
      );
      expect(version).to.equal('11');
      await refused(make('join', roomId, '@other:q.test', ['11']), 403, 'M_FORBIDDEN');
      await refused(make('join', roomId, 'nonsense', ['11']), 403, 'M_FORBIDDEN');
    });
    it('refuses whom the room does not let in, at make_join and at send_join', async () => {
      const roomId = await a.room('alice', { preset: 'private_chat', room_version: '10' });
      await refused(make('join', roomId), 403, 'M_FORBIDDEN');
      const banned = await open();
      const template = await made('join', banned);
      await a.must('alice', 'POST', `/rooms/${banned}/ban`, { user_id: MALLORY });
      await refused(make('join', banned), 403, 'M_FORBIDDEN');
      await refused(send('join', banned, complete(template)), 403, 'M_FORBIDDEN');
      // The template of another user is no way around it.
      const switcheroo = complete(await made('join', banned, '10', '@friend:p.test'), {
        sender: MALLORY,
        state_key: MALLORY,
      });
      await refused(send('join', banned, switcheroo), 403, 'M_FORBIDDEN');
      expect(await membership(banned)).to.equal('ban');
    });
    it('tells nothing of the room for a join that it has refused, also when that comes again', async () => {
      const roomId = await a.room('alice', { preset: 'private_chat', room_version: '10' });
      await a.setState('alice', roomId, 'm.room.join_rules', { join_rule: 'knock' });
      // Who may knock is told of what the event has to come after.
      const join = complete(await made('knock', roomId), { content: { membership: 'join' } });
      for (const _ of [1, 2]) await refused(send('join', roomId, join), 403, 'M_FORBIDDEN');
      await refused(send('join', roomId, join, 'v1'), 403, 'M_FORBIDDEN');
      expect(await membership(roomId)).to.equal(undefined);
    });

    it('refuses servers that the room denies', async () => {
      const roomId = await open();
      const template = await made('join', roomId);
      await a.setState('alice', roomId, 'm.room.server_acl', { allow: ['*'], deny: ['p.test'] });
      await refused(make('join', roomId), 403, 'M_FORBIDDEN');
      await refused(make('leave', roomId), 403, 'M_FORBIDDEN');
      await refused(make('knock', roomId), 403, 'M_FORBIDDEN');
      await refused(send('join', roomId, complete(template)), 403, 'M_FORBIDDEN');
    });
    for (const how of ['join', 'leave', 'knock'])
      it(`takes by send_${how} nothing but a ${how} of the sender's own, signed as it is`, async () => {
        const roomId = await open();
        const other = how === 'leave' ? 'join' : 'leave';
        const template = await made('join', roomId);
        template.event.content = { membership: how };
        const bad: [string, BuiltPdu][] = [
          ['type', complete(template, { type: 'm.room.topic' })],
          ['membership', complete(template, { content: { membership: other } })],
          ['no membership', complete(template, { content: {} })],
          ['state_key', complete(template, { state_key: '@other:p.test' })],
          ['sender', complete(template, { sender: '@other:q.test', state_key: '@other:q.test' })],
          ['room', complete(template, { room_id: '!other:a.test' })],
        ];
        for (const [what, event] of bad) {
          const { body, status } = await send(how, roomId, event);
          expect([what, status, body.errcode]).to.deep.equal([what, 400, 'M_INVALID_PARAM']);
        }
        const good = complete(template);
        const forged = {
          ...good,
          pdu: { ...good.pdu, signatures: { 'p.test': { [p.signingKey.keyId]: 'A'.repeat(86) } } },
        };
        await refused(send(how, roomId, forged), 400, 'M_INVALID_PARAM');
        const changed = { ...good, pdu: { ...good.pdu, content: { membership: how, displayname: 'forged' } } };
        await refused(send(how, roomId, changed), 400, 'M_INVALID_PARAM');
        await refused(send(how, roomId, { ...good, eventId: `$${'A'.repeat(43)}` }), 400, 'M_INVALID_PARAM');
        const malformed = { ...good, pdu: { ...good.pdu, prev_events: Array(21).fill(good.eventId) } };
        await refused(send(how, roomId, malformed), 400, 'M_BAD_JSON');
      });
  });

  describe('restricted rooms', () => {
    const restricted = (allow: readonly string[], version = '10'): Promise<string> =>
      a.room('alice', {
        room_version: version,
        preset: 'public_chat',
        initial_state: [
          {
            type: 'm.room.join_rules',
            content: {
              join_rule: 'restricted',
              allow: allow.map((id) => ({ type: 'm.room_membership', room_id: id })),
            },
          },
        ],
      });
    it('let in whom this server vouches for, with its signature', async () => {
      const parent = await open();
      await send('join', parent, complete(await made('join', parent)));
      const roomId = await restricted([parent]);
      const template = await made('join', roomId);
      expect(template.event.content.join_authorised_via_users_server).to.equal('@alice:a.test');
      const join = complete(template);
      const { body } = await send('join', roomId, join);
      const { signatures } = body.event;
      expect(Object.keys(signatures).toSorted()).to.deep.equal(['a.test', 'p.test']);
      const [[keyId, signature]] = Object.entries(signatures['a.test']) as [[string, string]];
      const { verify_keys: keys } = JSON.parse(a.services.ownKeys.published());
      const key = importVerifyKey(keys[keyId].key)!;
      expect(verifyText(signedEventText(roomVersion('10')!, body.event), signature, key)).to.equal(true);
      expect(await membership(roomId)).to.equal('join');
    });
    it('answer 403 where the user is in none of the rooms, and 400 where that cannot be known, or nobody may vouch', async () => {
      const parent = await open();
      await refused(make('join', await restricted([parent])), 403, 'M_FORBIDDEN');
      await refused(make('join', await restricted(['!elsewhere:q.test'])), 400, 'M_UNABLE_TO_AUTHORISE_JOIN');
      await send('join', parent, complete(await made('join', parent)));
      const roomId = await restricted([parent], '11');
      const levels = await a.must('alice', 'GET', `/rooms/${roomId}/state/m.room.power_levels`);
      await a.setState('alice', roomId, 'm.room.power_levels', {
        ...levels,
        invite: 100,
        users: { '@alice:a.test': 100 },
      });
      await a.setState('alice', roomId, 'm.room.power_levels', {
        ...levels,
        invite: 100,
        users: { '@alice:a.test': 99 },
      });
      await refused(make('join', roomId, MALLORY, ['11']), 400, 'M_UNABLE_TO_GRANT_JOIN');
    });
    it('let nobody in who names a user of this server that did not vouch', async () => {
      const roomId = await restricted([await open()]);
      const template = await made('join', await open());
      const forged = complete(template, {
        room_id: roomId,
        content: { membership: 'join', join_authorised_via_users_server: '@alice:a.test' },
      });
      await refused(send('join', roomId, forged), 403, 'M_FORBIDDEN');
      expect(await membership(roomId)).to.equal(undefined);
    });
  });

  describe('leaving and knocking', () => {
    it('declines an invite, by either version of the endpoint', async () => {
      p.on('PUT', /\/_matrix\/federation\/v2\/invite\/.*/, ({ body }) => ({ body: { event: body.event } }));
      for (const version of ['v1', 'v2']) {
        const roomId = await a.room('alice', { preset: 'private_chat', room_version: '10' });
        await a.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: MALLORY });
        const { body } = await send('leave', roomId, complete(await made('leave', roomId)), version);
        expect(body).to.deep.equal(version === 'v1' ? [200, {}] : {});
        expect(await membership(roomId)).to.equal('leave');
      }
    });
    it('knocks where the room lets people knock, and tells what the room is', async () => {
      const roomId = await a.room('alice', {
        room_version: '10',
        name: 'Knock',
        initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }],
      });
      const { body } = await send('knock', roomId, complete(await made('knock', roomId)));
      const told = new Map(body.knock_room_state.map((event: Json) => [event.type, event]));
      expect([...told.keys()])
        .to.include('m.room.create')
        .and.to.include('m.room.name');
      expect(told.get('m.room.create')).to.have.property('signatures');
      expect(await membership(roomId)).to.equal('knock');
      await refused(make('knock', await open()), 403, 'M_FORBIDDEN');
    });
  });

  describe('invites', () => {
    const template = (roomId: string, target: string): Json => ({
      room_version: '10',
      event: {
        type: 'm.room.member',
        room_id: roomId,
        sender: MALLORY,
        state_key: target,
        content: { membership: 'invite' },
        depth: 5,
        prev_events: [`$${'p'.repeat(43)}`],
        auth_events: [`$${'a'.repeat(43)}`],
      },
    });
    const invite = (event: BuiltPdu, more: JsonObject = {}, version = 'v2'): Promise<Answer> =>
      p.send(
        'a.test',
        'PUT',
        `${FEDERATION}/${version}/invite/${enc(String(event.pdu.room_id))}/${enc(event.eventId)}`,
        version === 'v2' ? { room_version: '10', event: event.pdu, ...more } : event.pdu,
      );
    const newRoom = (): string => `!${systemRandom.string(10)}:p.test`;
    const create = (roomId: string): JsonObject => ({
      type: 'm.room.create',
      state_key: '',
      sender: MALLORY,
      content: { room_version: '10' },
      room_id: roomId,
    });
    const invitesOf = async (name: string): Promise<Json> => (await a.must(name, 'GET', '/sync')).rooms?.invite ?? {};

    it('are signed, and shown to the user also after a restart, with no more of the room than is told', async () => {
      await a.account('iris');
      const roomId = newRoom();
      const event = complete(template(roomId, '@iris:a.test'));
      const name = { type: 'm.room.name', state_key: '', sender: MALLORY, content: { name: 'Far away' }, extra: 1 };
      const { body, status } = await invite(event, { invite_room_state: [create(roomId), name, 7, { type: 5 }] });
      expect(status, JSON.stringify(body)).to.equal(200);
      expect(Object.keys(body.event.signatures).toSorted()).to.deep.equal(['a.test', 'p.test']);
      const check = async (): Promise<void> => {
        const { events } = (await invitesOf('iris'))[roomId].invite_state;
        expect(events.map((one: Json) => one.type)).to.deep.equal(['m.room.create', 'm.room.name', 'm.room.member']);
        expect(events[1]).to.deep.equal({
          type: 'm.room.name',
          state_key: '',
          sender: MALLORY,
          content: { name: 'Far away' },
        });
      };
      await check();
      // The same once more is the same invite.
      expect((await invite(event)).status).to.equal(200);
      await a.restart();
      await check();
      // Nothing else is known of the room.
      for (const path of ['state', 'members', 'messages?dir=b'])
        expect((await a.ask('iris', 'GET', `/rooms/${enc(roomId)}/${path}`)).status, path).to.equal(403);
    });
    it('are refused unless they are invites of our users by theirs, signed as they are', async () => {
      await a.account('jack');
      const roomId = newRoom();
      const target = '@jack:a.test';
      const good = template(roomId, target);
      for (const changes of [
        { type: 'm.room.topic' },
        { content: { membership: 'join' } },
        { sender: '@other:q.test' },
        { state_key: '@jack:q.test' },
        { state_key: 'nonsense' },
      ])
        await refused(invite(complete(good, changes)), 400, 'M_INVALID_PARAM');
      const event = complete(good);
      const changed = { ...event, pdu: { ...event.pdu, content: { membership: 'invite', displayname: 'x' } } };
      await refused(invite(changed), 400, 'M_INVALID_PARAM');
      await refused(invite({ ...event, eventId: `$${'A'.repeat(43)}` }), 400, 'M_INVALID_PARAM');
      const malformed = { ...event, pdu: { ...event.pdu, prev_events: Array(21).fill(event.eventId) } };
      await refused(invite(malformed), 400, 'M_BAD_JSON');
      await refused(invite(complete(template(roomId, '@nobody:a.test'))), 404, 'M_NOT_FOUND');
      await refused(invite(event, { room_version: 'unknown' }), 400, 'M_INCOMPATIBLE_ROOM_VERSION');
      expect(await invitesOf('jack')).to.deep.equal({});
    });
    it('are refused for those who want none, and not shown of those whom a user ignores', async () => {
      await a.must('kate', 'PUT', '/user/@kate:a.test/account_data/m.invite_permission_config', {
        default_action: 'block',
      });
      await refused(invite(complete(template(newRoom(), '@kate:a.test'))), 403, 'M_INVITE_BLOCKED');
      await a.must('kate', 'PUT', '/user/@kate:a.test/account_data/m.invite_permission_config', {});
      await a.must('kate', 'PUT', '/user/@kate:a.test/account_data/m.ignored_user_list', {
        ignored_users: { [MALLORY]: {} },
      });
      expect((await invite(complete(template(newRoom(), '@kate:a.test')))).status).to.equal(200);
      expect(await invitesOf('kate')).to.deep.equal({});
    });
    it('of version 1 are answered in a list, and say what they tell in the event', async () => {
      await a.account('lena');
      const roomId = newRoom();
      const event = complete({
        ...template(roomId, '@lena:a.test'),
        room_version: '1',
        event: {
          ...template(roomId, '@lena:a.test').event,
          prev_events: [['$p:p.test', { sha256: 'x' }]],
          auth_events: [['$a:p.test', { sha256: 'x' }]],
        },
      });
      const { body, status } = await invite(
        { ...event, pdu: { ...event.pdu, unsigned: { invite_room_state: [create(roomId)] } } },
        {},
        'v1',
      );
      expect([status, body[0]]).to.deep.equal([200, 200]);
      expect(body[1].event.signatures).to.have.property('a.test');
      expect((await invitesOf('lena'))[roomId].invite_state.events[0].type).to.equal('m.room.create');
    });
    it('to rooms whose id is a hash have to tell the event of which it is', async () => {
      await a.account('mona');
      const roomId = `!${'h'.repeat(43)}`;
      const event = complete({ ...template(roomId, '@mona:a.test'), room_version: '12' });
      for (const state of [[], [create(roomId)], [{ ...create(roomId), signatures: {} }]])
        await refused(invite(event, { room_version: '12', invite_room_state: state }), 400, 'M_INVALID_PARAM');
    });
    it('are taken back by whom they came from, and by nobody else', async () => {
      await a.account('nora');
      const roomId = newRoom();
      const target = '@nora:a.test';
      const base = template(roomId, target);
      const event = complete(base);
      await invite(event, { invite_room_state: [create(roomId)] });
      const leave = (sender: string): BuiltPdu =>
        complete(base, { sender, content: { membership: 'leave' }, prev_events: [event.eventId], depth: 6 });
      await p.transact('a.test', { pdus: [leave('@another:p.test').pdu] });
      await federation.idle();
      const { next_batch: since, rooms } = await a.must('nora', 'GET', '/sync');
      expect(rooms.invite).to.have.property(roomId);
      await p.transact('a.test', { pdus: [leave(MALLORY).pdu] });
      await federation.idle();
      const news = (await a.must('nora', 'GET', `/sync?since=${since}`)).rooms;
      expect(news.leave[roomId].timeline.events.map((one: Json) => one.content.membership)).to.deep.equal(['leave']);
      expect(await invitesOf('nora')).to.deep.equal({});
    });
    it('can be declined when nobody is there any more who could hear of it, again and again', async () => {
      await a.account('olga');
      const roomId = newRoom();
      const target = '@olga:a.test';
      for (let round = 0; round < 2; round++) {
        await invite(complete(template(roomId, target), { depth: 5 + round }), { invite_room_state: [create(roomId)] });
        const { next_batch: since, rooms } = await a.must('olga', 'GET', '/sync');
        expect(rooms.invite).to.have.property(roomId);
        await a.must('olga', 'POST', `/rooms/${enc(roomId)}/leave`, {});
        await a.must('olga', 'POST', `/rooms/${enc(roomId)}/leave`, {});
        const news = (await a.must('olga', 'GET', `/sync?since=${since}`)).rooms;
        expect(news.leave[roomId].timeline.events.map((one: Json) => one.content.membership)).to.deep.equal(['leave']);
        expect(await invitesOf('olga')).to.deep.equal({});
      }
      await a.must('olga', 'POST', `/rooms/${enc(roomId)}/forget`, {});
    });
    it('are pushed to the devices of the invited user', async () => {
      const gateway = await PushGateway.start();
      const data = { url: gateway.url };
      const names = { app_display_name: 'Test', device_display_name: 'A phone', lang: 'en' };
      await a.must('rosa', 'POST', '/pushers/set', { kind: 'http', app_id: 'app', pushkey: 'rosa', ...names, data });
      const roomId = newRoom();
      await invite(complete(template(roomId, '@rosa:a.test')), { invite_room_state: [create(roomId)] });
      await federation.idle();
      await federation.clock.advance(60_000);
      await federation.idle();
      const told = gateway.take();
      await gateway.stop();
      expect(told.map(({ room_id: id, sender, type }) => [id, sender, type])).to.deep.equal([
        [roomId, MALLORY, 'm.room.member'],
      ]);
    });
    it('leave nothing behind a while after they were declined', async () => {
      await a.account('quin');
      const kept = newRoom();
      const roomId = newRoom();
      for (const one of [kept, roomId])
        await invite(complete(template(one, '@quin:a.test')), { invite_room_state: [create(one)] });
      await a.must('quin', 'POST', `/rooms/${enc(roomId)}/leave`, {});
      const { database, unjoinedRoomCleaner, rooms, writer } = a.services;
      await unjoinedRoomCleaner.clean(new AbortController().signal);
      expect(await rooms.heardOf(roomId)).not.to.equal(undefined);
      const clock = new ManualClock(federation.clock.now() + 91 * 86_400_000);
      await new UnjoinedRoomCleaner({ database, rooms, writer, clock }).clean(new AbortController().signal);
      expect(await rooms.heardOf(roomId)).to.equal(undefined);
      expect(await invitesOf('quin')).to.have.all.keys(kept);
      // It can be heard of again.
      await invite(complete(template(roomId, '@quin:a.test')), { invite_room_state: [create(roomId)] });
      expect(await invitesOf('quin')).to.have.all.keys(kept, roomId);
    });
    it('that were declined while nobody was there are declined there later', async () => {
      await a.account('pia');
      const roomId = newRoom();
      const base = template(roomId, '@pia:a.test');
      await invite(complete(base), { invite_room_state: [create(roomId)] });
      await a.must('pia', 'POST', `/rooms/${enc(roomId)}/leave`, {});
      p.on('GET', `${FEDERATION}/v1/make_leave/${enc(roomId)}/*`, () => ({
        body: { room_version: '10', event: { ...base.event, sender: '@pia:a.test', content: { membership: 'leave' } } },
      }));
      p.on('PUT', `${FEDERATION}/v2/send_leave/${enc(roomId)}/*`, () => ({ body: {} }));
      await federation.clock.advance(3_600_000);
      await federation.idle();
      const sent = await p.request('PUT', /send_leave/, ({ path }) => path.includes(enc(roomId)));
      expect(sent.body.content).to.deep.equal({ membership: 'leave' });
      expect(sent.body.signatures).to.have.property('a.test');
    });
    it('that were declined while nobody was there are declined there later, at whichever step the process is killed', async () => {
      await a.account('kira');
      const roomId = newRoom();
      const base = template(roomId, '@kira:a.test');
      await invite(complete(base), { invite_room_state: [create(roomId)] });
      await a.must('kira', 'POST', `/rooms/${enc(roomId)}/leave`, {});
      await a.kill();
      let killed = Promise.withResolvers<void>();
      const killsAt = new Set(['make_leave', 'send_leave']);
      const kills = async (step: string, response: ServerResponse): Promise<boolean> => {
        if (!killsAt.delete(step)) return false;
        await a.kill();
        response.destroy();
        killed.resolve();
        return true;
      };
      p.on('GET', `${FEDERATION}/v1/make_leave/${enc(roomId)}/*`, async ({ response }) => {
        if (await kills('make_leave', response)) return undefined;
        const event = { ...base.event, sender: '@kira:a.test', content: { membership: 'leave' } };
        return { body: { room_version: '10', event } };
      });
      p.on('PUT', `${FEDERATION}/v2/send_leave/${enc(roomId)}/*`, async ({ response }) =>
        (await kills('send_leave', response)) ? undefined : { body: {} },
      );
      const isOver = (): boolean =>
        p.requests('PUT', /send_leave/).filter(({ path }) => path.includes(enc(roomId))).length > 1;
      while (killsAt.size > 0) {
        await a.revive();
        const [left] = [killsAt.size];
        await until(`the process is killed at ${[...killsAt].join(' or ')}`, async () => {
          await federation.clock.advance(60_000);
          return killsAt.size < left;
        });
        await killed.promise;
        killed = Promise.withResolvers();
      }
      await a.revive();
      await until('it is declined', async () => {
        await federation.clock.advance(60_000);
        return isOver();
      });
      await federation.idle();
      expect(await invitesOf('kira')).to.deep.equal({});
    });
  });
});
