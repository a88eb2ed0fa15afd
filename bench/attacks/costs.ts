import { randomBytes } from 'node:crypto';
import { decodeSyncToken, encodeSyncToken, ORIGIN } from '#src/protocol/wire/position.ts';
import { type Answer, requestText } from '../load/http.ts';
import type { Person } from '../load/people.ts';
import { type Asked, attack, type Attack, head, part, post, PROXY, STRANGERS, USERS, V3 } from './battlefield.ts';
import { guess } from './logins.ts';

const WHOAMI = `${V3}/account/whoami`;
const guessed = (text: string): string => `eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.${text}.${'A'.repeat(86)}`;

/** Whether there is a room is told to nobody who may not know, whatever they ask. */
const TOLD_APART = Object.fromEntries(
  ['join', 'knock', 'members', 'summary', 'hierarchy', 'account data', 'list'].map((kind) => [
    `told apart by ${kind}`,
    0,
  ]),
);

/** Cheap requests at a high rate. */
export const costs: readonly Attack[] = [
  attack(
    'F08',
    'strangers pipeline requests for unknown paths',
    { expects: ['404'] },
    () => (field) =>
      field.swarm(STRANGERS, (stranger) =>
        field.pour(stranger, head('GET', '/nope'), Buffer.from(head('GET', '/nope').repeat(100))),
      ),
  ),
  attack(
    'F08.tokens',
    'strangers try access tokens',
    { expects: ['401'] },
    () => (field) =>
      field.swarm(STRANGERS, async (stranger) => {
        const request = head('GET', WHOAMI, `Authorization: Bearer ${guessed('A'.repeat(100))}\r\n`);
        await new Promise<void>((resolve) => {
          const socket = field.open(stranger, request);
          socket.on('data', () => (field.isOver ? socket.destroy() : socket.write(request)));
          socket.on('close', () => resolve());
        });
      }),
  ),
  attack(
    'F08.frames',
    'users call methods that do not exist on WebSockets',
    { expects: ['M_UNRECOGNIZED'] },
    () => (field) =>
      field.swarm(USERS, (attacker) => field.frames(attacker, (id) => ({ id, method: 'nope', params: {} }))),
  ),
  attack(
    'F13',
    'users invite and join by state, by delayed events, by frames, and by making rooms',
    {
      expects: [
        'create 400',
        'invite 200',
        'invite 429',
        'delayed 200',
        'join 200',
        'join 429',
        'frame M_LIMIT_EXCEEDED',
      ],
      // What each of them may at once, and what comes back while it lasts.
      most: { 'create 200': 0, 'invite 200': USERS * 25, 'frame result': USERS * 25, 'join 200': USERS * 20 },
    },
    async ({ crowd, users, victim }) => {
      const rooms = await Promise.all(users.map((user) => crowd.createRoom(user)));
      const others = await Promise.all(Array.from({ length: 60 }, () => crowd.createRoom(victim)));
      const invites = Array.from({ length: 400 }, (_, index) => ({
        type: 'm.room.member',
        state_key: `@invited${index}:localhost`,
        content: { membership: 'invite' },
      }));
      const member = (room: string, user: string): string =>
        `${V3}/rooms/${part(room)}/state/m.room.member/${part(user)}`;
      const invited = (round: number): string => `@invited${round}:localhost`;
      return (field) =>
        Promise.all([
          field.everyone((user, round) => {
            const own = rooms[users.indexOf(user)]!;
            const invite = { membership: 'invite' };
            const asked: readonly Asked[] = [
              ['POST', `${V3}/createRoom`, { initial_state: invites }, 'create'],
              ['PUT', member(own, invited(round)), invite, 'invite'],
              ['PUT', `${member(own, invited(round))}?org.matrix.msc4140.delay=1`, invite, 'delayed'],
              ['PUT', member(others[round % others.length]!, user.userId), { membership: 'join' }, 'join'],
            ];
            return asked[round % asked.length]!;
          }),
          field.swarm(USERS, (attacker) =>
            field.frames(
              attacker,
              (id) => ({
                id,
                method: 'state',
                params: {
                  room_id: rooms[attacker]!,
                  event_type: 'm.room.member',
                  state_key: `@framed${id}:localhost`,
                  content: { membership: 'invite' },
                },
              }),
              'frame',
            ),
          ),
        ]);
    },
  ),
  attack(
    'F14',
    'users append different padding and suffixes to their token',
    { expects: ['401'], most: { '200': 0 } },
    ({ users }) =>
      (field) =>
        field.swarm(
          USERS,
          async (attacker, round) => {
            const spelled = ['='.repeat(1 + (round % 900)), '!'.repeat(1 + (round % 900)), '=!'.repeat(round % 450)];
            const { token } = users[attacker]!;
            // Signs that decoders pass over, at its end and within its signature.
            const at = token.length - (round % 80);
            const more = spelled[round % spelled.length]!;
            await field.ask(attacker, requestText('GET', WHOAMI, `${token.slice(0, at)}${more}${token.slice(at)}`));
          },
          4,
        ),
  ),
  attack(
    'F22',
    'guests invite and knock by the endpoints, by state and by delayed events',
    {
      // What is delayed is refused when its time has come.
      expects: ['invite 403', 'knock 403', 'state 403', 'knocking 403', 'delayed 200'],
      most: { 'invite 200': 0, 'knock 200': 0, 'state 200': 0, 'knocking 200': 0, invited: 0 },
    },
    async ({ crowd, victim }) => {
      const open = { type: 'm.room.guest_access', state_key: '', content: { guest_access: 'can_join' } };
      const room = await crowd.createRoom(victim, { initial_state: [open] });
      const knocks = { type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } };
      const closed = await crowd.createRoom(victim, { preset: 'private_chat', initial_state: [open, knocks] });
      const guests: Person[] = [];
      for (let index = 0; index < USERS; index += 1) {
        const made = await crowd.json<{ access_token: string; user_id: string }>(
          'POST',
          `${V3}/register?kind=guest`,
          undefined,
          {},
        );
        guests.push({ userId: made.user_id, token: made.access_token });
        await crowd.join(guests.at(-1)!, room);
      }
      const member = (of: string, user: string): string => `${V3}/rooms/${part(of)}/state/m.room.member/${part(user)}`;
      return async (field) => {
        await field.swarm(
          USERS,
          async (attacker, round) => {
            const { token, userId } = guests[attacker]!;
            const somebody = `@x${round}:localhost`;
            const invite = { membership: 'invite' };
            const asked: readonly Asked[] = [
              ['POST', `${V3}/rooms/${part(room)}/invite`, { user_id: somebody }, 'invite'],
              ['POST', `${V3}/knock/${part(closed)}`, {}, 'knock'],
              ['PUT', member(room, somebody), invite, 'state'],
              ['PUT', member(closed, userId), { membership: 'knock' }, 'knocking'],
              ['PUT', `${member(room, somebody)}?org.matrix.msc4140.delay=1`, invite, 'delayed'],
            ];
            const [method, path, body, kind] = asked[round % asked.length]!;
            await field.ask(attacker, requestText(method, path, token, body), kind);
          },
          2,
        );
        const invited = `${V3}/rooms/${part(room)}/members?membership=invite`;
        const { chunk } = await crowd.json<{ chunk: readonly object[] }>('GET', invited, victim.token);
        if (chunk.length > 0) field.note('invited');
      };
    },
  ),
  attack(
    'F28',
    'strangers and users look for rooms by guessing their ids',
    { expects: ['users 403', 'strangers 404'], most: TOLD_APART },
    async ({ crowd, victim }) => {
      const secret = await crowd.createRoom(victim, { preset: 'private_chat' });
      // Of the same form.
      const unknown = `!${randomBytes(32).toString('base64url')}`;
      const asked = (id: string): readonly Asked[] => [
        ['POST', `${V3}/join/${id}`, {}, 'join'],
        ['POST', `${V3}/knock/${id}`, {}, 'knock'],
        ['GET', `${V3}/rooms/${id}/members`, undefined, 'members'],
        ['GET', `/_matrix/client/v1/room_summary/${id}`, undefined, 'summary'],
        ['GET', `/_matrix/client/v1/rooms/${id}/hierarchy`, undefined, 'hierarchy'],
      ];
      const list = (id: string): string => `${V3}/directory/list/room/${id}`;
      return async (field) => {
        const { token, userId } = field.users[0]!;
        const own = (id: string): string => `${V3}/user/${part(userId)}/rooms/${id}/account_data/x.y`;
        const questions = (id: string): readonly Asked[] => [
          ...asked(id),
          ['PUT', own(id), {}, 'account data'],
          ['GET', list(id), undefined, 'list'],
        ];
        const ofUnknown = questions(part(unknown));
        // It may say again which room was asked about.
        const told = (answer: Answer | undefined, id: string): string =>
          `${answer?.status} ${answer?.body.toString().replaceAll(id, '')}`;
        for (const [index, [method, path, body, kind]] of questions(part(secret)).entries()) {
          const by = kind === 'list' ? undefined : token;
          const there = await field.ask(0, requestText(method, path, by, body), 'looked');
          const nowhere = await field.ask(0, requestText(method, ofUnknown[index]![1], by, body), 'looked');
          if (told(there, secret) !== told(nowhere, unknown)) field.note(`told apart by ${kind}`);
        }
        await Promise.all([
          field.everyone((_, round) => {
            const [method, path, body] = asked(part(`!guess${round}:localhost`))[round % 2]!;
            return [method, path, body, 'users'];
          }, 4),
          field.strangers((_, round) => ['GET', list(part(`!guess${round}:localhost`)), undefined, 'strangers']),
        ]);
      };
    },
  ),
  attack(
    'F30',
    'one network of IPv6 logs in from a new address each time',
    // What it may at once, and what comes back while it lasts.
    { expects: ['403', '429'], most: { '403': 40 } },
    () => (field) =>
      field.swarm(STRANGERS, (stranger, round) => {
        const from = `X-Forwarded-For: 2001:db8::${(round % 65_536).toString(16)}:${stranger.toString(16)}\r\n`;
        return field.askOnce(stranger, post(`${V3}/login`, guess(`@name${round}:localhost`), from), PROXY);
      }),
  ),
  attack(
    'F37',
    'strangers read the metrics, some of them through a proxy that nobody told the server of',
    { expects: ['near 200', 'far 403'], most: { 'far 200': 0 } },
    () => (field) =>
      field.swarm(STRANGERS, (stranger, round) => {
        const isFar = round % 2 === 0;
        const from = isFar ? 'X-Forwarded-For: 203.0.113.1\r\n' : '';
        return field.ask(stranger, head('GET', '/metrics', from), isFar ? 'far' : 'near');
      }),
  ),
  attack(
    'cost.preflights',
    'strangers send preflights',
    { expects: ['204'] },
    () => (field) => field.strangers(() => ['OPTIONS', WHOAMI], 4),
  ),
  attack('cost.devices', 'users send to all devices of many', { expects: ['200'] }, ({ users }) => {
    const messages = Object.fromEntries(users.map(({ userId }) => [userId, { '*': { text: 'x'.repeat(2_000) } }]));
    return (field) =>
      field.everyone((_, round) => ['PUT', `${V3}/sendToDevice/m.bench/device${round}`, { messages }], 2);
  }),
];

