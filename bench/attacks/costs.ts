import { requestText } from '../load/http.ts';
import { attack, type Attack, head, part, post, PROXY, STRANGERS, USERS, V3 } from './battlefield.ts';

const WHOAMI = `${V3}/account/whoami`;
const guessed = (text: string): string => `eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.${text}.${'A'.repeat(86)}`;

/** What is cheap to ask for, asked for often. */
export const costs: readonly Attack[] = [
  attack(
    'F08',
    'strangers pipeline requests for unknown paths',
    () => (field) =>
      field.swarm(STRANGERS, (stranger) =>
        field.pour(stranger, head('GET', '/nope'), Buffer.from(head('GET', '/nope').repeat(100))),
      ),
  ),
  attack(
    'F08.tokens',
    'strangers try access tokens',
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
    () => (field) =>
      field.swarm(USERS, (attacker) => field.frames(attacker, (id) => ({ id, method: 'nope', params: {} }))),
  ),
  attack('F13', 'users invite by state, and by making rooms', async ({ crowd, users }) => {
    const rooms = await Promise.all(users.map((user) => crowd.createRoom(user)));
    const invites = Array.from({ length: 400 }, (_, index) => ({
      type: 'm.room.member',
      state_key: `@invited${index}:localhost`,
      content: { membership: 'invite' },
    }));
    return (field) =>
      field.everyone((user, round) =>
        round % 4 === 0
          ? ['POST', `${V3}/createRoom`, { initial_state: invites }]
          : [
              'PUT',
              `${V3}/rooms/${part(rooms[users.indexOf(user)]!)}/state/m.room.member/${part(`@invited${round}:localhost`)}`,
              { membership: 'invite' },
            ],
      );
  }),
  attack(
    'F14',
    'users spell their token in a new way each time',
    ({ users }) =>
      (field) =>
        field.swarm(
          USERS,
          async (attacker, round) => {
            const token = `${users[attacker]!.token}${'='.repeat(1 + (round % 40))}${round.toString(36)}`;
            await field.ask(attacker, requestText('GET', WHOAMI, token));
          },
          4,
        ),
  ),
  attack('F22', 'guests invite and knock by state', async ({ crowd, room }) => {
    const { access_token: token } = await crowd.json<{ access_token: string }>(
      'POST',
      `${V3}/register?kind=guest`,
      undefined,
      {},
    );
    return (field) =>
      field.swarm(
        USERS,
        async (attacker, round) => {
          const path = `${V3}/rooms/${part(room)}/state/m.room.member/${part(`@x${round}:localhost`)}`;
          await field.ask(attacker, requestText('PUT', path, token, { membership: 'invite' }));
        },
        2,
      );
  }),
  attack(
    'F28',
    'strangers and users look for rooms by guessing their ids',
    () => (field) => field.everyone((_, round) => ['POST', `${V3}/join/${part(`!guess${round}:localhost`)}`, {}], 4),
  ),
  attack(
    'F30',
    'one network of IPv6 asks from a new address each time',
    () => (field) =>
      field.swarm(STRANGERS, async (stranger, round) => {
        const from = `X-Forwarded-For: 2001:db8::${(round % 65_536).toString(16)}:${stranger.toString(16)}\r\n`;
        const socket = field.open(stranger, head('GET', '/nope', from), PROXY);
        await new Promise<void>((resolve) => socket.once('data', () => resolve()).once('close', () => resolve()));
        socket.destroy();
      }),
  ),
  attack('F37', 'strangers read the metrics', () => (field) => field.strangers(() => ['GET', '/metrics'])),
  attack(
    'cost.preflights',
    'strangers send preflights',
    () => (field) => field.strangers(() => ['OPTIONS', WHOAMI], 4),
  ),
  attack('cost.devices', 'users send to all devices of many', ({ users }) => {
    const messages = Object.fromEntries(users.map(({ userId }) => [userId, { '*': { text: 'x'.repeat(2_000) } }]));
    return (field) =>
      field.everyone((_, round) => ['PUT', `${V3}/sendToDevice/m.bench/device${round}`, { messages }], 2);
  }),
];

