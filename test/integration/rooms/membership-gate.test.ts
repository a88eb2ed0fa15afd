import { expect } from 'chai';
import { type Answer, type Json, InProcessServer } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

const DELAY = 'org.matrix.msc4140.delay';
const BUSY = '@limited-ann:test';

describe('every way to change a membership', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  afterEach(() => server.stop());

  const limits = { invite: { perSecond: 0.001, burst: 5 }, join: { perSecond: 0.001, burst: 3 } };
  const member = (roomId: string, userId: string): string => `/rooms/${roomId}/state/m.room.member/${userId}`;
  const put = (token: string, roomId: string, userId: string, content: object): Promise<Answer> =>
    server.ask(token, 'PUT', member(roomId, userId), content);
  const membershipOf = async (roomId: string, userId: string, reader = 'alice'): Promise<string | undefined> =>
    (await server.ask(reader, 'GET', member(roomId, userId))).body.membership;
  const outcome = ({ status, body }: Answer): Json => [status, body.errcode];
  /** Sends a delayed state event at once. @returns what became of it */
  const delayed = async (token: string, roomId: string, userId: string, content: object): Promise<Json> => {
    const { delay_id: id } = await server.must(token, 'PUT', `${member(roomId, userId)}?${DELAY}=1000`, content);
    await server.clock.advance(1_000);
    const path = `/unstable/org.matrix.msc4140/delayed_events/${id}`;
    await until('it is over', async () => {
      // The schedule pauses between two looks.
      await server.clock.advance(50);
      return (await server.must(token, 'GET', path)).finalised_ts !== undefined;
    });
    return (await server.must(token, 'GET', path)).error?.errcode;
  };

  it('takes from the same limit for invites, as state and delayed', async () => {
    server = await InProcessServer.start({ rateLimits: limits });
    const roomId = await server.room('limited-ann');
    const invite = { membership: 'invite' };
    for (let i = 0; i < 4; i++) expect((await put('limited-ann', roomId, `@i${i}:test`, invite)).status).to.equal(200);
    expect(await delayed('limited-ann', roomId, '@i4:test', invite)).to.equal(undefined);
    const refused = await put('limited-ann', roomId, '@i5:test', invite);
    expect([...outcome(refused), refused.body['org.tsudoi.limiter']]).to.deep.equal([
      429,
      'M_LIMIT_EXCEEDED',
      'invite',
    ]);
    expect(refused.body.retry_after_ms).to.be.above(0);
    expect(await delayed('limited-ann', roomId, '@i6:test', invite)).to.equal('M_LIMIT_EXCEEDED');
    // Whom no limit holds, it does not hold here.
    const other = await server.room('exempt-alice');
    for (let i = 0; i < 8; i++) expect((await put('exempt-alice', other, `@i${i}:test`, invite)).status).to.equal(200);
  });

  it('takes from the same limit for invites with a new room, in `invite` and in `initial_state`', async () => {
    server = await InProcessServer.start({ rateLimits: limits });
    const invited = (count: number): object[] =>
      Array.from({ length: count }, (_, i) => ({
        type: 'm.room.member',
        state_key: `@n${i}:test`,
        content: { membership: 'invite' },
      }));
    const create = (wish: object): Promise<Answer> => server.ask('limited-ann', 'POST', '/createRoom', wish);
    expect(outcome(await create({ initial_state: invited(6) }))).to.deep.equal([400, 'M_UNKNOWN']);
    expect(outcome(await create({ initial_state: invited(5), invite: ['@a:test'] }))).to.deep.equal([400, 'M_UNKNOWN']);
    expect((await create({ initial_state: invited(2), invite: ['@a:test', '@b:test'] })).status).to.equal(200);
    expect(outcome(await create({ invite: ['@a:test', '@b:test'] }))).to.deep.equal([429, 'M_LIMIT_EXCEEDED']);
    expect((await create({})).status).to.equal(200);
  });

  it('takes from the same limit as messages for bans, their ends and kicks, as for the same as state', async () => {
    server = await InProcessServer.start({ rateLimits: { message: { perSecond: 0.001, burst: 4 } } });
    for (const user of ['limited-ann', 'limited-bea']) {
      const roomId = await server.room(user, { preset: 'public_chat' });
      const others = Array.from({ length: 4 }, (_, i) => `@${user}-${i}:test`);
      const act = (what: string, i: number): Promise<Answer> =>
        server.ask(user, 'POST', `/rooms/${roomId}/${what}`, { user_id: others[i] });
      if (user === 'limited-bea')
        for (let i = 0; i < 4; i++)
          expect((await put(user, roomId, others[i]!, { membership: 'ban' })).status).to.equal(200);
      else
        for (const [what, i] of [
          ['ban', 0],
          ['unban', 0],
          ['ban', 0],
          ['unban', 0],
        ] as const)
          expect((await act(what, i)).status, what).to.equal(200);
      for (const what of ['ban', 'unban', 'kick'])
        expect(outcome(await act(what, 1)), what).to.deep.equal([429, 'M_LIMIT_EXCEEDED']);
      expect(outcome(await put(user, roomId, others[2]!, { membership: 'ban' }))).to.deep.equal([
        429,
        'M_LIMIT_EXCEEDED',
      ]);
    }
  });

  it('takes from the same limit for joins and knocks, and nothing for a new name', async () => {
    server = await InProcessServer.start({ rateLimits: limits });
    const rooms: string[] = [];
    for (let i = 0; i < 5; i++) rooms.push(await server.room('alice', { preset: 'public_chat' }));
    const join = { membership: 'join' };
    for (const roomId of rooms.slice(0, 2)) expect((await put('limited-ann', roomId, BUSY, join)).status).to.equal(200);
    for (let i = 0; i < 5; i++)
      expect((await put('limited-ann', rooms[0]!, BUSY, { ...join, displayname: `${i}` })).status).to.equal(200);
    expect(await delayed('limited-ann', rooms[2]!, BUSY, join)).to.equal(undefined);
    expect(outcome(await put('limited-ann', rooms[3]!, BUSY, join))).to.deep.equal([429, 'M_LIMIT_EXCEEDED']);
    expect(outcome(await put('limited-ann', rooms[3]!, BUSY, { membership: 'knock' }))).to.deep.equal([
      429,
      'M_LIMIT_EXCEEDED',
    ]);
    expect(await delayed('limited-ann', rooms[4]!, BUSY, join)).to.equal('M_LIMIT_EXCEEDED');
  });

  for (const [how, ask] of [
    ['joins', (roomId: string) => server.ask('guest-g', 'POST', `/rooms/${roomId}/join`, {})],
    ['sets the state', (roomId: string) => put('guest-g', roomId, '@guest-g:test', { membership: 'join' })],
  ] as const)
    it(`does not let a guest in who ${how} while the room stops to let guests in`, async () => {
      server = await InProcessServer.start();
      const roomId = await server.room('alice', {
        preset: 'public_chat',
        initial_state: [{ type: 'm.room.guest_access', content: { guest_access: 'can_join' } }],
      });
      const { membershipGate } = server.services;
      const admit = membershipGate.admit.bind(membershipGate);
      const closed = Promise.withResolvers<void>();
      const admitted = Promise.withResolvers<void>();
      membershipGate.admit = async (...change) => {
        const content = await admit(...change);
        admitted.resolve();
        await closed.promise;
        return content;
      };
      const joining = ask(roomId);
      await admitted.promise;
      await server.setState('alice', roomId, 'm.room.guest_access', { guest_access: 'forbidden' });
      // The guests who are there leave, and this one is not.
      await server.idle();
      closed.resolve();
      expect(outcome(await joining)).to.deep.equal([403, 'M_GUEST_ACCESS_FORBIDDEN']);
      expect(await membershipOf(roomId, '@guest-g:test')).to.equal(undefined);
    });

  it('lets guests come, go and have a name, and refuses them what its endpoints refuse', async () => {
    server = await InProcessServer.start();
    const roomId = await server.room('alice', {
      preset: 'public_chat',
      power_level_content_override: { invite: 0, kick: 0, ban: 0, events: { 'm.room.member': 0 } },
      initial_state: [{ type: 'm.room.guest_access', content: { guest_access: 'can_join' } }],
    });
    await server.join('bob', roomId);
    const guest = '@guest-g:test';
    expect((await put('guest-g', roomId, guest, { membership: 'join' })).status).to.equal(200);
    expect((await put('guest-g', roomId, guest, { membership: 'join', displayname: 'G' })).status).to.equal(200);
    for (const [userId, membership] of [
      ['@x:test', 'invite'],
      ['@bob:test', 'leave'],
      ['@bob:test', 'ban'],
      [guest, 'knock'],
    ] as const) {
      expect(outcome(await put('guest-g', roomId, userId, { membership })), membership).to.deep.equal([
        403,
        'M_GUEST_ACCESS_FORBIDDEN',
      ]);
      expect(await delayed('guest-g', roomId, userId, { membership })).to.equal('M_GUEST_ACCESS_FORBIDDEN');
    }
    expect(await membershipOf(roomId, '@bob:test')).to.equal('join');
    expect((await put('guest-g', roomId, guest, { membership: 'leave' })).status).to.equal(200);
    const closed = await server.room('alice', { preset: 'public_chat' });
    expect(await delayed('guest-g', closed, guest, { membership: 'join' })).to.equal('M_GUEST_ACCESS_FORBIDDEN');
  });

  it('lets suspended users leave, and do nothing else with memberships', async () => {
    server = await InProcessServer.start();
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', roomId);
    const { roomSending } = server.services;
    const sender = { userId: '@bob:test', deviceId: 'D', isSuspended: true };
    const send = (stateKey: string, content: Json): Promise<string> =>
      roomSending.state(sender, { roomId, type: 'm.room.member', content }, stateKey);
    for (const [userId, content] of [
      ['@bob:test', { membership: 'join', displayname: 'x' }],
      ['@x:test', { membership: 'invite' }],
      ['@alice:test', { membership: 'leave' }],
    ] as const) {
      const error = await send(userId, content).catch((thrown: unknown) => thrown);
      expect((error as Json).errcode).to.equal('M_USER_SUSPENDED');
    }
    await send('@bob:test', { membership: 'leave' });
    expect(await membershipOf(roomId, '@bob:test')).to.equal('leave');
  });

  it('looks at the content of member events, and takes nobody else for the word of this server', async () => {
    server = await InProcessServer.start();
    const roomId = await server.room('alice', { preset: 'public_chat' });
    for (const content of [{ membership: 'guest' }, {}, { membership: 'join', displayname: 1 }]) {
      expect(outcome(await put('bob', roomId, '@bob:test', content))).to.deep.equal([400, 'M_BAD_JSON']);
      const initial = [{ type: 'm.room.member', state_key: '@x:test', content }];
      expect(outcome(await server.ask('bob', 'POST', '/createRoom', { initial_state: initial }))).to.deep.equal([
        400,
        'M_BAD_JSON',
      ]);
    }
    const claim = { membership: 'join', join_authorised_via_users_server: '@alice:test' };
    expect((await put('bob', roomId, '@bob:test', claim)).status).to.equal(200);
    expect(await server.must('bob', 'GET', member(roomId, '@bob:test'))).to.deep.equal({ membership: 'join' });
  });

  it('by /join carries what else is in the body into the event, below what the server says', async () => {
    server = await InProcessServer.start();
    await server.setProfile('bob', { displayname: 'Bob' });
    const body = {
      reason: 'tea',
      membership: 'ban',
      displayname: 'Mallory',
      avatar_url: 'mxc://test/own',
      join_authorised_via_users_server: '@alice:test',
      third_party_invite: { signed: {} },
      'org.example.more': { nested: [1] },
    };
    for (const path of ['/join/%', '/rooms/%/join']) {
      const roomId = await server.room('alice', { preset: 'public_chat' });
      await server.must('bob', 'POST', path.replace('%', roomId), body);
      expect(await server.must('bob', 'GET', member(roomId, '@bob:test'))).to.deep.equal({
        membership: 'join',
        displayname: 'Bob',
        avatar_url: 'mxc://test/own',
        reason: 'tea',
        'org.example.more': { nested: [1] },
      });
      const other = await server.room('alice', { preset: 'public_chat' });
      const wrong = await server.ask('bob', 'POST', path.replace('%', other), { 'x.y': 1.5 });
      expect(outcome(wrong)).to.deep.equal([400, 'M_BAD_JSON']);
      const large = await server.ask('bob', 'POST', path.replace('%', other), { 'x.y': 'x'.repeat(66_000) });
      expect(outcome(large)).to.deep.equal([413, 'M_TOO_LARGE']);
    }
  });

  it('keeps an open invite or knock in sight: it cannot be forgotten before it is over', async () => {
    server = await InProcessServer.start();
    const rules = [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }];
    const roomId = await server.room('alice', { initial_state: rules, invite: ['@bob:test'] });
    await server.must('carol', 'POST', `/knock/${roomId}`, {});
    for (const who of ['bob', 'carol']) {
      const refused = await server.ask(who, 'POST', `/rooms/${roomId}/forget`);
      expect(outcome(refused)).to.deep.equal([400, 'M_UNKNOWN']);
      expect(await membershipOf(roomId, `@${who}:test`)).to.equal(who === 'bob' ? 'invite' : 'knock');
      await server.must(who, 'POST', `/rooms/${roomId}/leave`, {});
      await server.must(who, 'POST', `/rooms/${roomId}/forget`);
    }
  });
});
