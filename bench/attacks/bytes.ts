import { accountData, attack, type Attack, bearer, head, part, STRANGERS, USERS, V3 } from './battlefield.ts';

const REFRESH = `${V3}/refresh`;
const UPLOAD = '/_matrix/media/v3/upload';

/** What lies in memory on its way in or out. */
export const bytesInFlight: readonly Attack[] = [
  attack('F03', 'users ask for large answers and read none', async ({ crowd, users }) => {
    const data = { x: 'x'.repeat(900_000) };
    for (const user of users) await crowd.json('PUT', accountData(user, 'bench.large'), user.token, data);
    return (field) =>
      field.swarm(
        USERS,
        async (attacker) => {
          field.open(attacker, head('GET', `${V3}/sync?full_state=true`, bearer(users[attacker]!))).pause();
          await new Promise((resolve) => setTimeout(resolve, 50));
        },
        4,
      );
  }),
  attack(
    'F04',
    'strangers send bodies in chunks of one byte',
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
    ({ users }) =>
      (field) =>
        field.swarm(
          USERS,
          async (attacker) => {
            const user = users[attacker]!;
            const path = accountData(user, 'bench.held');
            const text = `${head('PUT', path, `${bearer(user)}Content-Length: 1000001\r\n`)}${'x'.repeat(1_000_000)}`;
            field.open(attacker, text).resume();
            await new Promise((resolve) => setTimeout(resolve, 50));
          },
          4,
        ),
  ),
  attack(
    'F31',
    'strangers open connections and say nothing',
    () => (field) =>
      field.swarm(STRANGERS, async (stranger) => {
        field.open(stranger);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }),
  ),
  attack(
    'bytes.uploads',
    'users upload files that trickle in, on as many connections as they like',
    ({ users }) =>
      (field) =>
        field.swarm(
          USERS,
          async (attacker) => {
            const headers = `${bearer(users[attacker]!)}Content-Type: image/png\r\nContent-Length: 50000000\r\n`;
            const socket = field.open(attacker, head('POST', UPLOAD, headers));
            socket.resume();
            for (let count = 0; count < 20 && !field.isOver && !socket.destroyed; count += 1) {
              socket.write('x'.repeat(100));
              await new Promise((resolve) => setTimeout(resolve, 100));
            }
          },
          20,
        ),
  ),
  attack(
    'bytes.downloads',
    'users download a large file again and again, and read nothing of it',
    async ({ crowd, users }) => {
      const user = users[0]!;
      const { content_uri: uri } = await crowd.json<{ content_uri: string }>('POST', UPLOAD, user.token, {
        x: 'x'.repeat(900_000),
      });
      const path = `/_matrix/client/v1/media/download/${uri.slice('mxc://'.length)}`;
      return (field) =>
        field.swarm(
          USERS,
          async (attacker) => {
            field.open(attacker, head('GET', path, bearer(users[attacker]!))).pause();
            await new Promise((resolve) => setTimeout(resolve, 20));
          },
          4,
        );
    },
  ),
];

/** What one turn of the event loop could be kept busy with. */
export const turnsOfTheLoop: readonly Attack[] = [
  attack(
    'F01',
    'users have push rules that are slow to match, and say what they match',
    async ({ crowd, room, users }) => {
      for (const user of users)
        for (let rule = 0; rule < 8; rule += 1)
          await crowd.answer('PUT', `${V3}/pushrules/global/content/slow${rule}`, user.token, {
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
  attack('F05', 'users sync with filters of a great many fields', async ({ crowd, users, room }) => {
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
    'users send JSON that is all structure',
    () => (field) =>
      field.everyone(
        (user) => ['PUT', accountData(user, 'bench.structure'), { x: Array.from({ length: 90_000 }, () => []) }],
        3,
      ),
  ),
  attack('F10', 'users search for what is rare', async ({ crowd, users, room }) => {
    for (let index = 0; index < 100; index += 1)
      await crowd.message(users[0]!, room, 'lorem ipsum '.repeat(4_000), `rare${index}`);
    return (field) =>
      field.everyone(() => ['POST', `${V3}/search`, { search_categories: { room_events: { search_term: '☃' } } }]);
  }),
  attack(
    'F24',
    'users ask for the context of events, and of none',
    ({ room }) =>
      (field) =>
        field.everyone((_, round) => ['GET', `${V3}/rooms/${part(room)}/context/${part(`$none${round}`)}?limit=0`], 4),
  ),
  attack(
    'F26',
    'users ask for all members of a large room, and for its state',
    ({ largeRoom }) =>
      (field) =>
        field.everyone(
          (_, round) => ['GET', `${V3}/rooms/${part(largeRoom)}/${round % 2 === 0 ? 'members' : 'state'}`],
          4,
        ),
  ),
  attack('F27', 'users switch rules of push on and off that have a great many conditions', async ({ crowd, users }) => {
    const conditions = Array.from({ length: 100 }, (_, index) => ({
      kind: 'event_match',
      key: `content.k${index}`,
      pattern: 'x',
    }));
    for (const user of users)
      for (let rule = 0; rule < 20; rule += 1)
        await crowd.answer('PUT', `${V3}/pushrules/global/override/long${rule}`, user.token, {
          actions: ['notify'],
          conditions,
        });
    return (field) =>
      field.everyone((_, round) => [
        'PUT',
        `${V3}/pushrules/global/override/long${round % 20}/enabled`,
        { enabled: round % 2 === 0 },
      ]);
  }),
  attack('turn.sliding', 'users hold many sliding connections with many lists', () => {
    const list = { ranges: [[0, 99]], timeline_limit: 50, required_state: [['*', '*']] };
    const lists = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`l${index}`, list]));
    return (field) =>
      field.everyone(
        (_, round) => [
          'POST',
          '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0',
          { conn_id: `c${round}`, lists },
        ],
        4,
      );
  }),
  attack('turn.keys', 'users ask for the keys of thousands who do not exist', () => {
    const nobody = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`@nobody${index}:localhost`, []]));
    return (field) => field.everyone(() => ['POST', `${V3}/keys/query`, { device_keys: nobody }], 2);
  }),
];
