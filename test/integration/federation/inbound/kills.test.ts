import { expect } from 'chai';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { sql } from '#src/storage/statement.ts';
import { killPoints } from '#test/support/mortal/kill-points.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';
import { PartnerRoom, type RoomHost } from '#test/support/federation/partner-room.ts';
import { RemotePartner } from '#test/support/federation/remote-partner.ts';

const PAT = '@pat:p.test';

/** What other servers' transactions bring, and what the partner answers when it is asked for more. */
interface History {
  readonly title: string;
  /** Makes the events: which of them are sent, and all of them in the order in which they are shown at last. */
  readonly make: (room: PartnerRoom) => { readonly sent: readonly IdentifiedPdu[]; readonly shown: readonly string[] };
}

interface Prepared {
  readonly partnerRoom: PartnerRoom;
  readonly room: Room;
  readonly device: { readonly userId: string; readonly deviceId: string };
}

describe('a server that receives a transaction and is killed between two steps', function () {
  this.timeout(240_000);
  let server: MortalServer;
  let partner: RemotePartner;
  let count = 0;

  before(async () => {
    partner = await RemotePartner.start({ serverName: 'p.test', clock: new ManualClock(Date.now()) }, () => '');
    partner.on('PUT', '/_matrix/federation/v1/send/*', () => ({ body: { pdus: {} } }));
    server = await MortalServer.open({
      TSUDOI_FEDERATION__STATIC_HOSTS: JSON.stringify({ 'p.test': `127.0.0.1:${partner.port}` }),
      TSUDOI_FEDERATION__TRUSTED_CA_FILES: JSON.stringify([
        new URL('../../../support/certificates/authority.crt', import.meta.url).pathname,
      ]),
      TSUDOI_FEDERATION__ALLOW_IP_RANGES: JSON.stringify(['127.0.0.0/8']),
    });
  });
  after(async () => {
    await server?.close();
    await partner?.stop();
  });

  const receive = (life: Life, txnId: string, pdus: readonly JsonObject[], edus: readonly JsonObject[]) =>
    life.services.inboundTransactions.receive('p.test', txnId, { pdus, edus });

  /** A room here with a user of the partner, and a device of a user here. */
  const prepare = async (life: Life): Promise<Prepared> => {
    const { login, roomCreation } = life.services;
    const user = await server.user(life);
    const session = await login.login({
      type: 'm.login.password',
      identifier: { type: 'm.id.user', user: user.userId },
      password: 'correct horse battery',
      ip: '127.0.0.1',
    });
    const room = await roomCreation.create(user, { preset: 'public_chat', roomVersion: '11' });
    const host = {
      serverName: server.serverName,
      clock: life.clock,
      services: life.services,
      idle: () => life.pass(0),
    };
    await life.pass(0);
    const partnerRoom = await PartnerRoom.join(host as unknown as RoomHost, partner, room.roomId, []);
    partnerRoom.serveHistory();
    const join = partnerRoom.make({
      type: 'm.room.member',
      sender: PAT,
      stateKey: PAT,
      content: { membership: 'join' },
    });
    await receive(life, `join${(count += 1)}`, [join.pdu], []);
    await life.pass(0);
    return { partnerRoom, room, device: { userId: user.userId, deviceId: session.deviceId ?? '' } };
  };

  const secretFor = ({ deviceId, userId }: Prepared['device'], messageId: string): JsonObject => ({
    edu_type: 'm.direct_to_device',
    content: {
      sender: PAT,
      type: 'org.test.secret',
      message_id: messageId,
      messages: { [userId]: { [deviceId]: { secret: messageId } } },
    },
  });

  /** What the room shows, of what the partner's user said. */
  const shownIn = async (room: Room): Promise<readonly string[]> => {
    const rows = await server.database.query<{ event_id: Buffer }>(
      sql(
        'test_kills_shown',
        `select e.event_id from events e join users u on u.nid = e.sender
         where e.room = $1 and e.flags & 14 = 0 and e.nid > 0 and u.user_id = $2 order by e.nid`,
      ),
      [room.nid, PAT],
    );
    return rows.map(({ event_id: id }) => eventIdText(room.version, id)).slice(1);
  };
  const secretsOf = async ({ deviceId, userId }: Prepared['device']): Promise<number> => {
    const rows = await server.database.query(
      sql('test_kills_secrets', 'select pos from to_device where user_id = $1 and device_id = $2'),
      [userId, deviceId],
    );
    return rows.length;
  };
  const waiting = async (): Promise<number> =>
    (await server.database.query(sql('test_kills_waiting', 'select seq from inbound_events'))).length;

  const histories: readonly History[] = [
    {
      title: 'events that follow on what is here',
      make(room) {
        const sent = ['one', 'two', 'three'].map((body) => room.say(PAT, body));
        return { sent, shown: sent.map(({ eventId }) => eventId) };
      },
    },
    {
      title: 'an event before which others are missing that can be had',
      make(room) {
        const [first, second, last] = ['kept', 'back', 'sent'].map((body) => room.say(PAT, body));
        return { sent: [last!], shown: [first!.eventId, second!.eventId, last!.eventId] };
      },
    },
    {
      title: 'an event at a gap, at which the state is asked for',
      make(room) {
        const renamed = room.make({
          type: 'm.room.member',
          sender: PAT,
          stateKey: PAT,
          content: { membership: 'join', displayname: 'Told with the state only' },
        });
        const [, hidden, told, last, next] = ['a', 'b', 'c', 'd', 'e'].map((body) => room.say(PAT, body));
        partner.on('POST', `/_matrix/federation/v1/get_missing_events/${encodeURIComponent(room.roomId)}`, () => ({
          body: { events: [told!.pdu] },
        }));
        expect(told!.pdu.prev_events).to.deep.equal([hidden!.eventId]);
        expect(renamed.eventId).to.equal(room.stateEvent('m.room.member', PAT));
        return { sent: [last!, next!], shown: [told!, last!, next!].map(({ eventId }) => eventId) };
      },
    },
  ];

  for (const { make, title } of histories)
    it(`loses nothing and does nothing twice, with ${title}`, async () => {
      let life = await server.begin();
      let kills = 0;
      const run = async (kill: number): Promise<number> => {
        const prepared = await prepare(life);
        const { shown, sent } = make(prepared.partnerRoom);
        const txnId = `kill${(count += 1)}`;
        const pdus = sent.map(({ pdu }) => pdu as unknown as JsonObject);
        const edus = [secretFor(prepared.device, txnId)];
        life.mortal.killAt(kill);
        const { mortal } = life;
        const isAcknowledged = await mortal.survives(() => receive(life, txnId, pdus, edus));
        if (isAcknowledged) await mortal.survives(() => life.pass(0));
        const { steps } = mortal;
        // The steps are not always as many: what comes next is not killed by this.
        mortal.killAt(Infinity);
        if (mortal.isDead) {
          kills += 1;
          life = await server.begin();
          // A server that got no answer sends it again.
          if (!isAcknowledged) await receive(life, txnId, pdus, edus);
          await life.pass(0);
        }
        const what = `killed at half step ${kill} of a transaction that was ${isAcknowledged ? '' : 'not '}acknowledged`;
        const there = await shownIn(prepared.room);
        expect(there, what).to.include.members([...shown]);
        expect(
          there.filter((id) => shown.includes(id)),
          what,
        ).to.deep.equal(shown);
        expect(await secretsOf(prepared.device), what).to.equal(1);
        expect(await waiting(), what).to.equal(0);
        // The same again changes nothing.
        await receive(life, txnId, pdus, edus);
        await life.pass(0);
        expect(await shownIn(prepared.room), what).to.deep.equal(there);
        expect(await secretsOf(prepared.device), what).to.equal(1);
        const room = (await life.services.rooms.byId(prepared.room.roomId))!;
        expect(
          room.head.extremities.map(({ eventId }) => eventId),
          what,
        ).to.include(sent.at(-1)!.eventId);
        return steps;
      };
      const halfSteps = 2 * (await run(Infinity));
      const points = killPoints(halfSteps);
      for (const kill of points) await run(kill);
      expect(kills).to.be.at.least(Math.floor(points.length / 2));
      await life.end();
    });
});