/** Attacks with values that PostgreSQL cannot store, and on error handling. */
export const textsAndOutages: readonly Attack[] = [
  attack(
    'F17',
    'users have NUL in their status, beside those of others',
    { expects: ['400', 'M_INVALID_PARAM'], most: { '200': 0, result: 0 }, suffers: 'presence' },
    () => {
      const presence = { presence: 'online', status_msg: 'a\u0000b' };
      return (field) =>
        Promise.all([
          field.everyone(({ userId }) => ['PUT', `${V3}/presence/${part(userId)}/status`, presence]),
          field.swarm(USERS, (attacker) =>
            field.frames(attacker, (id) => ({ id, method: 'presence', params: presence })),
          ),
        ]);
    },
  ),
  attack(
    'F18',
    'users ask for people with names of thousands of characters',
    { expects: ['403'] },
    () => (field) =>
      field.everyone(() => {
        // What can be compressed fits into an index.
        const name = randomBytes(2_000).toString('hex');
        return ['GET', `${V3}/presence/${part(`@${name}:localhost`)}/status`];
      }),
  ),
  attack(
    'F29',
    'users say who they are, again and again, and suspended ones say something at all',
    {
      expects: ['own 200', 'suspended 403', 'M_USER_SUSPENDED'],
      most: { 'suspended 200': 0, result: 0 },
    },
    async ({ crowd, users, administrator }) => {
      const { token } = await administrator();
      const half = USERS / 2;
      for (const { userId } of users.slice(0, half))
        await crowd.json('PUT', `/_synapse/admin/v1/suspend/${part(userId)}`, token, { suspend: true });
      const status = (round: number): object => ({
        presence: 'online',
        status_msg: `status ${round} ${'x'.repeat(2_000)}`,
      });
      return (field) =>
        Promise.all([
          field.everyone((user, round) => {
            const kind = users.indexOf(user) < half ? 'suspended' : 'own';
            return ['PUT', `${V3}/presence/${part(user.userId)}/status`, status(round), kind];
          }, 4),
          field.swarm(half, (attacker) =>
            field.frames(attacker, (id) => ({ id, method: 'presence', params: status(id) })),
          ),
        ]);
    },
  ),
  attack(
    'text.devices',
    'users name their devices what no table can hold',
    { expects: ['NUL 400', 'long 400'] },
    async ({ crowd, users }) => {
      const devices = new Map<Person, string>();
      for (const user of users)
        devices.set(user, (await crowd.json<{ device_id: string }>('GET', WHOAMI, user.token)).device_id);
      return (field) =>
        field.everyone((user, round) => {
          const isLong = round % 2 === 0;
          const name = { display_name: isLong ? 'x'.repeat(15_000) : `a\u0000${round}` };
          return ['PUT', `${V3}/devices/${devices.get(user)}`, name, isLong ? 'long' : 'NUL'];
        });
    },
  ),
  attack(
    'text.types',
    'users send events of new types without end',
    { expects: ['200'] },
    ({ room }) =>
      (field) =>
        field.everyone((_, round) => [
          'PUT',
          `${V3}/rooms/${part(room)}/send/${'t'.repeat(200)}${round}/new${round}`,
          {},
        ]),
  ),
  attack(
    'outage.health',
    'unauthenticated clients request /health',
    { expects: ['200'] },
    () => (field) => field.strangers(() => ['GET', '/health'], 2),
  ),
  attack(
    'outage.ready',
    'strangers ask whether the server is ready, each on a new connection',
    { expects: ['200'] },
    () => (field) =>
      field.swarm(STRANGERS, (stranger) => field.askOnce(stranger, head('GET', '/readyz', 'Connection: close\r\n'))),
  ),
  attack(
    'cost.changes',
    'users ask whose devices and profiles changed since the server began',
    { expects: ['200'] },
    async ({ crowd, users }) => {
      for (const [index, { token, userId }] of users.entries())
        for (let field = 0; field < 90; field += 1)
          await crowd.json('PUT', `${V3}/profile/${part(userId)}/bench.f${field}`, token, {
            [`bench.f${field}`]: index,
          });
      const { next_batch: now } = await crowd.json<{ next_batch: string }>(
        'GET',
        `${V3}/sync?timeout=0`,
        users[0]!.token,
      );
      const filter = part(JSON.stringify({ 'org.matrix.msc4429.profile_fields': { ids: ['bench.f1'] } }));
      const first = encodeSyncToken({ ...decodeSyncToken(now)!, vector: ORIGIN });
      return (field) =>
        field.everyone(
          (_, round) =>
            round % 2 === 0
              ? ['GET', `${V3}/keys/changes?from=${first}&to=${now}`]
              : ['GET', `${V3}/sync?timeout=0&since=${first}&filter=${filter}`],
          8,
        );
    },
  ),
];
