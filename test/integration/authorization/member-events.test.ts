import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { isAllowed } from '#src/services/accounts/admission/access-rules.ts';
import { type Answer, InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';
import { Refused, StreamClient } from '#test/ws/stream-client.ts';
import { METHODS } from '#src/ws/methods.ts';
import { WEBSOCKET_PATH } from '#src/ws/web-socket-api.ts';

/** Everybody who may try. All but the stranger are in the room, where everybody may do everything with memberships. */
const KINDS = ['guest', 'suspended', 'locked', 'member', 'stranger'] as const;
type Kind = (typeof KINDS)[number];

/** What can be done with a membership: the operation that is made for it, and what it comes to as state. */
interface Change {
  readonly operation: string;
  readonly membership: 'invite' | 'join' | 'knock' | 'leave' | 'ban';
  /** Whose membership: the own one, or that of somebody who is in the room, out of it, or banned. */
  readonly target: 'own' | 'inside' | 'outside' | 'banned';
  readonly ask: (roomId: string, target: string) => readonly [method: string, path: string, body: object];
}

const of = (action: string) => (roomId: string, target: string) =>
  ['POST', `/rooms/${roomId}/${action}`, { user_id: target }] as const;
const own = (path: (roomId: string) => string) => (roomId: string) => ['POST', path(roomId), {}] as const;

const CHANGES: readonly Change[] = [
  { operation: 'inviteUser', membership: 'invite', target: 'outside', ask: of('invite') },
  { operation: 'kick', membership: 'leave', target: 'inside', ask: of('kick') },
  { operation: 'ban', membership: 'ban', target: 'inside', ask: of('ban') },
  { operation: 'unban', membership: 'leave', target: 'banned', ask: of('unban') },
  { operation: 'joinRoomById', membership: 'join', target: 'own', ask: own((roomId) => `/rooms/${roomId}/join`) },
  { operation: 'joinRoom', membership: 'join', target: 'own', ask: own((roomId) => `/join/${roomId}`) },
  { operation: 'knockRoom', membership: 'knock', target: 'own', ask: own((roomId) => `/knock/${roomId}`) },
  { operation: 'leaveRoom', membership: 'leave', target: 'own', ask: own((roomId) => `/rooms/${roomId}/leave`) },
];
/** They make member events of any kind: each change is tried by them too. */
const GENERAL = ['setRoomStateWithKey', 'scheduleDelayedEvent', 'createRoom'];
/** Methods of WebSockets by the operation that does the same. */
const METHOD_OF: ReadonlyMap<string, string> = new Map(
  [...METHODS.values()].flatMap(({ name, sameAs }) => (sameAs === undefined ? [] : [[sameAs, name]])),
);
/** They make some as a consequence of something else, for which they have tests of their own. */
const CONSEQUENCES = ['upgradeRoom', 'forgetRoom', 'deactivateAccount', 'sendDelayedEvent', 'updateDelayedEvent'];
/** They have the names of users in their rooms follow. */
const OF_PROFILES = ['setProfileField', 'deleteProfileField'];

/** They put off or drop what has been asked about when it was scheduled. */
const OF_THE_SCHEDULE = ['cancelDelayedEvent', 'restartDelayedEvent'];
/** They need no account: a third party's word about an address, which has tests of its own. */
const OF_NOBODY = ['onBindThirdPartyIdentifier', 'onBindThirdPartyIdentifierByPost'];

/** Paths of what makes member events, whoever may call it. */
const MAKES_ONE =
  /\/(join|make_room_admin|knock|invite|exchange_third_party_invite|onbind|kick|ban|unban|leave|forget|upgrade|createRoom|state|delayed_events?|send_(join|knock|leave|server_notice)|send\/\{txnId\}|erase|block)(\/|$)|federation\/v1\/send\/|deactivate|profile\/\{userId\}\/\{keyName\}|admin\/v\d\/rooms\/\{roomId\}$|v2\/users\/\{user_id\}$/;

const makers = (isWanted: (endpoint: (typeof ENDPOINTS)[number]) => boolean): (typeof ENDPOINTS)[number][] =>
  ENDPOINTS.filter((one) => one.method !== 'GET' && isWanted(one) && MAKES_ONE.test(one.path));

const DELAY = 'org.matrix.msc4140.delay';
const REFUSED: Partial<Readonly<Record<Kind, string>>> = {
  guest: 'M_GUEST_ACCESS_FORBIDDEN',
  suspended: 'M_USER_SUSPENDED',
  locked: 'M_USER_LOCKED',
};

describe('who may make which member event, however it comes', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  const names = { guest: 'guest-g', suspended: 'sue', locked: 'lou', member: 'mia', stranger: 'stan' } as const;
  let count = 0;

  before(async () => {
    server = await InProcessServer.start();
    for (const kind of KINDS) await server.session(names[kind]);
  });
  after(() => server.stop());

  /** A room in which everybody may do everything with memberships, with the one who tries in it, unless it is the stranger. */
  const roomFor = async (kind: Kind): Promise<string> => {
    const roomId = await server.room('alice', {
      preset: 'private_chat',
      power_level_content_override: {
        invite: 0,
        kick: 0,
        ban: 0,
        events: { 'm.room.member': 0 },
        // More than those who are to be kicked.
        users: { [(await server.session(names[kind])).userId]: 10 },
      },
      initial_state: [
        { type: 'm.room.guest_access', content: { guest_access: 'can_join' } },
        { type: 'm.room.join_rules', content: { join_rule: kind === 'stranger' ? 'invite' : 'public' } },
      ],
    });
    if (kind !== 'stranger') await server.join(names[kind], roomId);
    return roomId;
  };
  const setAccount = async (kind: Kind, on: boolean): Promise<void> => {
    if (kind !== 'suspended' && kind !== 'locked') return;
    const { userId } = await server.session(names[kind]);
    const path = kind === 'suspended' ? 'suspend' : 'lock';
    await server.must('admin-root', 'PUT', `/_matrix/client/v1/admin/${path}/${userId}`, { [kind]: on });
  };
  const targetOf = async ({ target }: Change, kind: Kind, roomId: string): Promise<string> => {
    if (target === 'own') return (await server.session(names[kind])).userId;
    count += 1;
    if (target === 'outside') return `@outside${count}:test`;
    const name = `inside${count}`;
    const { userId } = await server.session(name);
    await server.must('alice', 'POST', `/rooms/${roomId}/invite`, { user_id: userId });
    await server.join(name, roomId);
    if (target === 'banned') await server.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: userId });
    return userId;
  };
  const membershipOf = async (roomId: string, userId: string): Promise<string | undefined> =>
    (await server.ask('alice', 'GET', `/rooms/${roomId}/state/m.room.member/${userId}`)).body.membership;
  const verdict = ({ status, body }: Answer): string => (status === 200 ? 'done' : body.errcode);

  /** What a WebSocket answers to one request of somebody. */
  const framed = async (name: string, method: string, params: object): Promise<string> => {
    const { token } = await server.session(name);
    try {
      const client = await StreamClient.open(`${server.url.replace(/^http/, 'ws')}${WEBSOCKET_PATH}`, { token });
      const { error } = await client.request(method, params);
      await client.end();
      return error === undefined ? 'done' : error.errcode;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return error.body.errcode;
    }
  };

  /** The ways to make a change: the operation that is made for it, and those that take any state; over HTTP, later, and by frames. */
  const ways = ({ ask, membership, operation }: Change, roomId: string, target: string) => {
    const state = `/rooms/${roomId}/state/m.room.member/${target}`;
    return {
      async operation(name: string): Promise<string> {
        return verdict(await server.ask(name, ...ask(roomId, target)));
      },
      async state(name: string): Promise<string> {
        return verdict(await server.ask(name, 'PUT', state, { membership }));
      },
      frame: (name: string): Promise<string> =>
        framed(name, 'state', {
          room_id: roomId,
          event_type: 'm.room.member',
          state_key: target,
          content: { membership },
        }),
      async method(name: string): Promise<string | undefined> {
        const method = METHOD_OF.get(operation);
        if (method === undefined) return undefined;
        const room = method === 'join' ? { room_id_or_alias: roomId } : { room_id: roomId };
        return framed(name, method, method === 'invite' ? { ...room, user_id: target } : room);
      },
      async delayed(name: string): Promise<string> {
        const scheduled = await server.ask(name, 'PUT', `${state}?${DELAY}=1000`, { membership });
        if (scheduled.status !== 200) return verdict(scheduled);
        await server.clock.advance(1_000);
        const path = `/unstable/org.matrix.msc4140/delayed_events/${scheduled.body.delay_id}`;
        const over = await until('it is over', async () => {
          // The schedule pauses between two looks.
          await server.clock.advance(50);
          const seen = await server.must(name, 'GET', path);
          return seen.finalised_ts === undefined ? undefined : seen;
        });
        return (over as Json).error?.errcode ?? 'done';
      },
    };
  };

  it('is asked of every endpoint that can make one', () => {
    const found = makers(({ auth }) => auth !== 'admin' && auth !== 'server').map(({ operationId }) => operationId);
    const known = [
      ...CHANGES.map(({ operation }) => operation),
      ...GENERAL,
      ...CONSEQUENCES,
      ...OF_NOBODY,
      ...OF_THE_SCHEDULE,
      ...OF_PROFILES,
    ];
    expect(found.filter((operation) => !known.includes(operation))).to.deep.equal([]);
    const served = new Set(ENDPOINTS.map(({ operationId }) => operationId));
    expect([...CHANGES.map(({ operation }) => operation), ...GENERAL].filter((one) => !served.has(one))).to.deep.equal(
      [],
    );
  });

  for (const kind of KINDS)
    it(`${kind}: a change of the profile changes the member event where it is allowed, and nothing where it is refused`, async () => {
      const roomId = await roomFor(kind);
      const { userId } = await server.session(names[kind]);
      const idOf = async (): Promise<string | undefined> =>
        (await server.must('alice', 'GET', `/rooms/${roomId}/members`)).chunk.find(
          (one: Json) => one.state_key === userId,
        )?.event_id;
      for (const [operationId, method, body] of [
        ['setProfileField', 'PUT', { displayname: `name ${kind}` }],
        ['deleteProfileField', 'DELETE', {}],
      ] as const) {
        const endpoint = ENDPOINTS.find((one) => one.operationId === operationId);
        const rule = kind === 'guest' ? endpoint?.guests : kind === 'suspended' ? endpoint?.suspended : 'allowed';
        const isRefused = kind === 'locked' || rule === undefined || !isAllowed(rule);
        const before = await idOf();
        await setAccount(kind, true);
        const outcome = verdict(await server.ask(names[kind], method, `/profile/${userId}/displayname`, body));
        await server.idle();
        await setAccount(kind, false);
        expect(outcome, operationId).to.equal(isRefused ? REFUSED[kind] : 'done');
        const isSame = (await idOf()) === before;
        expect(isSame, operationId).to.equal(isRefused || kind === 'stranger');
      }
    });

  it('nobody makes any by what is for administrators, or for other servers, whoever they are', async () => {
    const others = makers(({ auth }) => auth === 'admin' || auth === 'server');
    expect(others.map(({ operationId }) => operationId)).to.include.members([
      'adminJoinRoom',
      'adminMakeRoomAdmin',
      'adminDeleteRoom',
      'adminDeactivateUser',
      'sendJoinV2',
      'sendInviteV2',
      'sendKnock',
      'sendLeaveV2',
      'sendTransaction',
    ]);
    for (const kind of KINDS) {
      const roomId = await roomFor(kind);
      const { userId } = await server.session(names[kind]);
      const members = await server.must('alice', 'GET', `/rooms/${roomId}/members`);
      await setAccount(kind, true);
      for (const { auth, method, operationId, path } of others) {
        const target = path.replaceAll(/\{(\w+)\}/g, (_, name: string) =>
          encodeURIComponent(/room/i.test(name) ? roomId : /user/i.test(name) ? userId : 'x'),
        );
        const { status, body } = await server.ask(names[kind], method, target, { user_id: userId, membership: 'join' });
        const expected = auth === 'server' ? 401 : kind === 'locked' ? 401 : 403;
        expect([operationId, kind, status], JSON.stringify(body)).to.deep.equal([operationId, kind, expected]);
      }
      await setAccount(kind, false);
      const after = await server.must('alice', 'GET', `/rooms/${roomId}/members`);
      expect(after.chunk.map(({ event_id: id }: Json) => id)).to.deep.equal(
        members.chunk.map(({ event_id: id }: Json) => id),
      );
    }
  });

  for (const kind of KINDS)
    for (const change of CHANGES) {
      const { operation, membership } = change;
      it(`${kind}: what ${operation} refuses, state, delayed events and WebSockets refuse too, and what it does, they do`, async () => {
        const endpoint = ENDPOINTS.find(({ operationId }) => operationId === operation)!;
        const rule = kind === 'guest' ? endpoint.guests : kind === 'suspended' ? endpoint.suspended : 'allowed';
        const isRefused = kind === 'locked' || !isAllowed(rule!);
        const outcomes: Record<string, string> = {};
        for (const way of ['operation', 'state', 'delayed', 'frame', 'method'] as const) {
          if (way === 'method' && !METHOD_OF.has(operation)) continue;
          const roomId = await roomFor(kind);
          const userId = await targetOf(change, kind, roomId);
          const before = await membershipOf(roomId, userId);
          await setAccount(kind, true);
          outcomes[way] = (await ways(change, roomId, userId)[way](names[kind])) ?? '';
          await setAccount(kind, false);
          const after = await membershipOf(roomId, userId);
          if (outcomes[way] === 'done') expect(after, way).to.equal(membership);
          else expect([way, after]).to.deep.equal([way, before]);
        }
        const alike = (outcome: string | undefined): Record<string, string | undefined> =>
          Object.fromEntries(Object.keys(outcomes).map((way) => [way, outcome]));
        if (isRefused) expect(outcomes).to.deep.equal(alike(REFUSED[kind]));
        else if (kind === 'suspended') {
          // By state they say nothing at all: leaving has an operation of its own.
          expect(outcomes['operation']).to.equal('done');
          expect(outcomes['state']).to.equal('M_USER_SUSPENDED');
          expect(outcomes['frame']).to.equal('M_USER_SUSPENDED');
          expect(outcomes['method'] ?? 'done').to.equal('done');
        } else if (kind === 'stranger') {
          expect(Object.values(outcomes), JSON.stringify(outcomes)).not.to.include('done');
        } else {
          // Who is in the room already has nothing to knock at.
          const expected = membership === 'knock' ? 'M_FORBIDDEN' : 'done';
          expect(outcomes).to.deep.equal(alike(expected));
        }
      });
    }

  it('nobody but whoever may invite makes invitations with a new room', async () => {
    const invite = {
      initial_state: [{ type: 'm.room.member', state_key: '@new:test', content: { membership: 'invite' } }],
    };
    for (const kind of KINDS) {
      await setAccount(kind, true);
      const outcome = verdict(await server.ask(names[kind], 'POST', '/createRoom', invite));
      await setAccount(kind, false);
      expect([kind, outcome]).to.deep.equal([kind, REFUSED[kind] ?? 'done']);
    }
  });
});
