import { randomBytes } from 'node:crypto';
import { requestText } from '../load/http.ts';
import { LOUD_SERVERS, PARTNER_NAME, SILENT_SERVERS } from '../load/partner-server.ts';
import { attack, type Attack, head, part, STRANGERS, USERS, V3 } from './battlefield.ts';

const SEND = '/_matrix/federation/v1/send';
/** Concurrent transactions of one server. */
const WIDTH = 10;
/** How long users wait for other servers: less than an attack takes. */
const WAIT_MS = 2_000;
const unknownEvent = (): string => `$${randomBytes(32).toString('base64url')}`;

/** As many values as fit into the largest answer to a question for keys. */
const LARGE_ANSWER = Buffer.from(`{"a":[${'[],'.repeat(80_000)}"${'x'.repeat(3_500_000)}"]}`);

/** A transaction that is as large as one may be, and holds as many values. */
const LARGE_TRANSACTION = `{"origin":"${PARTNER_NAME}","pdus":[],"edus":[],"a":[${'[],'.repeat(60_000)}"${'x'.repeat(7_900_000)}"]}`;

/** Attacks by other servers, and by requests to other servers that users cause. */
export const federation: readonly Attack[] = [
  attack(
    'federation.names',
    'strangers send transactions in the names of ever new servers',
    { expects: ['401'] },
    ({ partner }) => {
      return (field) =>
        field.swarm(STRANGERS, (stranger, round) => {
          const origin = round % 2 === 0 ? `made-up${round}.invalid` : SILENT_SERVERS[round % SILENT_SERVERS.length]!;
          const content = { origin, origin_server_ts: Date.now(), pdus: [] };
          return field.ask(stranger, partner.signed('PUT', `${SEND}/names${round}`, content, origin));
        });
    },
  ),
  attack(
    'federation.edus',
    'a server sends all that it may of typing, receipts, presence, devices and messages',
    { expects: ['200'] },
    async ({ partner, crowd, victim, users }) => {
      const room = await partner.join(await crowd.createRoom(victim));
      const rooms = {
        [room.roomId]: { 'm.read': { [partner.user]: { data: { ts: 1 }, event_ids: [unknownEvent()] } } },
      };
      const edusOf = (round: number): object[] =>
        Array.from({ length: 20 }, (_, index) => {
          const nobody = `@nobody${round}x${index}:${PARTNER_NAME}`;
          return [
            {
              edu_type: 'm.typing',
              content: {
                room_id: room.roomId,
                user_id: index % 2 === 0 ? partner.user : nobody,
                typing: index % 4 < 2,
              },
            },
            { edu_type: 'm.receipt', content: rooms },
            {
              edu_type: 'm.presence',
              content: {
                push: [{ user_id: nobody, presence: 'online', status_msg: 'x'.repeat(2_000), last_active_ago: 1 }],
              },
            },
            {
              edu_type: 'm.device_list_update',
              content: { user_id: nobody, device_id: `D${index}`, stream_id: round + index, prev_id: [round] },
            },
            {
              edu_type: 'm.direct_to_device',
              content: {
                sender: partner.user,
                type: 'm.bench',
                message_id: `${round}x${index}`,
                messages: {
                  [users[index % users.length]!.userId]: { '*': { text: 'x'.repeat(2_000) } },
                  '@nobody:localhost': { '*': {} },
                },
              },
            },
          ];
        }).flat();
      return (field) =>
        field.swarm(
          1,
          (_, round) => {
            const content = { origin: PARTNER_NAME, origin_server_ts: Date.now(), pdus: [], edus: edusOf(round) };
            return field.ask(0, partner.signed('PUT', `${SEND}/edus${round}`, content as never));
          },
          WIDTH,
        );
    },
  ),
  attack(
    'federation.receipts',
    'a server sends receipts in rooms and of events that nobody knows, as many as a transaction holds, and events with long names',
    { expects: ['200'] },
    ({ partner }) => {
      const receipts = (): object =>
        Object.fromEntries(
          Array.from({ length: 50 }, () => [
            `!${randomBytes(16).toString('base64url')}:${PARTNER_NAME}`,
            { 'm.read': { [partner.user]: { data: { ts: 1 }, event_ids: [unknownEvent()] } } },
          ]),
        );
      const long = 'x'.repeat(60_000);
      return (field) =>
        field.swarm(
          1,
          (_, round) => {
            const edus = Array.from({ length: 100 }, () => ({ edu_type: 'm.receipt', content: receipts() }));
            const pdus = Array.from({ length: 50 }, (_unused, index) => ({ event_id: `$${round}x${index}${long}` }));
            const content = { origin: PARTNER_NAME, origin_server_ts: Date.now(), pdus, edus };
            return field.ask(0, partner.signed('PUT', `${SEND}/receipts${round}`, content as never));
          },
          WIDTH,
        );
    },
  ),
  attack(
    'federation.typing',
    'a server says of many of its users that they type, again and again, in a room of users who sync',
    { expects: ['200'] },
    async ({ partner, crowd, users, victim }) => {
      const roomId = await crowd.createRoom(victim);
      await crowd.joinAll(users, roomId);
      const typists = Array.from({ length: 100 }, (_, index) => `@typist${index}:${PARTNER_NAME}`);
      for (const typist of typists) await partner.join(roomId, typist);
      const edusOf = (round: number): object[] =>
        typists.map((typist, index) => ({
          edu_type: 'm.typing',
          content: { room_id: roomId, user_id: typist, typing: (round + index) % 2 === 0 },
        }));
      return (field) =>
        Promise.all([
          field.swarm(
            1,
            (_, round) => {
              const content = { origin: PARTNER_NAME, origin_server_ts: Date.now(), pdus: [], edus: edusOf(round) };
              return field.ask(0, partner.signed('PUT', `${SEND}/typing${round}`, content as never));
            },
            WIDTH,
          ),
          field.everyone(() => ['GET', `${V3}/sync?timeout=0`]),
        ]);
    },
  ),
  attack(
    'federation.events',
    'a server sends events with unknown prev_events, and sends endless responses',
    { expects: ['200'] },
    async ({ partner, crowd, victim }) => {
      const room = await partner.join(await crowd.createRoom(victim));
      return async (field) => {
        partner.isHarmful = true;
        await field.swarm(
          1,
          (_, round) => {
            const pdus = Array.from({ length: 20 }, (_unused, index) =>
              partner.sayAfter(room, `${round} ${index}`, Array.from({ length: 20 }, unknownEvent)),
            );
            const content = { origin: PARTNER_NAME, origin_server_ts: Date.now(), pdus };
            return field.ask(0, partner.signed('PUT', `${SEND}/events${round}`, content as never));
          },
          WIDTH,
        );
        partner.isHarmful = false;
      };
    },
  ),
  attack(
    'federation.slow',
    'users cause requests to servers that never respond, or send endless responses',
    { expects: ['502'] },
    ({ partner }) => {
      return async (field) => {
        partner.isHarmful = true;
        await field.swarm(
          USERS,
          (attacker, round) => {
            const { token } = field.users[attacker]!;
            const server = round % 2 === 0 ? PARTNER_NAME : SILENT_SERVERS[round % SILENT_SERVERS.length]!;
            const user = `@u${round}:${server}`;
            const asked: readonly (readonly [string, string, object?])[] = [
              ['GET', `${V3}/profile/${part(user)}`],
              [
                'POST',
                `${V3}/keys/query`,
                {
                  device_keys: Object.fromEntries(
                    SILENT_SERVERS.slice(0, 40).map((name) => [`@u${round}:${name}`, []]),
                  ),
                },
              ],
              ['GET', `${V3}/directory/room/${part(`#r${round}:${server}`)}`],
              ['POST', `${V3}/join/${part(`!r${round}:${server}`)}?server_name=${server}`, {}],
              ['GET', `${V3}/publicRooms?server=${server}`],
              ['GET', `/_matrix/client/v1/media/download/${server}/m${round}?timeout_ms=20000`],
              ['GET', `/_matrix/client/v1/room_summary/${part(`!r${round}:${server}`)}?via=${server}`],
            ];
            const [method, path, body] = asked[round % asked.length]!;
            return field.ask(attacker, requestText(method, path, token, body));
          },
          20,
        );
        partner.isHarmful = false;
      };
    },
  ),
  attack(
    'federation.answers',
    'users ask for keys of two hundred servers that answer as much as they may',
    { expects: ['200'] },
    ({ partner }) => {
      return async (field) => {
        const before = partner.answer;
        partner.answer = (method, url, response) => {
          if (!url.pathname.startsWith('/_matrix/federation/v1/user/keys/')) return before(method, url, response);
          response.end(LARGE_ANSWER);
          return true;
        };
        const ofAll = (round: number): readonly (readonly [string, object])[] =>
          LOUD_SERVERS.flatMap((name) => [1, 2, 3, 4].map((user) => [`@u${round}x${user}:${name}`, {}] as const));
        await field.everyone((_, round) => {
          const users = ofAll(round);
          if (round % 3 === 0)
            return [
              'POST',
              `${V3}/keys/claim`,
              {
                timeout: WAIT_MS,
                one_time_keys: Object.fromEntries(users.map(([user]) => [user, { D: 'signed_curve25519' }])),
              },
            ];
          const device_keys = Object.fromEntries(users.map(([user]) => [user, []]));
          return ['POST', `${V3}/keys/query`, { timeout: WAIT_MS, device_keys }];
        }, 8);
        partner.answer = before;
      };
    },
  ),
  attack(
    'federation.unproved',
    'strangers send large transactions in the name of a server, with signatures that are none',
    { expects: ['401'] },
    ({ partner }) => {
      const [, key = ''] = /,key="([^"]+)"/.exec(partner.signed('GET', SEND)) ?? [];
      const authorization = `X-Matrix origin="${PARTNER_NAME}",destination="localhost",key="${key}",sig="${'A'.repeat(86)}"`;
      return (field) =>
        field.swarm(STRANGERS, (stranger, round) =>
          field.ask(
            stranger,
            `${head('PUT', `${SEND}/unproved${round}`, `Authorization: ${authorization}\r\nContent-Length: ${LARGE_TRANSACTION.length}\r\n`)}${LARGE_TRANSACTION}`,
          ),
        );
    },
  ),
];
