import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { Crowd } from '../load/people.ts';
import { sendFor } from '../load/senders.ts';
import type { BenchServer } from '../server.ts';
import { lower, percentile, type Workload } from '../workload.ts';

const CERTIFICATES = new URL('../../test/support/certificates/', import.meta.url);
const SHARED_BY = 50;
/** More of them to see what many cost: figures are for these. */
const LIVE = Number(process.env['BENCH_LIVE_SERVERS'] ?? 100);
const DEAD = Number(process.env['BENCH_DEAD_SERVERS'] ?? 900);
/** Nobody listens there: the ports are of the range that is handed out to nobody. */
const FIRST_DEAD_PORT = 1_024;
const TEXTS = 50;

/** Servers that take whatever they are sent, each on a port of its own, and say when an event arrived. */
class Partners {
  readonly names: string[] = [];
  readonly #servers: Server[] = [];
  onPdus: (name: string, pdus: readonly { readonly content?: { readonly sentAt?: string } }[]) => void = () =>
    undefined;

  async open(count: number): Promise<void> {
    const tls = {
      cert: readFileSync(new URL('loopback.crt', CERTIFICATES)),
      key: readFileSync(new URL('loopback.key', CERTIFICATES)),
    };
    for (let index = 0; index < count; index += 1) {
      const server = createServer(tls, (request, response) => {
        const chunks: Buffer[] = [];
        request.on('data', (chunk: Buffer) => chunks.push(chunk));
        request.on('end', () => {
          response.writeHead(200, { 'content-type': 'application/json' }).end('{"pdus":{}}');
          if (request.method !== 'PUT') return;
          this.onPdus(name, JSON.parse(Buffer.concat(chunks).toString()).pdus);
        });
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const name = `127.0.0.1:${(server.address() as AddressInfo).port}`;
      this.names.push(name);
      this.#servers.push(server);
    }
  }

  close(): void {
    for (const server of this.#servers) {
      server.closeAllConnections();
      server.close();
    }
  }
}

/** Puts a joined user of each server into a room; what is measured is sending to them. The server has to be started again. */
const seat = async (server: BenchServer, roomId: string, names: readonly string[]): Promise<void> => {
  await server.sql(
    `with made as (
       insert into users (user_id, local) select '@user:' || n, false from unnest($2::text[]) n returning nid
     ), alike as (
       select m.room, min(m.event) as event from member m join rooms r on r.nid = m.room where r.room_id = $1 group by m.room
     )
     insert into member (room, user_nid, membership, event, since, local)
     select a.room, u.nid, 1, a.event, a.event, false from alike a, made u`,
    [roomId, names],
  );
};

/** Cost of sending to other servers, and delivery while most of them are unreachable. */
export const federationOutbound: Workload = {
  id: 'federation-outbound',
  title: `Sending to other servers: a room with ${SHARED_BY}, and ${LIVE + DEAD} of which ${DEAD} are unreachable`,
  limitSeconds: LIVE + DEAD > 1_000 ? 600 : 240,
  server: {
    env: {
      TSUDOI_FEDERATION__ALLOW_IP_RANGES: JSON.stringify(['127.0.0.0/8']),
      TSUDOI_FEDERATION__TRUSTED_CA_FILES: JSON.stringify([new URL('loopback.crt', CERTIFICATES).pathname]),
    },
  },
  figures: [
    {
      id: 'federation-outbound.ratio',
      title: `statements for a message, 64 in flight: room with ${SHARED_BY} other servers to one without`,
      unit: '',
      goal: lower(1.2, 1.05),
    },
    { id: 'federation-outbound.send-p50', title: `send, 1 sender, ${SHARED_BY} other servers, p50`, unit: 'ms' },
    { id: 'federation-outbound.alone-p50', title: 'send, 1 sender, no other servers, p50', unit: 'ms' },
    {
      id: 'federation-outbound.cpu',
      title: `server CPU for a message to ${SHARED_BY} other servers, 64 in flight`,
      unit: 'ms',
    },
    {
      id: 'federation-outbound.live-p50',
      title: `from a send to its arrival at each of ${LIVE} servers, ${DEAD} away, p50`,
      unit: 'ms',
    },
    {
      id: 'federation-outbound.live-p99',
      title: `from a send to its arrival at each of ${LIVE} servers, ${DEAD} away, p99`,
      unit: 'ms',
      goal: lower(5_000, 1_000),
    },
    {
      id: 'federation-outbound.rss',
      title: `resident memory with ${DEAD} servers away`,
      unit: 'MiB',
      goal: lower(600, 350),
    },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 32);
    const partners = new Partners();
    try {
      await partners.open(LIVE);
      const people = await crowd.people(64);
      const [first] = people;
      if (first === undefined) throw new Error('nobody is there');
      const rooms: string[] = [];
      for (let index = 0; index < 3; index += 1) {
        const room = await crowd.createRoom(first);
        await crowd.joinAll(people.slice(1), room);
        rooms.push(room);
      }
      const [alone = '', shared = '', crowded = ''] = rooms;
      await seat(server, shared, partners.names.slice(0, SHARED_BY));
      await server.restart();
      const measure = async (name: string, room: string) => {
        const senders = people.map((person) => ({ person, room }));
        await sendFor(server.endpoint, senders, pick(1_000, 300));
        const one = await sendFor(server.endpoint, senders.slice(0, 1), pick(3_000, 1_000));
        const many = await meter.during(name, () => sendFor(server.endpoint, senders, pick(6_000, 2_000)));
        return { p50: percentile(one.latencies, 0.5), many };
      };
      progress('sending without other servers');
      const without = await measure('federation-outbound.alone', alone);
      progress(`sending with ${SHARED_BY} other servers`);
      const withThem = await measure('federation-outbound', shared);
      const perMessage = ({ cost }: typeof without.many): number => cost.statements;
      report('federation-outbound.ratio', perMessage(withThem.many) / perMessage(without.many), withThem.many.cost);
      report('federation-outbound.alone-p50', without.p50);
      report('federation-outbound.send-p50', withThem.p50);
      report('federation-outbound.cpu', withThem.many.cost.serverCpuMs ?? Number.NaN);

      const dead = Array.from({ length: DEAD }, (_, index) => `127.0.0.1:${FIRST_DEAD_PORT + index}`);
      await server.sql(`delete from member m using users u where u.nid = m.user_nid and not u.local`);
      await server.sql(`delete from users where not local`);
      await seat(server, crowded, [...partners.names, ...dead]);
      await server.restart();
      const latencies: number[] = [];
      partners.onPdus = (_name, pdus) => {
        for (const { content } of pdus)
          if (content?.sentAt !== undefined) latencies.push(performance.now() - Number(content.sentAt));
      };
      for (let count = 0; count < TEXTS; count += 1) {
        progress(`${count} of ${TEXTS} sent, ${latencies.length} arrived`);
        const content = { msgtype: 'm.text', body: 'x', sentAt: String(performance.now()) };
        await crowd.json(
          'PUT',
          `/_matrix/client/v3/rooms/${crowded}/send/m.room.message/c${count}`,
          first.token,
          content,
        );
        await new Promise((resolve) => setTimeout(resolve, pick(200, 100)));
      }
      const deadline = performance.now() + 30_000;
      while (latencies.length < LIVE * TEXTS && performance.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 50));
      if (latencies.length < LIVE * TEXTS) throw new Error(`only ${latencies.length} of ${LIVE * TEXTS} arrived`);
      report('federation-outbound.live-p50', percentile(latencies, 0.5));
      report('federation-outbound.live-p99', percentile(latencies, 0.99));
      const status = readFileSync(`/proc/${server.pid}/status`, 'utf8');
      report('federation-outbound.rss', Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024);
    } finally {
      crowd.close();
      partners.close();
    }
  },
};
