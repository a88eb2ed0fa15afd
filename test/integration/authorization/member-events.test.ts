import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { isAllowed } from '#src/services/accounts/admission/access-rules.ts';
import { type MemberEventKind, MEMBER_EVENT_KINDS } from '#src/services/rooms/membership/member-event-kinds.ts';
import { METHODS } from '#src/ws/methods.ts';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';
import { type Answer, InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';
import { Refused, StreamClient } from '#test/ws/stream-client.ts';

/**
 * Everybody who may try. The first five are where an ordinary user would be: in the room, where everybody may do everything with memberships, or, to
 * join or knock, out of one that is open to them. The stranger is not in a room that is closed, nor is the invited user yet.
 */
const KINDS = ['guest', 'suspended', 'locked', 'deactivated', 'member', 'stranger', 'banned', 'invited'] as const;
type Kind = (typeof KINDS)[number];

const FORBIDDEN = 'M_FORBIDDEN';
const GUEST = 'M_GUEST_ACCESS_FORBIDDEN';
const SUSPENDED = 'M_USER_SUSPENDED';
const OF_ACCOUNT = { locked: 'M_USER_LOCKED', deactivated: 'M_UNKNOWN_TOKEN' } as const;
const OUTSIDE = { stranger: FORBIDDEN, banned: FORBIDDEN, invited: FORBIDDEN } as const;

/**
 * What comes of a change: `done` with a new member event, `nothing` where the request succeeds without one, `challenge` where the user is asked to
 * authenticate, otherwise the errcode.
 */
type Outcomes = Readonly<Record<Kind, string>>;

/** However a change comes. */
const EXPECTED: Readonly<Record<MemberEventKind, Outcomes>> = {
  join: {
    ...OF_ACCOUNT,
    guest: 'done',
    suspended: SUSPENDED,
    member: 'done',
    stranger: FORBIDDEN,
    banned: FORBIDDEN,
    invited: 'done',
  },
  knock: { ...OF_ACCOUNT, ...OUTSIDE, guest: GUEST, suspended: SUSPENDED, member: 'done' },
  leave: { ...OF_ACCOUNT, ...OUTSIDE, guest: 'done', suspended: 'done', member: 'done', invited: 'done' },
  invite: { ...OF_ACCOUNT, ...OUTSIDE, guest: GUEST, suspended: SUSPENDED, member: 'done' },
  kick: { ...OF_ACCOUNT, ...OUTSIDE, guest: GUEST, suspended: SUSPENDED, member: 'done' },
  ban: { ...OF_ACCOUNT, ...OUTSIDE, guest: GUEST, suspended: SUSPENDED, member: 'done' },
  unban: { ...OF_ACCOUNT, ...OUTSIDE, guest: GUEST, suspended: SUSPENDED, member: 'done' },
  // With a name of one's own an invited user comes in.
  profile: { ...OF_ACCOUNT, ...OUTSIDE, guest: 'done', suspended: SUSPENDED, member: 'done', invited: 'done' },
};

const CONTENT: Readonly<Record<MemberEventKind, Json>> = {
  join: { membership: 'join' },
  knock: { membership: 'knock' },
  leave: { membership: 'leave' },
  invite: { membership: 'invite' },
  kick: { membership: 'leave' },
  ban: { membership: 'ban' },
  unban: { membership: 'leave' },
  profile: { membership: 'join', displayname: 'somebody else' },
};

/** Whose membership changes: the requester's, or that of a user who is in the room, out of it, or banned. */
type Target = 'own' | 'inside' | 'outside' | 'banned';
const TARGET: Readonly<Record<MemberEventKind, Target>> = {
  join: 'own',
  knock: 'own',
  leave: 'own',
  profile: 'own',
  invite: 'outside',
  kick: 'inside',
  ban: 'inside',
  unban: 'banned',
};

/** One who tries, where they are, and whose membership is to change. */
interface Situation {
  readonly change: MemberEventKind;
  readonly kind: Kind;
  readonly name: string;
  readonly userId: string;
  readonly roomId: string;
  readonly target: string;
}

/** A way to make a change. */
interface Way {
  readonly title: string;
  /** What comes of it where that is not what `EXPECTED` says. */
  readonly instead?: Partial<Outcomes>;
  readonly target?: Target;
  /** Ordinary users are out of the room, as for a join. */
  readonly isOutside?: boolean;
  /** Done before the account is suspended, locked or deactivated. @returns what `ask` is given */
  readonly before?: (situation: Situation) => Promise<string>;
  readonly ask: (situation: Situation, prepared: string) => Promise<Answer>;
  /** The member event is one of a new room, which the answer names. */
  readonly makesRoom?: boolean;
}

type Ways = (change: MemberEventKind) => readonly Way[];

/** A request that is refused for every user who may call its endpoint, since no third party vouches for what it says. */
const UNPROVED = (outcome: string): Partial<Outcomes> => ({
  guest: outcome,
  member: outcome,
  stranger: outcome,
  banned: outcome,
  invited: outcome,
});

/** What needs the account's password. */
const CHALLENGED: Partial<Outcomes> = { ...UNPROVED('challenge'), suspended: 'challenge', guest: GUEST };

/** What is asked without an account: the test that shows who makes member events by it, and words of that test. */
const OF_NOBODY: Readonly<Record<string, readonly [file: string, words: string]>> = {
  // An address that was proved by mail, and was invited before.
  register: ['test/integration/mail/registration.test.ts', 'invite_state'],
  // An identity server signs for them.
  onBindThirdPartyIdentifier: ['test/integration/federation/trust/bound-invites.test.ts', 'onbind'],
  onBindThirdPartyIdentifierByPost: ['test/integration/federation/trust/bound-invites.test.ts', 'onbind'],
};

const declaring = ENDPOINTS.filter(({ memberEvents }) => memberEvents !== undefined);
const ofAccounts = declaring.filter(({ auth }) => auth === 'accessToken' || auth === 'optionalToken');
const ofOthers = declaring.filter(({ auth }) => auth === 'admin' || auth === 'server');
const ofNobody = declaring.filter(({ auth }) => auth === 'none' || auth === 'appservice');
const methods = [...METHODS.values()].filter(({ memberEvents }) => memberEvents !== undefined);
/** Everything by which users make member events, by its name here. */
const declared: readonly (readonly [name: string, changes: readonly MemberEventKind[]])[] = [
  ...ofAccounts.map(({ operationId, memberEvents = [] }) => [operationId, memberEvents] as const),
  ...methods.map(({ name, memberEvents = [] }) => [`WebSocket ${name}`, memberEvents] as const),
];

const OLDER_DELAY = 'org.matrix.msc4140.delay';
const DELAYED = '/unstable/org.matrix.msc4140';
const DELAY_MS = 1_000;

describe('who may make which member event, however it comes', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  let count = 0;
  const next = (): number => (count += 1);

  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server.stop());

  /** A situation of somebody who tries. */
  const situationOf = async (kind: Kind, change: MemberEventKind, way: Way): Promise<Situation> => {
    const name = `${kind}-x${next()}`.replace('suspended-', 'sus-');
    const { userId } = await server.session(name);
    const isOutside = way.isOutside ?? (change === 'join' || change === 'knock');
    const isClosed = kind === 'stranger' || kind === 'invited';
    const roomId = await server.room('alice', {
      preset: 'private_chat',
      power_level_content_override: {
        invite: 0,
        kick: 0,
        ban: 0,
        events: { 'm.room.member': 0, 'm.room.tombstone': 0 },
        // More than those who are to be kicked.
        users: { [userId]: 10 },
      },
      initial_state: [
        { type: 'm.room.guest_access', content: { guest_access: 'can_join' } },
        {
          type: 'm.room.join_rules',
          content: { join_rule: isClosed ? 'invite' : change === 'knock' ? 'knock' : 'public' },
        },
      ],
    });
    if (kind === 'banned') await server.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: userId });
    else if (kind === 'invited') await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: userId });
    else if (kind !== 'stranger' && !isOutside) await server.join(name, roomId);
    const target = await targetOf(way.target ?? TARGET[change], userId, roomId);
    return { change, kind, name, userId, roomId, target };
  };
  const targetOf = async (target: Target, own: string, roomId: string): Promise<string> => {
    if (target === 'own') return own;
    const name = `other${next()}`;
    const { userId } = await server.session(name);
    if (target === 'outside') return userId;
    await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: userId });
    await server.join(name, roomId);
    if (target === 'banned') await server.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: userId });
    return userId;
  };
  /** Suspends, locks or deactivates an account, or sets it free again. */
  const setAccount = async ({ kind, userId }: Pick<Situation, 'kind' | 'userId'>, on: boolean): Promise<void> => {
    const admin = '/_matrix/client/v1/admin';
    if (kind === 'suspended') await server.must('admin-root', 'PUT', `${admin}/suspend/${userId}`, { suspended: on });
    else if (kind === 'locked') await server.must('admin-root', 'PUT', `${admin}/lock/${userId}`, { locked: on });
    else if (kind === 'deactivated' && on)
      await server.must('admin-root', 'POST', `/_synapse/admin/v1/deactivate/${userId}`, {});
  };
  const memberIn = async (reader: string, roomId: string, userId: string): Promise<Json> => {
    const { chunk } = await server.must(reader, 'GET', `/rooms/${roomId}/members`);
    return chunk.find((event: Json) => event.state_key === userId);
  };

  /** Has everybody try a way, each in a room of their own. @returns what came of it, by kind */
  const outcomesOf = async (change: MemberEventKind, way: Way): Promise<Record<string, string>> => {
    const tries = await Promise.all(
      KINDS.map(async (kind) => {
        const situation = await situationOf(kind, change, way);
        return { situation, prepared: (await way.before?.(situation)) ?? '' };
      }),
    );
    await Promise.all(tries.map(({ situation }) => setAccount(situation, true)));
    await server.idle();
    const asked = await Promise.all(
      tries.map(async ({ situation, prepared }) => {
        const before = await memberIn('alice', situation.roomId, situation.target);
        return { situation, before, answer: await way.ask(situation, prepared) };
      }),
    );
    await server.idle();
    await Promise.all(tries.map(({ situation }) => setAccount(situation, false)));
    const outcomes = asked.map(async ({ situation: { kind, name, roomId, target }, before, answer }) => {
      const { status, body } = answer;
      const isDone = status === 200;
      const after = await (way.makesRoom === true && isDone
        ? memberIn(name, body.room_id ?? body.replacement_room, target)
        : memberIn('alice', roomId, target));
      const isChanged = after?.event_id !== before?.event_id;
      const title = `${way.title}: ${kind}`;
      if (isDone && isChanged) expect(after?.content.membership, title).to.equal(CONTENT[change].membership);
      if (!isDone) expect(isChanged, `${title} was refused`).to.equal(false);
      if (body.flows !== undefined) return [kind, 'challenge'] as const;
      return [kind, isDone ? (isChanged ? 'done' : 'nothing') : body.errcode] as const;
    });
    return Object.fromEntries(await Promise.all(outcomes));
  };

  /** What a WebSocket answers to one request of somebody, as HTTP would. */
  const framed = async (name: string, method: string, params: object): Promise<Answer> => {
    const { token } = await server.session(name);
    try {
      const client = await StreamClient.open(`${server.url.replace(/^http/, 'ws')}${WEBSOCKET_PATH}`, { token });
      const { error, result } = await client.request(method, params);
      await client.end();
      return { status: error === undefined ? 200 : 400, body: error ?? result } as Answer;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return { status: error.status, body: error.body } as Answer;
    }
  };

  const statePath = ({ roomId, target }: Situation): string => `/rooms/${roomId}/state/m.room.member/${target}`;
  const contentOf = ({ change }: Situation): object => CONTENT[change];
  /** Schedules it with the endpoint of its own. */
  const schedule = (situation: Situation): Promise<Answer> =>
    server.ask(situation.name, 'PUT', `${DELAYED}/rooms/${situation.roomId}/delayed_event/m.room.member/t${next()}`, {
      delay_ms: DELAY_MS,
      state_key: situation.target,
      content: contentOf(situation),
    });
  /** Schedules it by a parameter of what sends it. */
  const scheduleAsState = (situation: Situation): Promise<Answer> =>
    server.ask(situation.name, 'PUT', `${statePath(situation)}?${OLDER_DELAY}=${DELAY_MS}`, contentOf(situation));
  const scheduled =
    (how: (situation: Situation) => Promise<Answer>) =>
    async (situation: Situation): Promise<string> => {
      const { status, body } = await how(situation);
      expect(status, JSON.stringify(body)).to.equal(200);
      return body.delay_id;
    };
  /** What became of a delayed event once its time has come. */
  const due = async ({ kind, name, userId }: Situation, delayId: string): Promise<Answer> => {
    await server.clock.advance(DELAY_MS);
    await server.idle();
    // Its sender reads it when they can again.
    if (kind === 'locked') await setAccount({ kind, userId }, false);
    const over = await until('it is over', async () => {
      // The schedule pauses between two looks.
      await server.clock.advance(50);
      const seen = await server.ask(name, 'GET', `${DELAYED}/delayed_events/${delayId}`);
      return seen.status === 200 && seen.body.finalised_ts === undefined ? undefined : seen;
    });
    const error = over.status === 200 ? over.body.error : over.body;
    return { status: error === undefined ? 200 : 400, body: error ?? {} } as Answer;
  };
  /** Suspended or locked when the time comes, rather than when it is scheduled. */
  const late = (title: string, how: (situation: Situation) => Promise<Answer>): Way => ({
    title,
    before: scheduled(how),
    ask: due,
  });
  const inTime = (
    title: string,
    how: (situation: Situation) => Promise<Answer>,
    instead: Partial<Outcomes> = {},
  ): Way => ({
    title,
    instead,
    async ask(situation) {
      const answer = await how(situation);
      return answer.status === 200 ? due(situation, answer.body.delay_id) : answer;
    },
  });
  /** Sent by whoever knows the id, without a token. */
  const sentNow = (title: string, path: (delayId: string) => string, body: object): Way => ({
    title,
    before: scheduled(schedule),
    // What deactivated users had scheduled is cancelled.
    instead: { deactivated: 'M_UNKNOWN' },
    ask: (_, delayId) => server.ask(undefined, 'POST', `${DELAYED}/delayed_events/${path(delayId)}`, body),
  });

  const request = (title: string, ask: Way['ask'], more: Partial<Way> = {}): readonly Way[] => [
    { title, ask, ...more },
  ];
  const inRoom =
    (action: string): Ways =>
    () =>
      request(action, ({ name, roomId, target }) =>
        server.ask(name, 'POST', `/rooms/${roomId}/${action}`, { user_id: target }),
      );
  /** By state, suspended users say nothing at all: leaving has an operation of its own. */
  const SAYS_NOTHING = { suspended: SUSPENDED };
  const signed = (userId: string): object => ({
    third_party_signed: { sender: '@alice:test', mxid: userId, token: 'unknown', signatures: {} },
  });
  const joining =
    (path: (roomId: string) => string): Ways =>
    (change) =>
      change === 'invite'
        ? request(
            'with an invite that no identity server has signed',
            ({ name, roomId, userId }) => server.ask(name, 'POST', path(roomId), signed(userId)),
            { target: 'own', isOutside: true, instead: UNPROVED(FORBIDDEN) },
          )
        : request('join', ({ name, roomId }) => server.ask(name, 'POST', path(roomId), {}));
  const ofProfile =
    (title: string, method: 'PUT' | 'DELETE', body: object): Ways =>
    () =>
      request(title, ({ name, userId }) => server.ask(name, method, `/profile/${userId}/displayname`, body), {
        async before({ name, userId }) {
          await server.must(name, 'PUT', `/profile/${userId}/displayname`, { displayname: 'before' });
          await server.idle();
          return '';
        },
        // Names follow into rooms that their users are in.
        instead: { stranger: 'nothing', banned: 'nothing', invited: 'nothing' },
      });
  /** Whoever may make rooms may do everything in them that the authorization rules let a creator do. */
  const CREATES = { guest: GUEST, suspended: SUSPENDED, stranger: 'done', banned: 'done', invited: 'done' } as const;
  const creating = (title: string, wish: (situation: Situation) => object, instead: Partial<Outcomes> = {}): Way => ({
    title,
    makesRoom: true,
    instead: { ...CREATES, ...instead },
    ask: (situation) => server.ask(situation.name, 'POST', '/createRoom', wish(situation)),
  });
  const stateOf = (situation: Situation, ...contents: object[]): object => ({
    initial_state: contents.map((content) => ({ type: 'm.room.member', state_key: situation.target, content })),
  });
  const creation: Ways = (change) => {
    const byState = creating('initial_state', (situation) => stateOf(situation, contentOf(situation)));
    // No authorization rule lets those who make a room knock at it.
    if (change === 'knock')
      return [
        creating('initial_state', (situation) => stateOf(situation, contentOf(situation)), {
          ...UNPROVED('M_INVALID_ROOM_STATE'),
          guest: GUEST,
        }),
      ];
    if (change === 'join')
      return [creating('createRoom', () => ({})), creating('preset', () => ({ preset: 'public_chat' }))];
    if (change === 'invite')
      return [
        byState,
        creating('invite', ({ target }) => ({ invite: [target] })),
        creating('trusted_private_chat', ({ target }) => ({ invite: [target], preset: 'trusted_private_chat' })),
        creating('is_direct', ({ target }) => ({ invite: [target], is_direct: true })),
      ];
    if (change === 'unban')
      return [creating('initial_state', (situation) => stateOf(situation, CONTENT.ban, contentOf(situation)))];
    return [byState];
  };
  /** Bans come along. */
  const upgrade: Ways = (change) => [
    {
      title: 'upgrade',
      target: change === 'ban' ? 'banned' : 'own',
      isOutside: false,
      // What moves is the room that one is in.
      instead: { guest: GUEST, invited: FORBIDDEN },
      makesRoom: true,
      ask: ({ name, roomId }) => server.ask(name, 'POST', `/rooms/${roomId}/upgrade`, { new_version: '11' }),
    },
  ];

  const WAYS: Readonly<Record<string, Ways>> = {
    inviteUser: inRoom('invite'),
    kick: inRoom('kick'),
    ban: inRoom('ban'),
    unban: inRoom('unban'),
    leaveRoom: inRoom('leave'),
    joinRoomById: joining((roomId) => `/rooms/${roomId}/join`),
    joinRoom: joining((roomId) => `/join/${roomId}`),
    knockRoom: () => request('knock', ({ name, roomId }) => server.ask(name, 'POST', `/knock/${roomId}`, {})),
    setRoomStateWithKey: () => [
      {
        title: 'state',
        instead: SAYS_NOTHING,
        ask: (situation) => server.ask(situation.name, 'PUT', statePath(situation), contentOf(situation)),
      },
      inTime('scheduled as state', scheduleAsState, SAYS_NOTHING),
      late('scheduled as state before', scheduleAsState),
    ],
    scheduleDelayedEvent: () => [inTime('scheduled', schedule), late('scheduled before', schedule)],
    sendDelayedEvent: () => [sentNow('sent now', (delayId) => `${delayId}/send`, {})],
    updateDelayedEvent: () => [sentNow('sent now, by the older form', (delayId) => delayId, { action: 'send' })],
    createRoom: creation,
    upgradeRoom: upgrade,
    setProfileField: ofProfile('a name', 'PUT', { displayname: 'after' }),
    deleteProfileField: ofProfile('no name', 'DELETE', {}),
    deactivateAccount: () =>
      request('deactivate', ({ name }) => server.ask(name, 'POST', '/account/deactivate', {}), {
        instead: CHALLENGED,
      }),
    add3PID: () =>
      request(
        'an address',
        ({ name }) => server.ask(name, 'POST', '/account/3pid/add', { client_secret: 'secret', sid: '1' }),
        { instead: CHALLENGED },
      ),
    'WebSocket state': () =>
      request(
        'a frame',
        (situation) =>
          framed(situation.name, 'state', {
            room_id: situation.roomId,
            event_type: 'm.room.member',
            state_key: situation.target,
            content: contentOf(situation),
          }),
        { instead: SAYS_NOTHING },
      ),
    'WebSocket join': (change) =>
      change === 'invite'
        ? request(
            'a frame with an invite that no identity server has signed',
            ({ name, roomId, userId }) => framed(name, 'join', { room_id_or_alias: roomId, ...signed(userId) }),
            { target: 'own', isOutside: true, instead: UNPROVED(FORBIDDEN) },
          )
        : request('a frame', ({ name, roomId }) => framed(name, 'join', { room_id_or_alias: roomId })),
    'WebSocket leave': () => request('a frame', ({ name, roomId }) => framed(name, 'leave', { room_id: roomId })),
    'WebSocket invite': () =>
      request('a frame', ({ name, roomId, target }) => framed(name, 'invite', { room_id: roomId, user_id: target })),
  };

  it('is asked of every endpoint and method that declares that it makes some, for each change', () => {
    expect(declared.length).to.be.greaterThan(20);
    expect(declared.map(([name]) => name).toSorted()).to.deep.equal(Object.keys(WAYS).toSorted());
    for (const [name, changes] of declared)
      for (const change of changes) expect(WAYS[name]?.(change).length, `${name}: ${change}`).to.be.greaterThan(0);
    const tried = new Set(declared.flatMap(([, changes]) => changes));
    expect([...tried].toSorted()).to.deep.equal(MEMBER_EVENT_KINDS.toSorted());
  });
  it('is the same for a method of the WebSocket API as for the endpoint that does the same', () => {
    for (const { name, sameAs, memberEvents } of METHODS.values()) {
      const twin = ENDPOINTS.find(({ operationId }) => operationId === sameAs);
      expect(memberEvents, name).to.deep.equal(twin?.memberEvents);
    }
  });
  it('is shown by a test of its own where no account is needed, since a third party vouches for it', async () => {
    expect(ofNobody.map(({ operationId }) => operationId).toSorted()).to.deep.equal(Object.keys(OF_NOBODY).toSorted());
    for (const [operationId, [file, words]] of Object.entries(OF_NOBODY))
      expect(await readFile(file, 'utf8'), operationId).to.include(words);
  });

  for (const [name, changes] of declared)
    for (const change of changes)
      it(`${name} makes a ${change} for those who may make it, and for nobody else`, async () => {
        for (const way of WAYS[name]!(change)) {
          const outcomes = await outcomesOf(change, way);
          expect(outcomes, way.title).to.deep.equal({ ...EXPECTED[change], ...way.instead });
        }
      });

  it('is nothing that what is for administrators or other servers makes for users, whoever they are', async () => {
    expect(ofOthers.map(({ operationId }) => operationId)).to.include.members(['adminJoinRoom', 'sendJoinV2']);
    for (const kind of KINDS) {
      const situation = await situationOf(kind, 'kick', { title: '', ask: () => Promise.reject(new Error()) });
      const { name, roomId, userId } = situation;
      await setAccount(situation, true);
      await server.idle();
      const members = await server.must('alice', 'GET', `/rooms/${roomId}/members`);
      for (const { auth, method, operationId, path } of ofOthers) {
        const target = path.replaceAll(/\{(\w+)\}/g, (_, param: string) =>
          encodeURIComponent(/room/i.test(param) ? roomId : /user/i.test(param) ? userId : 'x'),
        );
        const { status, body } = await server.ask(name, method, target, { user_id: userId, membership: 'join' });
        const isUnknown = kind === 'locked' || kind === 'deactivated';
        const expected = auth === 'server' || isUnknown ? 401 : 403;
        expect([operationId, kind, status], JSON.stringify(body)).to.deep.equal([operationId, kind, expected]);
      }
      await server.idle();
      await setAccount(situation, false);
      const after = await server.must('alice', 'GET', `/rooms/${roomId}/members`);
      expect(after.chunk.map(({ event_id: id }: Json) => id)).to.deep.equal(
        members.chunk.map(({ event_id: id }: Json) => id),
      );
    }
  });

  it('agrees with what the endpoints say of guests and suspended users', () => {
    for (const { operationId, guests = 'allowed', suspended = 'allowed', memberEvents = [] } of ofAccounts)
      for (const change of memberEvents)
        for (const way of WAYS[operationId]!(change)) {
          // What was scheduled before was let in then.
          if (way.before !== undefined) continue;
          const { guest, suspended: ofSuspended } = { ...EXPECTED[change], ...way.instead };
          if (!isAllowed(guests)) expect(guest, operationId).to.equal(GUEST);
          if (!isAllowed(suspended)) expect(ofSuspended, operationId).to.equal(SUSPENDED);
        }
  });
});