/** What users and strangers log in with. */
export const logins: readonly Attack[] = [
  attack(
    'F09',
    'strangers guess the password of one account',
    ({ victim }) =>
      (field) =>
        field.strangers(() => ['POST', `${V3}/login`, password(victim.userId)]),
  ),
  attack('F16', 'users send the same completed authentication again', async ({ crowd }) => {
    const people = await crowd.people(USERS);
    return (field) =>
      field.swarm(
        USERS,
        async (attacker) => {
          const { userId, token } = people[attacker]!;
          const auth = { ...password(userId), password: 'a password for the bench' };
          const body = { new_password: 'a password for the bench', logout_devices: false, auth };
          await field.ask(attacker, requestText('POST', `${V3}/account/password`, token, body));
        },
        2,
      );
  }),
  attack(
    'F23',
    'strangers try links for the first administrator',
    () => (field) => field.strangers((_, round) => ['GET', `/_tsudoi/setup?token=${round}`]),
  ),
  attack(
    'F32',
    'seven hundred addresses log in',
    ({ victim }) =>
      (field) =>
        field.swarm(STRANGERS, async (stranger, round) => {
          const from = `X-Forwarded-For: 198.51.${round % 7}.${stranger}\r\n`;
          const socket = field.open(stranger, post(`${V3}/login`, password(victim.userId), from), PROXY);
          await new Promise<void>((resolve) => socket.once('data', () => resolve()).once('close', () => resolve()));
          socket.destroy();
        }),
  ),
  attack(
    'F33',
    'strangers log in to accounts that are no more, or never were',
    () => (field) => field.strangers((_, round) => ['POST', `${V3}/login`, password(`@gone${round}:localhost`)]),
  ),
  attack(
    'login.names',
    'strangers ask whether names are free',
    () => (field) => field.strangers((_, round) => ['GET', `${V3}/register/available?username=name${round}`]),
  ),
  attack(
    'login.sessions',
    'strangers begin to register, and do not go on',
    () => (field) =>
      field.strangers((_, round) => [
        'POST',
        `${V3}/register`,
        { username: `begun${round}`, password: 'a long enough one' },
      ]),
  ),
];

const password = (user: string): object => ({
  type: 'm.login.password',
  identifier: { type: 'm.id.user', user },
  password: 'a wrong guess',
});

/** What PostgreSQL cannot take, and what happens where it is away. */
export const textsAndOutages: readonly Attack[] = [
  attack(
    'F17',
    'users have NUL in their status, beside those of others',
    ({ users }) =>
      (field) =>
        field.everyone((user) => [
          'PUT',
          `${V3}/presence/${part(users.at(users.indexOf(user))!.userId)}/status`,
          { presence: 'online', status_msg: 'a\u0000b' },
        ]),
  ),
  attack(
    'F18',
    'users ask for people with names of thousands of characters',
    () => (field) =>
      field.everyone((_, round) => ['GET', `${V3}/presence/${part(`@${round}${'x'.repeat(3_000)}:localhost`)}/status`]),
  ),
  attack(
    'F29',
    'users say who they are, again and again',
    () => (field) =>
      field.everyone(
        (user, round) => [
          'PUT',
          `${V3}/presence/${part(user.userId)}/status`,
          { presence: 'online', status_msg: `status ${round} ${'x'.repeat(2_000)}` },
        ],
        4,
      ),
  ),
  attack(
    'text.devices',
    'users name their device what no table can hold',
    () => (field) =>
      field.everyone((_, round) => [
        'PUT',
        `${V3}/devices/none${round}`,
        { display_name: `\u0000${'x'.repeat(60_000)}` },
      ]),
  ),
  attack(
    'text.types',
    'users send events of new types without end',
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
    'strangers ask how the server is',
    () => (field) => field.strangers(() => ['GET', '/health'], 2),
  ),
  attack(
    'outage.ready',
    'strangers ask whether the server is ready, each on a new connection',
    () => (field) =>
      field.swarm(STRANGERS, async (stranger) => {
        const socket = field.open(stranger, head('GET', '/readyz', 'Connection: close\r\n'));
        socket.resume();
        await new Promise<void>((resolve) => socket.once('close', () => resolve()));
      }),
  ),
];
