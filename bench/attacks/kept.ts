import { requestText } from '../load/http.ts';
import { PASSWORD, type Person } from '../load/people.ts';
import {
  accountData,
  type Asked,
  attack,
  type Attack,
  bearer,
  head,
  part,
  type Scene,
  USERS,
  V3,
} from './battlefield.ts';

const LARGE = 'x'.repeat(900_000);
/** As much as may be said of a tag, but for its order. */
const LARGE_TAG = 'x'.repeat(16_000);
/** Nearly as much as an event may have. */
const LARGE_TEXT = 'x'.repeat(60_000);

/** Attacks on stored data. */
export const kept: readonly Attack[] = [
  attack(
    'F02',
    'users put ever new pieces of account data',
    { expects: ['200'] },
    () => (field) => field.everyone((user, round) => ['PUT', accountData(user, `bench.t${round}`), { x: LARGE }]),
  ),
  attack(
    'F02.filters',
    'users store ever new filters',
    { expects: ['200', '413'] },
    () => (field) =>
      field.everyone((user, round) => [
        'POST',
        `${V3}/user/${part(user.userId)}/filter`,
        { room: { rooms: Array.from({ length: 1_000 }, (_, index) => `!r${round}-${index}:localhost`) } },
      ]),
  ),
  attack(
    'F07',
    'users tag a room with large tags',
    { expects: ['200'] },
    ({ room }) =>
      (field) =>
        field.everyone((user, round) => [
          'PUT',
          `${V3}/user/${part(user.userId)}/rooms/${part(room)}/tags/u.t${round}`,
          { order: 0.5, x: LARGE_TAG },
        ]),
  ),
  attack(
    'F11',
    'users set presence of a hundred kilobytes on WebSockets',
    { expects: ['M_INVALID_PARAM'], most: { result: 0 } },
    () => (field) =>
      field.swarm(USERS, (attacker) =>
        field.frames(attacker, (id) => ({
          id,
          method: 'presence',
          params: { presence: 'online', status_msg: `${id}${'x'.repeat(100_000)}` },
        })),
      ),
  ),
  attack(
    'F12',
    'users ignore ever new thousands who do not exist, and ask for what they are left out of',
    { expects: ['ignore 200', 'notifications 200', 'threads 200', 'mutual 200'], most: { 'new names': 0 } },
    ({ room, rowsOf }) =>
      async (field) => {
        const before = await rowsOf('users');
        await field.everyone((user, round) => {
          const nobody = (index: number): string => `@nobody${round}x${index}:localhost`;
          if (round % 4 === 0) {
            const ignored = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [nobody(index), {}]));
            return ['PUT', accountData(user, 'm.ignored_user_list'), { ignored_users: ignored }, 'ignore'];
          }
          const asked: readonly Asked[] = [
            ['GET', `${V3}/notifications`, undefined, 'notifications'],
            ['GET', `/_matrix/client/v1/rooms/${part(room)}/threads`, undefined, 'threads'],
            ['GET', `/_matrix/client/v1/mutual_rooms?user_id=${part(nobody(0))}`, undefined, 'mutual'],
          ];
          return asked[round % asked.length]!;
        }, 2);
        if ((await rowsOf('users')) > before) field.note('new names');
      },
  ),
  attack(
    'F21',
    'users leave a receipt in a thread of its own for each event',
    { expects: ['200'] },
    async ({ crowd, users, room }) => {
      const events: string[] = [];
      for (let index = 0; index < 200; index += 1) {
        const path = `${V3}/rooms/${part(room)}/send/m.room.message/receipt${index}`;
        const body = { msgtype: 'm.text', body: 'x' };
        const { event_id: root } = await crowd.json<{ event_id: string }>('PUT', path, users[0]!.token, body);
        // There is a thread only where something is in it.
        const reply = { ...body, 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
        await crowd.json('PUT', `${path}reply`, users[0]!.token, reply);
        events.push(root);
      }
      return (field) =>
        field.everyone((_, round) => {
          const event = events[round % events.length]!;
          return ['POST', `${V3}/rooms/${part(room)}/receipt/m.read/${part(event)}`, { thread_id: event }];
        }, 2);
    },
  ),
  attack(
    'kept.backups',
    'users begin ever new versions of their key backup, and fill them',
    { expects: ['version 200', 'keys 200'] },
    () => {
      const auth_data = { public_key: 'x'.repeat(10_000) };
      const newest = new Map<number, string>();
      return (field) =>
        field.swarm(
          USERS,
          async (attacker, round) => {
            const { token } = field.users[attacker]!;
            const version = newest.get(attacker);
            if (version !== undefined && round % 4 !== 0) {
              const path = `${V3}/room_keys/keys?version=${version}`;
              await field.ask(attacker, requestText('PUT', path, token, { rooms: backup(round) }), 'keys');
              return;
            }
            const body = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data };
            const answer = await field.ask(
              attacker,
              requestText('POST', `${V3}/room_keys/version`, token, body),
              'version',
            );
            if (answer?.status === 200)
              newest.set(attacker, (JSON.parse(answer.body.toString()) as { readonly version: string }).version);
          },
          2,
        );
    },
  ),
  attack(
    'kept.backups.read',
    'users read large key backups whole, many times at once',
    { expects: ['200'] },
    async ({ crowd, users }) => {
      const body = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: { public_key: 'x' } };
      const path = (version: string): string => `${V3}/room_keys/keys?version=${version}`;
      const versions = new Map<Person, string>();
      await Promise.all(
        users.map(async (user) => {
          const made = await crowd.json<{ version: string }>('POST', `${V3}/room_keys/version`, user.token, body);
          versions.set(user, made.version);
          for (let round = 0; round < 40; round += 1)
            await crowd.json('PUT', path(made.version), user.token, { rooms: backup(round, 1_000) });
        }),
      );
      return (field) =>
        field.swarm(
          users.length,
          (attacker) => {
            const user = users[attacker]!;
            const request = head('GET', path(versions.get(user)!), `${bearer(user)}Connection: close\r\n`);
            // A whole backup may take longer than the attack: its status tells that it is being read.
            return new Promise<void>((resolve) => void field.open(attacker, request).once('close', () => resolve()));
          },
          20,
        );
    },
  ),
  attack(
    'kept.inboxes',
    "users send the largest messages to all of somebody's many devices, who fetch none",
    { expects: ['200'] },
    async ({ crowd, victim }) => {
      const login = {
        type: 'm.login.password',
        identifier: { type: 'm.id.user', user: victim.userId },
        password: PASSWORD,
      };
      for (let index = 0; index < 100; index += 1) await crowd.json('POST', `${V3}/login`, undefined, login);
      const messages = { [victim.userId]: { '*': { x: LARGE_TEXT } } };
      return (field) => field.everyone((_, round) => ['PUT', `${V3}/sendToDevice/m.bench/i${round}`, { messages }], 20);
    },
  ),
  attack(
    'kept.oneTimeKeys',
    'users upload one-time keys without end',
    { expects: ['200'] },
    () => (field) =>
      field.everyone((_, round) => [
        'POST',
        `${V3}/keys/upload`,
        {
          one_time_keys: Object.fromEntries(
            Array.from({ length: 100 }, (_unused, index) => [
              `signed_curve25519:K${round}x${index}`,
              { key: 'x'.repeat(500) },
            ]),
          ),
        },
      ]),
  ),
];

