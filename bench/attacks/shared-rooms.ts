import type { Pdu } from '#src/protocol/events/pdu.ts';
import { requestText } from '../load/http.ts';
import { HostileRooms, type Trick } from '../load/hostile-rooms.ts';
import { PARTNER_NAME } from '../load/partner-server.ts';
import { attack, type Attack, part, USERS, V3 } from './battlefield.ts';

const SEND = '/_matrix/federation/v1/send';
const EXPORTS = '/_tsudoi/client/v1/exports';
const LARGE = 'x'.repeat(60_000);
const EVENTS_OF_TRANSACTION = 20;
/** Joins that all attackers together may make at once. */
const ROOMS = 150;
const TRICKS: readonly Trick[] = ['never whole', 'never whole', 'never whole', 'endless ids', 'endless state'];

/** Attacks by another server in shared rooms, and by exports of user data. */
export const sharedRooms: readonly Attack[] = [
  attack(
    'federation.growth',
    'a server makes the state of a room that it shares larger without end',
    { expects: ['200'] },
    async ({ partner, crowd, victim }) => {
      const options = { preset: 'public_chat', power_level_content_override: { state_default: 0 } };
      const { room_id: roomId } = await crowd.json<{ room_id: string }>(
        'POST',
        `${V3}/createRoom`,
        victim.token,
        options,
      );
      const room = await partner.join(roomId);
      let count = 0;
      return async (field) => {
        while (!field.isOver) {
          const pdus: Pdu[] = [];
          for (let index = 0; index < EVENTS_OF_TRANSACTION; index += 1)
            pdus.push(partner.setState(room, 'org.large', `k${(count += 1)}`, { text: LARGE }));
          const content = { origin: PARTNER_NAME, origin_server_ts: Date.now(), pdus };
          for (let isTaken = false; !isTaken && !field.isOver;) {
            const answer = await field.ask(0, partner.signed('PUT', `${SEND}/growth${count}`, content as never));
            isTaken = answer?.status === 200;
          }
        }
      };
    },
  ),
  attack(
    'federation.partial',
    'users join rooms of a server that never tells their members, or comes to no end, and read and write there',
    { expects: ['200'] },
    ({ partner }) => {
      const rooms = HostileRooms.of(partner);
      const ids = Array.from({ length: ROOMS }, (_, index) => rooms.add(TRICKS[index % TRICKS.length]!));
      return (field) =>
        field.swarm(
          USERS,
          (attacker, round) => {
            const { token } = field.users[attacker]!;
            const id = part(ids[round % ROOMS]!);
            const asked: readonly (readonly [string, string, object?])[] = [
              ['POST', `${V3}/join/${id}?server_name=${PARTNER_NAME}`, {}],
              ['GET', `${V3}/rooms/${id}/members`],
              ['GET', `${V3}/sync?timeout=0`],
              ['PUT', `${V3}/rooms/${id}/send/m.room.message/p${round}`, { msgtype: 'm.text', body: LARGE }],
            ];
            const [method, path, body] = asked[round % asked.length]!;
            return field.ask(attacker, requestText(method, path, token, body));
          },
          8,
        );
    },
  ),
  attack(
    'federation.past',
    'users page through the past of a room of which another server has ever more',
    { expects: ['200'] },
    async ({ partner, crowd, users }) => {
      const id = part(HostileRooms.of(partner).add('endless past'));
      for (const { token } of users)
        await crowd.json('POST', `${V3}/join/${id}?server_name=${PARTNER_NAME}`, token, {});
      const from = new Map<number, string>();
      return (field) =>
        field.swarm(
          USERS,
          async (attacker) => {
            const { token } = field.users[attacker]!;
            const page = `${V3}/rooms/${id}/messages?dir=b&limit=100${from.get(attacker) ?? ''}`;
            const answer = await field.ask(attacker, requestText('GET', page, token));
            const { end } = (answer?.status === 200 ? JSON.parse(answer.body.toString()) : {}) as { end?: string };
            if (end === undefined) from.delete(attacker);
            else from.set(attacker, `&from=${part(end)}`);
          },
          4,
        );
    },
  ),
  attack(
    'privacy.exports',
    'users have archives made of all that there is of them, read them at the same time, and begin again',
    { expects: ['200'] },
    async ({ crowd, users, room }) => {
      for (const [index, { token, userId }] of users.entries()) {
        for (let piece = 0; piece < 5; piece += 1)
          await crowd.json('PUT', `${V3}/user/${part(userId)}/account_data/org.filling${piece}`, token, {
            text: 'x'.repeat(900_000),
          });
        for (let said = 0; said < 50; said += 1)
          await crowd.json('PUT', `${V3}/rooms/${part(room)}/send/m.room.message/e${index}x${said}`, token, {
            msgtype: 'm.text',
            body: LARGE,
          });
      }
      const made = new Map<number, string>();
      return (field) =>
        field.swarm(
          USERS,
          async (attacker, round) => {
            const { token } = field.users[attacker]!;
            const id = made.get(attacker);
            if (id !== undefined && round % 3 !== 0) {
              await field.ask(attacker, requestText('GET', `${EXPORTS}/${id}`, token));
              return;
            }
            const answer = await field.ask(attacker, requestText('POST', EXPORTS, token, { with_files: true }));
            const begun = (answer?.status === 200 ? JSON.parse(answer.body.toString()) : {}) as { export_id?: string };
            if (begun.export_id !== undefined) made.set(attacker, begun.export_id);
          },
          4,
        );
    },
  ),
];
