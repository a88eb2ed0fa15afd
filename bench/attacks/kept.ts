import { accountData, attack, type Attack, part, USERS, V3 } from './battlefield.ts';

const LARGE = 'x'.repeat(900_000);

/** What users make the server keep. */
export const kept: readonly Attack[] = [
  attack(
    'F02',
    'users put ever new pieces of account data',
    () => (field) => field.everyone((user, round) => ['PUT', accountData(user, `bench.t${round}`), { x: LARGE }]),
  ),
  attack(
    'F02.filters',
    'users store ever new filters',
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
    ({ room }) =>
      (field) =>
        field.everyone((user, round) => [
          'PUT',
          `${V3}/user/${part(user.userId)}/rooms/${part(room)}/tags/u.t${round}`,
          { order: 0.5, x: LARGE },
        ]),
  ),
  attack(
    'F11',
    'users set presence of a hundred kilobytes on WebSockets',
    () => (field) =>
      field.swarm(USERS, (attacker) =>
        field.frames(attacker, (id) => ({
          id,
          method: 'presence',
          params: { presence: 'online', status_msg: `${id}${'x'.repeat(100_000)}` },
        })),
      ),
  ),
  attack('F12', 'users ignore thousands who do not exist, and ask for notifications', async ({ crowd, users }) => {
    const ignored = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`@nobody${index}:localhost`, {}]));
    for (const user of users)
      await crowd.answer('PUT', accountData(user, 'm.ignored_user_list'), user.token, { ignored_users: ignored });
    return (field) => field.everyone(() => ['GET', `${V3}/notifications`], 2);
  }),
  attack('F21', 'users leave a receipt in a thread of its own for each event', async ({ crowd, users, room }) => {
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
  }),
  attack(
    'kept.backups',
    'users begin ever new versions of their key backup, and fill them',
    () => (field) =>
      field.everyone((_, round) =>
        round % 2 === 0
          ? [
              'POST',
              `${V3}/room_keys/version`,
              { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data: { public_key: 'x'.repeat(10_000) } },
            ]
          : ['PUT', `${V3}/room_keys/keys?version=1`, { rooms: backup(round) }],
      ),
  ),
  attack('kept.backups.read', 'users read large key backups whole, many times at once', async ({ crowd, users }) => {
    const algorithm = 'm.megolm_backup.v1.curve25519-aes-sha2';
    for (const user of users) {
      const body = { algorithm, auth_data: { public_key: 'x' } };
      const { version } = await crowd.json<{ version: string }>('POST', `${V3}/room_keys/version`, user.token, body);
      for (let round = 0; round < 40; round += 1) {
        const sessions = { rooms: backup(round, 1_000) };
        await crowd.json('PUT', `${V3}/room_keys/keys?version=${version}`, user.token, sessions);
      }
    }
    return (field) => field.everyone(() => ['GET', `${V3}/room_keys/keys?version=1`], 20);
  }),
  attack(
    'kept.oneTimeKeys',
    'users upload one-time keys without end',
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

/** What takes long to find. */
export const pages: readonly Attack[] = [
  attack('F19', 'users who may see none of them ask for threads', async ({ crowd, users, victim }) => {
    const room = await crowd.createRoom(victim, {
      initial_state: [{ type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } }],
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
  }),
  attack(
    'F20',
    'users ask about a room that over a thousand unknown rooms let in',
    async ({ crowd, users, victim }) => {
      const allow = Array.from({ length: 1_000 }, (_, index) => ({
        type: 'm.room_membership',
        room_id: `!unknown${index}:localhost`,
      }));
      const room = await crowd.createRoom(victim, {
        initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'restricted', allow } }],
      });
      void users;
      return (field) => field.everyone(() => ['GET', `/_matrix/client/v1/room_summary/${part(room)}`], 4);
    },
  ),
  attack('F20.search', 'users search in all rooms but thousands that do not exist', () => {
    const not_rooms = Array.from({ length: 10_000 }, (_, index) => `!unknown${index}:localhost`);
    return (field) =>
      field.everyone(() => [
        'POST',
        `${V3}/search`,
        { search_categories: { room_events: { search_term: 'anything', filter: { not_rooms } } } },
      ]);
  }),
  attack('pages.filtered', 'users read a history of which their filter lets nothing through', ({ room }) => {
    const filter = part(JSON.stringify({ types: ['none.of.them'] }));
    return (field) =>
      field.everyone(() => ['GET', `${V3}/rooms/${part(room)}/messages?dir=b&limit=1000&filter=${filter}`], 4);
  }),
  attack('pages.spaces', 'users walk through spaces that lie in each other', async ({ crowd, users }) => {
    const spaces: string[] = [];
    for (let index = 0; index < 30; index += 1)
      spaces.push(await crowd.createRoom(users[0]!, { creation_content: { type: 'm.space' } }));
    for (const parent of spaces)
      for (const child of spaces)
        await crowd.answer('PUT', `${V3}/rooms/${part(parent)}/state/m.space.child/${part(child)}`, users[0]!.token, {
          via: ['localhost'],
        });
    return (field) =>
      field.everyone(
        () => ['GET', `/_matrix/client/v1/rooms/${part(spaces[0]!)}/hierarchy?limit=1000&max_depth=100`],
        2,
      );
  }),
];
