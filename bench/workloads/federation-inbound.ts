import { setTimeout as sleep } from 'node:timers/promises';
import { Crowd } from '../load/people.ts';
import { type PartnerRoom, PartnerServer } from '../load/partner-server.ts';
import { higher, type Workload } from '../workload.ts';

const RATE = higher(1_500, 4_000);
const IN_TRANSACTION = 50;
const ROOMS = 50;

/** Signed events of another server, from the request until they are in their rooms. */
export const federationInbound: Workload = {
  id: 'federation-inbound',
  title: 'Receiving events of another server',
  limitSeconds: 240,
  figures: [
    { id: 'federation-inbound.1.rate', title: 'signed PDUs received, 1 room', unit: '/s', goal: RATE },
    { id: 'federation-inbound.50.rate', title: `signed PDUs received, ${ROOMS} rooms`, unit: '/s', goal: RATE },
    { id: 'federation-inbound.cpu', title: 'server CPU per received PDU, 1 room', unit: 'ms' },
    { id: 'federation-inbound.statements', title: 'SQL statements per received PDU, 1 room', unit: '' },
  ],
  async run({ server, meter, pick, progress, report }) {
    const partner = await PartnerServer.start(server.endpoint);
    try {
      await server.restart(partner.environment);
      const crowd = new Crowd(server.endpoint, 16);
      const [person] = await crowd.people(1);
      if (person === undefined) throw new Error('nobody is there');
      progress(`joining ${ROOMS} rooms`);
      const rooms: PartnerRoom[] = [];
      for (let i = 0; i < ROOMS; i++) rooms.push(await partner.join(await crowd.createRoom(person)));
      crowd.close();
      const count = pick(10_000, 2_000);
      const phase = async (label: string, among: readonly PartnerRoom[]) => {
        progress(`${label}: signing ${count} events`);
        const transactions = Array.from({ length: count / IN_TRANSACTION }, (_, t) =>
          Array.from({ length: IN_TRANSACTION }, (_, i) => {
            const room = among[(t * IN_TRANSACTION + i) % among.length];
            if (room === undefined) throw new Error('there is no room');
            return partner.say(room, `${label} ${t} ${i}`);
          }),
        );
        progress(`${label}: sending`);
        const before = await received(server);
        const { cost } = await meter.during(label.replaceAll(' ', '-'), async () => {
          for (const pdus of transactions) await partner.transact(pdus);
          while ((await received(server)) < before + count) await sleep(5);
          return { operations: count };
        });
        return cost;
      };
      await phase('warm up', rooms.slice(0, 2));
      const one = await phase('1 room', rooms.slice(0, 1));
      report('federation-inbound.1.rate', one.operations / one.seconds, one);
      report('federation-inbound.cpu', one.serverCpuMs ?? Number.NaN);
      report('federation-inbound.statements', one.statements);
      const many = await phase(`${ROOMS} rooms`, rooms);
      report('federation-inbound.50.rate', many.operations / many.seconds, many);
      const [stored] = await server.sql<{ events: number }>(
        `select count(*)::int as events from events e join users u on u.nid = e.sender where u.user_id = $1 and e.flags & 14 = 0 and e.skey is null`,
        [partner.user],
      );
      if (stored?.events !== 3 * count)
        throw new Error(`only ${stored?.events} of ${3 * count} events are in their rooms`);
    } finally {
      partner.stop();
    }
  },
};

/** Events of the other server that were accepted or refused. */
const received = async (server: { readonly metrics: () => Promise<Map<string, number>> }): Promise<number> =>
  (await server.metrics()).get('tsudoi_federation_received_events_total') ?? 0;
