import { createServer, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { PARTNER_NAME } from '../load/partner-server.ts';
import { attack, type Attack, part, STRANGERS, USERS, V3 } from './battlefield.ts';
import { requestText } from '../load/http.ts';

const DELAYED = '/_matrix/client/unstable/org.matrix.msc4140/delayed_events';
/** `registration.shared_secret`: allows creating administrators. */
export const ADMINISTRATORS_SECRET = 'a secret of the bench';
const SERVICE_TOKEN = 'the-service-of-the-bench';
const PAGE = 'x'.repeat(60_000);

/**
 * Hostile services of the operator: an application service, a moderation tool and a push gateway. In turn they
 * never respond, or send endless responses.
 */
export class HostileServices {
  readonly #server: Server;
  #asked = 0;

  constructor() {
    this.#server = createServer((request, response) => {
      request.resume();
      response.on('error', () => undefined);
      // What is asked before anything is attacked.
      if (request.url?.includes('/ping') === true) response.end('{}');
      else if ((this.#asked += 1) % 2 === 0) {
        response.writeHead(200, { 'Content-Type': 'application/json' });
        response.write('{"a":"');
        const pour = (): void => {
          while (!response.destroyed && response.write(PAGE));
        };
        response.on('drain', pour);
        pour();
      }
    });
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The registration of its application service. */
  get registration(): string {
    return JSON.stringify({
      id: 'bench',
      url: this.url,
      as_token: SERVICE_TOKEN,
      hs_token: 'the-server-of-the-bench',
      sender_localpart: 'benchbot',
      rate_limited: true,
      protocols: ['bench'],
      namespaces: {
        users: [{ exclusive: true, regex: '@_bench_.*' }],
        aliases: [{ exclusive: true, regex: '#_bench_.*' }],
        rooms: [],
      },
    });
  }

  /** What a server has to be configured with to have it as a neighbour. @param registration the file with its registration */
  environment(registration: string): Readonly<Record<string, string>> {
    return {
      TSUDOI_APPSERVICES__FILES: registration,
      TSUDOI_POLICY__CALLBACKS__BASE_URL: `${this.url}/spam_check`,
      TSUDOI_POLICY__CALLBACKS__SECRET: 'secret',
      TSUDOI_POLICY__CALLBACKS__ENABLED: 'user_may_create_room_alias,user_may_publish_room,check_username_for_spam',
    };
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

/** Attacks through application services, moderation tools, push gateways and administrators. */
export const outside = (neighbour: HostileServices): readonly Attack[] => [
  attack(
    'appservices.events',
    'users write in a room of a service that takes no transaction',
    { expects: ['200'] },
    async (scene) => {
      const { crowd, room } = scene;
      const bot = { userId: '@benchbot:localhost', token: SERVICE_TOKEN };
      await crowd.json('POST', `${V3}/join/${part(room)}`, bot.token, {});
      return (field) =>
        field.everyone(
          (_, round) => [
            'PUT',
            `${V3}/rooms/${part(room)}/send/m.room.message/as${round}`,
            { msgtype: 'm.text', body: 'x'.repeat(20_000) },
          ],
          2,
        );
    },
  ),
  attack(
    'appservices.asked',
    'users ask for aliases, users and networks of a service that says nothing, or does not come to an end',
    { expects: ['200', '408'] },
    () => (field) =>
      field.everyone((_, round) => {
        if (round % 4 === 0) return ['GET', `${V3}/directory/room/${part(`#_bench_${round}:localhost`)}`];
        if (round % 4 === 1) return ['GET', `${V3}/profile/${part(`@_bench_${round}:localhost`)}`];
        if (round % 4 === 2) return ['GET', `${V3}/thirdparty/location/bench?channel=c${round}`];
        return ['GET', `${V3}/thirdparty/protocols`];
      }, 8),
  ),
  attack(
    'appservices.tokens',
    'strangers ask in the name of services, and for users of theirs',
    { expects: ['401'] },
    () => (field) =>
      field.swarm(STRANGERS, (stranger, round) => {
        const user = part(`@_bench_${round}:localhost`);
        const path = round % 2 === 0 ? `${V3}/account/whoami?user_id=${user}` : `${V3}/sync?user_id=${user}`;
        return field.ask(stranger, requestText('GET', path, `${SERVICE_TOKEN}${round}`));
      }),
  ),
  attack(
    'policy.asked',
    'users make aliases and look for people, about whom a tool is asked that says nothing',
    { expects: ['200', '403'] },
    ({ room }) =>
      (field) =>
        field.everyone((_, round) => {
          if (round % 2 === 0)
            return ['PUT', `${V3}/directory/room/${part(`#p${round}:localhost`)}`, { room_id: room }];
          return ['POST', `${V3}/user_directory/search`, { search_term: 'bench', limit: 50 }];
        }, 8),
  ),
  attack(
    'push.answers',
    'users have pushers at a gateway that says nothing, or does not come to an end, and write to each other',
    { expects: ['200'] },
    async ({ crowd, room, users }) => {
      for (const [index, user] of users.entries())
        for (let pusher = 0; pusher < 20; pusher += 1)
          await crowd.json('POST', `${V3}/pushers/set`, user.token, {
            kind: 'http',
            app_id: 'bench',
            pushkey: `answers${index}x${pusher}`,
            app_display_name: 'x',
            device_display_name: 'x',
            lang: 'en',
            data: { url: `${neighbour.url}/_matrix/push/v1/notify` },
            append: true,
          });
      return (field) =>
        field.everyone((_, round) => [
          'PUT',
          `${V3}/rooms/${part(room)}/send/m.room.message/pa${round}`,
          { msgtype: 'm.text', body: '@room', 'm.mentions': { room: true } },
        ]);
    },
  ),
  attack(
    'admin.reports',
    'users report events, rooms and each other, with long reasons',
    { expects: ['200'] },
    async ({ crowd, room, users }) => {
      const path = `${V3}/rooms/${part(room)}/send/m.room.message/reported`;
      const body = { msgtype: 'm.text', body: 'x' };
      const { event_id: event } = await crowd.json<{ event_id: string }>('PUT', path, users[0]!.token, body);
      const reason = 'x'.repeat(60_000);
      return (field) =>
        field.everyone((user, round) => {
          if (round % 3 === 0)
            return ['POST', `${V3}/rooms/${part(room)}/report/${part(event)}`, { score: -100, reason }];
          if (round % 3 === 1) return ['POST', `${V3}/rooms/${part(room)}/report`, { reason }];
          return ['POST', `${V3}/users/${part(user.userId)}/report`, { reason }];
        }, 2);
    },
  ),
  attack(
    'admin.routes',
    'users and strangers begin tasks of administrators, exports and updates among them',
    { expects: ['403'] },
    ({ victim, room }) =>
      (field) =>
        field.everyone((_, round) => {
          const user = part(victim.userId);
          const asked: readonly (readonly [string, string, object?])[] = [
            ['POST', '/_synapse/admin/v1/background_updates/start_job', { job_name: 'populate_user_directory' }],
            ['DELETE', `/_synapse/admin/v2/rooms/${part(room)}`, { purge: true }],
            ['POST', `/_synapse/admin/v1/deactivate/${user}`, { erase: true }],
            ['GET', '/_synapse/admin/v2/users?limit=1000'],
            ['POST', `/_synapse/admin/v1/purge_history/${part(room)}`, { purge_up_to_ts: Date.now() }],
            ['GET', `/_tsudoi/admin/v1/errors?n=${round}`],
          ];
          return asked[round % asked.length]!;
        }, 4),
  ),
  attack(
    'admin.updates',
    'users change what is in tables that an administrator has written anew again and again',
    { expects: ['200'] },
    async ({ crowd, users }) => {
      const { token } = await crowd.registerAdministrator(ADMINISTRATORS_SECRET);
      const name = 'x'.repeat(50_000);
      const rooms: string[] = [];
      for (const user of users) {
        for (let index = 0; index < 20; index += 1)
          rooms.push(await crowd.createRoom(user, { name: 'y'.repeat(5_000) }));
        await crowd.joinAll(users, rooms.at(-1)!);
      }
      const updates = '/_synapse/admin/v1/background_updates';
      return (field) =>
        Promise.all([
          field.swarm(1, async (_, round) => {
            const job_name = round % 2 === 0 ? 'regenerate_directory' : 'populate_stats_process_rooms';
            await field.ask(USERS, requestText('POST', `${updates}/start_job`, token, { job_name }));
            await field.ask(USERS, requestText('GET', `${updates}/status`, token));
          }),
          field.everyone((user, round) => {
            const own = part(rooms[users.indexOf(user) * 20 + (round % 20)]!);
            const asked: readonly (readonly [string, string, object])[] = [
              ['PUT', `${V3}/profile/${part(user.userId)}/displayname`, { displayname: `${round}${name}` }],
              ['PUT', `${V3}/rooms/${own}/state/m.room.join_rules`, { join_rule: round % 8 < 4 ? 'invite' : 'public' }],
              ['PUT', `${V3}/rooms/${own}/state/m.room.name`, { name: `${round}${'y'.repeat(5_000)}` }],
              ['POST', `${V3}/user_directory/search`, { search_term: 'x'.repeat(100), limit: 50 }],
            ];
            return asked[round % asked.length]!;
          }, 4),
        ]);
    },
  ),
  attack(
    'delayed.schedule',
    'users schedule, restart and list delayed events without end',
    { expects: ['200'] },
    ({ room }) => {
      const ids: string[] = [];
      return (field) =>
        field.swarm(
          USERS,
          async (attacker, round) => {
            const { token } = field.users[attacker]!;
            const path = `${V3}/rooms/${part(room)}/send/m.room.message/delayed${round}`;
            const id = ids[round % Math.max(ids.length, 1)];
            if (round % 3 === 0 || id === undefined) {
              const body = { msgtype: 'm.text', body: 'x'.repeat(50_000) };
              const answer = await field.ask(
                attacker,
                requestText('PUT', `${path}?org.matrix.msc4140.delay=${round % 2 === 0 ? 1 : 60_000}`, token, body),
              );
              const made = answer?.status === 200 ? (JSON.parse(answer.body.toString()) as { delay_id?: string }) : {};
              if (made.delay_id !== undefined) ids.push(made.delay_id);
            } else if (round % 3 === 1)
              await field.ask(attacker, requestText('POST', `${DELAYED}/${id}`, token, { action: 'restart' }));
            else await field.ask(attacker, requestText('GET', DELAYED, token));
          },
          4,
        );
    },
  ),
  attack(
    'kept.keys',
    'users fill the version of their key backup, and read all of it',
    { expects: ['200'] },
    async ({ crowd, users }) => {
      const versions = new Map<string, string>();
      const auth_data = { public_key: 'x'.repeat(43) };
      for (const { token, userId } of users) {
        const body = { algorithm: 'm.megolm_backup.v1.curve25519-aes-sha2', auth_data };
        const { version } = await crowd.json<{ version: string }>('POST', `${V3}/room_keys/version`, token, body);
        versions.set(userId, version);
      }
      const key = {
        first_message_index: 0,
        forwarded_count: 0,
        is_verified: true,
        session_data: { c: 'x'.repeat(700) },
      };
      return (field) =>
        field.everyone(({ userId }, round) => {
          const path = `${V3}/room_keys/keys?version=${versions.get(userId)}`;
          if (round % 4 === 0) return ['GET', path];
          const sessions = Object.fromEntries(Array.from({ length: 800 }, (_, index) => [`s${round}x${index}`, key]));
          return ['PUT', path, { rooms: { [`!k${round}:localhost`]: { sessions } } }];
        });
    },
  ),
  attack(
    'federation.states',
    'a server asks for the states, the auth chains and the past of a large room again and again',
    { expects: ['200'] },
    async ({ partner, largeRoom }) => {
      const room = await partner.join(largeRoom);
      const id = part(room.roomId);
      const event = part(room.last.eventId);
      return (field) =>
        field.swarm(
          1,
          (_, round) => {
            const asked = [
              `state_ids/${id}?event_id=${event}`,
              `state/${id}?event_id=${event}`,
              `event_auth/${id}/${event}`,
              `backfill/${id}?v=${event}&limit=100`,
              `make_join/${id}/${part(`@j${round}:${PARTNER_NAME}`)}?ver=12`,
            ];
            return field.ask(0, partner.signed('GET', `/_matrix/federation/v1/${asked[round % asked.length]}`));
          },
          20,
        );
    },
  ),
];
