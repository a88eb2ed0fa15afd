import { setTimeout } from 'node:timers/promises';
import { Crowd } from '../load/people.ts';
import { sendFor, type Sender } from '../load/senders.ts';
import { lower, percentile, type Workload } from '../workload.ts';

const WINDOW_MS = 2_000;
const LIMIT_MS = 150_000;
/** For so long people go on writing while the space is given back. */
const RETURNING_MS = 10_000;

/** What those who write notice of a room's old events going away. */
export const retention: Workload = {
  id: 'retention',
  title: 'Sending while a history is purged',
  limitSeconds: 400,
  server: { env: { TSUDOI_RETENTION__INTERVAL_MS: '500' } },
  figures: [
    { id: 'retention.p99.before', title: 'send, 4 senders, p99, before', unit: 'ms' },
    { id: 'retention.p99', title: 'send, 4 senders, p99, during the purge', unit: 'ms' },
    { id: 'retention.ratio', title: 'p99 with the purge / without', unit: '', goal: lower(2, 1.5) },
    { id: 'retention.seconds', title: 'duration of the purge', unit: 's' },
    { id: 'retention.returning', title: 'send p99 during space reclamation / before', unit: '' },
    {
      id: 'retention.space',
      title: 'bytes on disk per remaining event, after / before',
      unit: '',
      goal: lower(1.5, 1.25),
    },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 8);
    try {
      const people = await crowd.people(4);
      const room = await crowd.createRoom(people[0]!);
      await crowd.joinAll(people.slice(1), room);
      const senders: Sender[] = people.map((person) => ({ person, room }));
      const count = pick(100_000, 20_000);
      progress(`making ${count} old events`);
      await crowd.message(people[0]!, room, 'first', 'first');
      await server.sql(
        `insert into events (room, nid, topo, event_id, type, sender, ts, state, prev, auth, flags, json)
         select e.room, -16 * n - e.nid % 16, -n, decode(md5(n::text) || md5((-n)::text), 'hex'), e.type, e.sender, e.ts - 86400000,
           e.state, e.prev, e.auth, e.flags, e.json
         from generate_series(1, $1::int) n cross join (
           select e.* from events e join rooms r on r.nid = e.room where r.room_id = $2 order by e.nid desc limit 1
         ) e`,
        [count, room],
      );
      await server.sql('vacuum analyze events');
      /** Of the table and its indexes. Writes meanwhile make it grow, and fill what was left empty. */
      const bytesPerEvent = async (): Promise<number> => {
        const [found] = await server.sql<{ size: string; events: string }>(
          `select pg_total_relation_size('events') as size, count(*) as events from events`,
        );
        return Number(found!.size) / Number(found!.events);
      };
      const bytesBefore = await bytesPerEvent();

      await sendFor(server.endpoint, senders, pick(4_000, 1_500));
      progress('sending without a purge');
      const calm = await meter.during('calm', () => sendFor(server.endpoint, senders, pick(15_000, 4_000)));
      const before = percentile(calm.result.latencies, 0.99);
      report('retention.p99.before', before, calm.cost);

      const while_ = async (
        text: string,
        goesOn: () => Promise<boolean>,
      ): Promise<{ p99: number; seconds: number }> => {
        const latencies: number[] = [];
        const start = performance.now();
        while ((await goesOn()) && performance.now() - start < LIMIT_MS) {
          const window = await sendFor(server.endpoint, senders, WINDOW_MS);
          for (const latency of window.latencies) latencies.push(latency);
          progress(`${text}: ${latencies.length} sent`);
        }
        return { p99: percentile(latencies, 0.99), seconds: (performance.now() - start) / 1000 };
      };
      const path = `/_matrix/client/v3/rooms/${room}/state/m.room.retention/`;
      await crowd.json('PUT', path, people[0]!.token, { max_lifetime: 3_600_000 });
      const purge = await while_(
        'purging',
        async () => (await server.sql('select 1 from events where nid < 0 limit 1')).length > 0,
      );
      report('retention.p99', purge.p99);
      report('retention.ratio', purge.p99 / before);
      report('retention.seconds', purge.seconds, undefined, `${Math.round(count / purge.seconds)} events/s`);
      const begin = performance.now();
      const returning = await while_('giving space back', async () => performance.now() - begin < RETURNING_MS);
      report('retention.returning', returning.p99 / before);
      while (!server.hasReclaimed('events') && performance.now() - begin < LIMIT_MS) {
        progress('waiting until the space is given back');
        await setTimeout(1_000);
      }
      report('retention.space', (await bytesPerEvent()) / bytesBefore);
    } finally {
      crowd.close();
    }
  },
};