const backup = (round: number, count = 500): object => ({
  [`!b${round}:localhost`]: {
    sessions: Object.fromEntries(
      Array.from({ length: count }, (_, index) => [
        `s${round}x${index}`,
        {
          first_message_index: 0,
          forwarded_count: 0,
          is_verified: true,
          session_data: { ciphertext: 'x'.repeat(500) },
        },
      ]),
    ),
  },
});

/**
 * Threads in a room of which nobody sees what came while they were away. The users see each root and its first reply, and are away for as
 * many more as are wanted.
 */
const threadsWhileAway = async (
  { crowd, users, victim }: Scene,
  threads: number,
  replies: number,
  body = LARGE_TEXT,
): Promise<readonly { readonly room: string; readonly eventId: string }[]> => {
  const room = await crowd.createRoom(victim, {
    initial_state: [{ type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } }],
  });
  await crowd.joinAll(users, room);
  let sent = 0;
  const say = async (text: string, root?: string): Promise<string> => {
    const path = `${V3}/rooms/${part(room)}/send/m.room.message/t${(sent += 1)}`;
    const relation = root === undefined ? {} : { 'm.relates_to': { rel_type: 'm.thread', event_id: root } };
    const content = { msgtype: 'm.text', body: text, ...relation };
    return (await crowd.json<{ event_id: string }>('PUT', path, victim.token, content)).event_id;
  };
  const roots: string[] = [];
  for (let index = 0; index < threads; index += 1) {
    const root = await say('root');
    await say('first', root);
    roots.push(root);
  }
  const leave = `${V3}/rooms/${part(room)}/leave`;
  await Promise.all(users.map(({ token }) => crowd.json('POST', leave, token, {})));
  for (const root of roots) for (let index = 0; index < replies; index += 1) await say(body, root);
  await crowd.joinAll(users, room);
  return roots.map((eventId) => ({ room, eventId }));
};

