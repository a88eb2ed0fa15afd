import { setTimeout as sleep } from 'node:timers/promises';
import { requestText } from '../load/http.ts';
import type { Person } from '../load/people.ts';
import {
  accountData,
  attack,
  type Attack,
  bearer,
  type Battlefield,
  head,
  part,
  STRANGERS,
  USERS,
  V3,
} from './battlefield.ts';

const REFRESH = `${V3}/refresh`;
const SLIDING = '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync';
const UPLOAD = '/_matrix/media/v3/upload';
/** As many pieces of 900 kB as a user may keep. */
const LARGE_PIECES = 9;
/** Bytes in flight from which on it is sure that what an attack is about lies in memory. */
const MUCH = 5_000_000;

/** Notes whether the server holds what is on its way, as its metric tells. */
const noteBytesInFlight = async (field: Battlefield): Promise<void> => {
  const { host, port } = field.endpoint;
  await sleep(1_000);
  const text = await (await fetch(`http://${host}:${port}/metrics`)).text();
  const held = [...text.matchAll(/^tsudoi_bytes_in_flight(?:\{[^}]*\})? (\S+)/gm)];
  if (held.reduce((sum, [, bytes]) => sum + Number(bytes), 0) > MUCH) field.note('in flight');
};

/** Attacks on bytes in flight. */
export const bytesInFlight: readonly Attack[] = [
  attack(
    'F03',
    'users ask for large answers and read none',
    { expects: ['sync 200', 'messages 200'] },
    async ({ crowd, users, room }) => {
      const data = { x: 'x'.repeat(900_000) };
      await Promise.all(
        users.flatMap((user) =>
          Array.from({ length: LARGE_PIECES }, (_, piece) =>
            crowd.json('PUT', accountData(user, `bench.large${piece}`), user.token, data),
          ),
        ),
      );
      // More than fits into the largest page.
      for (let index = 0; index < 40; index += 1)
        await crowd.message(users[0]!, room, 'x'.repeat(60_000), `large${index}`);
      const asked = [
        ['sync', `${V3}/sync?full_state=true`],
        ['messages', `${V3}/rooms/${part(room)}/messages?dir=b&limit=1000`],
      ] as const;
      return (field) =>
        field.swarm(
          USERS,
          async (attacker, round) => {
            const [kind, path] = asked[round % 2]!;
            field.openUnread(attacker, head('GET', path, bearer(users[attacker]!)), kind);
            await sleep(50);
          },
          4,
        );
    },
  ),
  attack(
    'F04',
    'strangers send bodies in chunks of one byte',
    { expects: ['connected', 'closed'] },
    () => (field) =>
      field.swarm(STRANGERS, (stranger) =>
        field.pour(
          stranger,
          head('POST', REFRESH, 'Transfer-Encoding: chunked\r\n'),
          Buffer.from('1\r\nx\r\n'.repeat(10_000)),
        ),
      ),
  ),
  attack(
    'F25',
    'users send bodies that stop one byte before their end',
    { expects: ['connected', 'in flight'] },
    ({ users }) =>
      (field) =>
        Promise.all([
          noteBytesInFlight(field),
          field.swarm(
            USERS,
            async (attacker) => {
              const user = users[attacker]!;
              const path = accountData(user, 'bench.held');
              field.open(
                attacker,
                `${head('PUT', path, `${bearer(user)}Content-Length: 1000001\r\n`)}${'x'.repeat(1_000_000)}`,
              );
              await sleep(50);
            },
            4,
          ),
        ]),
  ),
  attack(
    'F31',
    'strangers open connections and say nothing',
    { expects: ['connected'] },
    () => (field) =>
      field.swarm(STRANGERS, async (stranger) => {
        field.open(stranger);
        await sleep(20);
      }),
  ),
  attack(
    'bytes.uploads',
    'users upload files that trickle in, on as many connections as they like',
    { expects: ['connected'] },
    ({ users }) =>
      (field) =>
        field.swarm(
          USERS,
          async (attacker) => {
            const headers = `${bearer(users[attacker]!)}Content-Type: image/png\r\nContent-Length: 50000000\r\n`;
            const socket = field.open(attacker, head('POST', UPLOAD, headers));
            for (let count = 0; count < 20 && !field.isOver && !socket.destroyed; count += 1) {
              socket.write('x'.repeat(100));
              await sleep(100);
            }
          },
          20,
        ),
  ),
  attack(
    'bytes.frames',
    'users send frames that are all structure on many WebSockets',
    { expects: ['M_INVALID_PARAM'], most: { result: 0 } },
    () => {
      const params = { presence: 'online', status_msg: 'x'.repeat(3_000), x: Array.from({ length: 9_000 }, () => []) };
      return (field) =>
        field.swarm(USERS, (attacker) => field.frames(attacker, (id) => ({ id, method: 'presence', params })), 16);
    },
  ),
  attack(
    'bytes.downloads',
    'users download a large file again and again, and read nothing of it',
    { expects: ['200'] },
    async ({ crowd, users }) => {
      const user = users[0]!;
      // More than lies in the buffers of a socket.
      const { content_uri: uri } = await crowd.json<{ content_uri: string }>('POST', UPLOAD, user.token, {
        x: 'x'.repeat(20_000_000),
      });
      const path = `/_matrix/client/v1/media/download/${uri.slice('mxc://'.length)}`;
      return (field) =>
        field.swarm(
          USERS,
          async (attacker) => {
            field.openUnread(attacker, head('GET', path, bearer(users[attacker]!)));
            await sleep(20);
          },
          4,
        );
    },
  ),
  attack(
    'bytes.events',
    'users ask the event stream of old clients for everything since the beginning',
    { expects: ['200'] },
    async (scene) => {
      const { crowd, users } = scene;
      const user = users[0]!;
      const { end } = await crowd.json<{ end: string }>('GET', `${V3}/events?timeout=0`, user.token);
      for (let room = 0; room < 12; room += 1) {
        const roomId = await crowd.createRoom(user, { preset: 'public_chat' });
        for (const other of users.slice(1)) await crowd.join(other, roomId);
        for (let index = 0; index < 60; index += 1)
          await crowd.message(user, roomId, 'x'.repeat(60_000), `events${room}.${index}`);
      }
      return (field) => field.everyone(() => ['GET', `${V3}/events?timeout=0&from=${end}`], 4);
    },
  ),
];