/** Attacks with expensive pages. */
export const pages: readonly Attack[] = [
  attack(
    'F19',
    'users request /threads of a room whose threads they may not see',
    { expects: ['200'] },
    async ({ crowd, users, victim }) => {
      const room = await crowd.createRoom(victim, {
        initial_state: [
          { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } },
        ],
      });
      for (let index = 0; index < 300; index += 1) {
        const path = (kind: string): string => `${V3}/rooms/${part(room)}/send/m.room.message/${kind}${index}`;
        const root = await crowd.json<{ event_id: string }>('PUT', path('root'), victim.token, {
          msgtype: 'm.text',
          body: 'x',
        });
        const relation = { rel_type: 'm.thread', event_id: root.event_id };
        await crowd.json('PUT', path('in'), victim.token, { msgtype: 'm.text', body: 'x', 'm.relates_to': relation });
      }
      await crowd.joinAll(users, room);
      return (field) => field.everyone(() => ['GET', `/_matrix/client/v1/rooms/${part(room)}/threads?limit=1`], 4);
    },
  ),
  attack(
    'pages.bundles',
    'users read the root of a thread that grew while they were away',
    { expects: ['200'] },
    async (scene) => {
      const [root] = await threadsWhileAway(scene, 1, 200);
      return (field) =>
        field.everyone(() => ['GET', `${V3}/rooms/${part(root!.room)}/event/${part(root!.eventId)}`], 4);
    },
  ),
  attack(
    'pages.threadsAway',
    'users list threads that grew while they were away',
    { expects: ['200'] },
    async (scene) => {
      const [root] = await threadsWhileAway(scene, 40, 5);
      return (field) =>
        field.everyone(() => ['GET', `/_matrix/client/v1/rooms/${part(root!.room)}/threads?limit=100`], 4);
    },
  ),
  attack(
    'pages.relations',
    'users page through a thread of which they see nearly nothing',
    { expects: ['200'] },
    async (scene) => {
      const [root] = await threadsWhileAway(scene, 1, 400, 'x');
      const path = `/_matrix/client/v1/rooms/${part(root!.room)}/relations/${part(root!.eventId)}?limit=1`;
      return (field) => field.everyone(() => ['GET', path], 4);
    },
  ),
  attack(
    'F20',
    'users ask about a room that over a thousand unknown rooms let in, and join it',
    { expects: ['summary 404', 'hierarchy 403', 'join 403'] },
    async ({ crowd, victim }) => {
      const allow = Array.from({ length: 1_000 }, (_, index) => ({
        type: 'm.room_membership',
        room_id: `!unknown${index}:localhost`,
      }));
      const room = await crowd.createRoom(victim, {
        initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'restricted', allow } }],
      });
      const asked: readonly Asked[] = [
        ['GET', `/_matrix/client/v1/room_summary/${part(room)}`, undefined, 'summary'],
        ['GET', `/_matrix/client/v1/rooms/${part(room)}/hierarchy`, undefined, 'hierarchy'],
        ['POST', `${V3}/join/${part(room)}`, {}, 'join'],
      ];
      return (field) => field.everyone((_, round) => asked[round % asked.length]!, 4);
    },
  ),
  attack('F20.search', 'users search in all rooms but thousands that do not exist', { expects: ['200'] }, () => {
    // As many as a filter may name.
    const not_rooms = Array.from({ length: 1_000 }, (_, index) => `!unknown${index}:localhost`);
    return (field) =>
      field.everyone(() => [
        'POST',
        `${V3}/search`,
        { search_categories: { room_events: { search_term: 'anything', filter: { not_rooms } } } },
      ]);
  }),
  attack(
    'pages.filtered',
    'users read a history of which their filter lets nothing through',
    { expects: ['200'] },
    ({ largeRoom }) => {
      const filter = part(JSON.stringify({ types: ['none.of.them'] }));
      return (field) =>
        field.everyone(() => ['GET', `${V3}/rooms/${part(largeRoom)}/messages?dir=b&limit=1000&filter=${filter}`], 4);
    },
  ),
  attack(
    'pages.spaces',
    'users walk through spaces that lie in each other',
    { expects: ['200'] },
    async ({ crowd, users }) => {
      const spaces: string[] = [];
      for (let index = 0; index < 30; index += 1)
        spaces.push(await crowd.createRoom(users[0]!, { creation_content: { type: 'm.space' } }));
      for (const parent of spaces)
        for (const child of spaces)
          await crowd.json('PUT', `${V3}/rooms/${part(parent)}/state/m.space.child/${part(child)}`, users[0]!.token, {
            via: ['localhost'],
          });
      return (field) =>
        field.everyone(
          () => ['GET', `/_matrix/client/v1/rooms/${part(spaces[0]!)}/hierarchy?limit=1000&max_depth=100`],
          2,
        );
    },
  ),
];