/** Rules of push with as many conditions as a rule may have. */
const RULES = 40;

/** Attacks that block the event loop. */
export const turnsOfTheLoop: readonly Attack[] = [
  attack(
    'F01',
    'users have push rules that are slow to match, and say what they match',
    { expects: ['200'] },
    async ({ crowd, room, users }) => {
      for (const user of users)
        for (let rule = 0; rule < 8; rule += 1)
          await crowd.json('PUT', `${V3}/pushrules/global/content/slow${rule}`, user.token, {
            actions: ['notify'],
            pattern: `${'?'.repeat(250)}\u0001`,
          });
      const text = 'a'.repeat(60_000);
      return (field) =>
        field.everyone((_, round) => [
          'PUT',
          `${V3}/rooms/${part(room)}/send/m.room.message/rule${round}`,
          { msgtype: 'm.text', body: text },
        ]);
    },
  ),
  attack('F05', 'users sync with filters of many fields', { expects: ['200'] }, async ({ crowd, users, room }) => {
    for (let index = 0; index < 150; index += 1)
      await crowd.message(users[0]!, room, 'x'.repeat(500), `fields${index}`);
    // As many as are taken.
    const filter = {
      room: { timeline: { limit: 150 } },
      event_fields: Array.from({ length: 500 }, (_, i) => `content.f${i}`),
    };
    const stored = new Map<string, string>();
    for (const { token, userId } of users) {
      const path = `${V3}/user/${part(userId)}/filter`;
      stored.set(userId, (await crowd.json<{ filter_id: string }>('POST', path, token, filter)).filter_id);
    }
    return (field) =>
      field.everyone(({ userId }) => ['GET', `${V3}/sync?full_state=true&filter=${stored.get(userId)}`]);
  }),
  attack(
    'F06',
    'users and strangers send JSON that is all structure',
    { expects: ['users 200', 'strangers 400'] },
    () => {
      // As many values as a body may hold, and as many as fit into one of somebody without an account.
      const structure = (count: number): object => ({ x: Array.from({ length: count }, () => []) });
      const [large, small] = [structure(45_000), structure(5_000)];
      return (field) =>
        Promise.all([
          field.everyone((user) => ['PUT', accountData(user, 'bench.structure'), large, 'users'], 3),
          field.strangers(() => ['POST', REFRESH, small, 'strangers']),
        ]);
    },
  ),
  attack('F10', 'users search for what is rare', { expects: ['200'] }, async ({ crowd, users, room }) => {
    const text = 'lorem ipsum '.repeat(5_000);
    await Promise.all(Array.from({ length: 300 }, (_, index) => crowd.message(users[0]!, room, text, `rare${index}`)));
    return (field) =>
      field.everyone(() => ['POST', `${V3}/search`, { search_categories: { room_events: { search_term: '☃' } } }]);
  }),
  attack(
    'F24',
    'users ask for the context of events from after they left a room with a large state, and of none',
    { expects: ['second 200', 'none 404'], most: { 'state of later': 0 } },
    async ({ crowd, victim, users }) => {
      const room = await crowd.createRoom(victim, {
        preset: 'private_chat',
        initial_state: [
          { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'invited' } },
        ],
      });
      const state = (type: string, key: string): string => `${V3}/rooms/${part(room)}/state/${type}/${part(key)}`;
      const leave = `${V3}/rooms/${part(room)}/leave`;
      const invite = (userId: string): Promise<{ event_id: string }> =>
        crowd.json('PUT', state('m.room.member', userId), victim.token, { membership: 'invite' });
      for (const user of users) {
        await invite(user.userId);
        await crowd.join(user, room);
        await crowd.json('POST', leave, user.token, {});
      }
      const large = { x: 'x'.repeat(2_000) };
      await Promise.all(
        Array.from({ length: 300 }, (_, index) =>
          crowd.json('PUT', state('bench.later', String(index)), victim.token, large),
        ),
      );
      const second = new Map<Person, string>();
      for (const user of users) {
        second.set(user, (await invite(user.userId)).event_id);
        await crowd.json('POST', leave, user.token, {});
      }
      const context = (event: string): string => `${V3}/rooms/${part(room)}/context/${part(event)}?limit=0`;
      return (field) =>
        field.swarm(
          USERS,
          async (attacker, round) => {
            const user = users[attacker]!;
            if (round % 2 === 0) {
              await field.ask(attacker, requestText('GET', context(`$none${round}`), user.token), 'none');
              return;
            }
            const answer = await field.ask(
              attacker,
              requestText('GET', context(second.get(user)!), user.token),
              'second',
            );
            if (answer?.body.includes('bench.later') === true) field.note('state of later');
          },
          4,
        );
    },
  ),
  attack(
    'F26',
    'users ask for all members of a large room, and for its state',
    { expects: ['members 200', 'state 200'] },
    ({ largeRoom }) =>
      (field) =>
        field.everyone((_, round) => {
          const what = round % 2 === 0 ? 'members' : 'state';
          return ['GET', `${V3}/rooms/${part(largeRoom)}/${what}`, undefined, what];
        }, 4),
  ),
  attack(
    'F27',
    'users switch rules of push on and off that have a great many conditions',
    { expects: ['200'] },
    async ({ crowd, users }) => {
      const conditions = Array.from({ length: 100 }, (_, index) => ({
        kind: 'event_match',
        key: `content.k${index}`,
        pattern: 'x',
      }));
      for (const user of users)
        for (let rule = 0; rule < RULES; rule += 1)
          await crowd.json('PUT', `${V3}/pushrules/global/override/long${rule}`, user.token, {
            actions: ['notify'],
            conditions,
          });
      return (field) =>
        field.everyone((_, round) => [
          'PUT',
          `${V3}/pushrules/global/override/long${round % RULES}/enabled`,
          { enabled: round % 2 === 0 },
        ]);
    },
  ),
  attack(
    'turn.reactions',
    'users react to an event to which they have reacted hundreds of times',
    { expects: ['200'] },
    async (scene) => {
      const { crowd, users, room } = scene;
      const path = `${V3}/rooms/${part(room)}/send`;
      const message = { msgtype: 'm.text', body: 'x' };
      const { event_id } = await crowd.json<{ event_id: string }>(
        'PUT',
        `${path}/m.room.message/reacted`,
        users[0]!.token,
        message,
      );
      // Keys are as long as they may be, and the rest of the event is too.
      const reaction = (key: string): object => ({
        filling: 'x'.repeat(50_000),
        'm.relates_to': { rel_type: 'm.annotation', event_id, key: key.padEnd(1_024, 'x') },
      });
      await Promise.all(
        users.map(async ({ token }) => {
          for (let index = 0; index < 100; index += 1)
            await crowd.json('PUT', `${path}/m.reaction/before${index}`, token, reaction(`before${index}`));
        }),
      );
      return (field) =>
        field.everyone((_, round) => ['PUT', `${path}/m.reaction/r${round}`, reaction(`round${round}`)], 8);
    },
  ),
  attack('turn.sliding', 'users hold many sliding connections with many lists', { expects: ['200'] }, () => {
    const list = { ranges: [[0, 99]], timeline_limit: 50, required_state: [['*', '*']] };
    const lists = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`l${index}`, list]));
    return (field) =>
      field.everyone((_, round) => ['POST', `${SLIDING}?timeout=0`, { conn_id: `c${round}`, lists }], 4);
  }),
  attack(
    'turn.sliding-state',
    'users want now one and now another state of all their rooms, in many lists',
    { expects: ['200'] },
    async (scene) => {
      const { crowd, users } = scene;
      for (const user of users) for (let room = 0; room < 20; room += 1) await crowd.createRoom(user);
      const names = Array.from({ length: 1_000 }, (_, index) => `none${index}`);
      const extension = { enabled: true, lists: names, rooms: names };
      /** Lists that differ in their last pair of names, and the last of them with the form. */
      const bodyOf = (form: number): object => ({
        lists: Object.fromEntries(
          Array.from({ length: 100 }, (_, list) => [
            `l${list}`,
            {
              ranges: [[0, 99]],
              timeline_limit: 1,
              required_state: Array.from({ length: 50 }, (__, key) => [
                'x',
                key < 49 ? `${key}` : `z ${list < 99 ? list : `form ${form}`}`,
              ]),
            },
          ]),
        ),
        extensions: { account_data: extension, receipts: extension, typing: extension },
      });
      const positions = new Map<number, string>();
      return (field) =>
        field.swarm(USERS, async (attacker, round) => {
          const pos = positions.get(attacker);
          const path = `${SLIDING}?timeout=0${pos === undefined ? '' : `&pos=${part(pos)}`}`;
          const answer = await field.ask(attacker, requestText('POST', path, users[attacker]!.token, bodyOf(round)));
          if (answer?.status === 200)
            positions.set(attacker, (JSON.parse(answer.body.toString()) as { pos: string }).pos);
        });
    },
  ),
  attack('turn.keys', 'users ask for the keys of thousands who do not exist', { expects: ['200'] }, () => {
    const nobody = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`@nobody${index}:localhost`, []]));
    return (field) => field.everyone(() => ['POST', `${V3}/keys/query`, { device_keys: nobody }], 2);
  }),
];
