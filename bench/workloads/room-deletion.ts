import { createHmac } from 'node:crypto';
import { Crowd, PASSWORD } from '../load/people.ts';
import { sendFor, type Sender } from '../load/senders.ts';
import { lower, percentile, type Workload } from '../workload.ts';

const SECRET = 'a secret for the bench';
const WINDOW_MS = 1_000;
const LIMIT_MS = 240_000;

/** What those who write in other rooms notice of a large room being deleted. */
export const roomDeletion: Workload = {
  id: 'room-deletion',
  title: 'Sending while a room of 100,000 events is deleted',
  limitSeconds: 500,
  server: { env: { TSUDOI_REGISTRATION__SHARED_SECRET: SECRET } },
  figures: [
    { id: 'room-deletion.p99.before', title: 'send, 4 senders, p99, before', unit: 'ms' },
    { id: 'room-deletion.p99', title: 'send, 4 senders, p99, during the deletion of another room', unit: 'ms' },
    { id: 'room-deletion.ratio', title: 'p99 with the deletion / without', unit: '', goal: lower(2, 1.5) },
    { id: 'room-deletion.seconds', title: 'duration of the deletion', unit: 's' },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 8);
    try {
      const people = await crowd.people(8);
      const [, , , , creator] = people;
      const room = await crowd.createRoom(people[0]!);
      await crowd.joinAll(people.slice(1, 4), room);
      const senders: Sender[] = people.slice(0, 4).map((person) => ({ person, room }));
      const doomed = await crowd.createRoom(creator!);
      await crowd.joinAll(people.slice(5), doomed);
      await crowd.message(creator!, doomed, 'first', 'first');
      const count = pick(100_000, 20_000);
      progress(`making a room of ${count} events`);
      await server.sql(
        `insert into events (room, nid, topo, event_id, type, sender, ts, state, prev, auth, flags, json)
         select e.room, -16 * n - e.nid % 16, -n, decode(md5(n::text) || md5((-n)::text), 'hex'), e.type, e.sender, e.ts - n,
           e.state, e.prev, e.auth, e.flags, e.json
         from generate_series(1, $1::int) n cross join (
           select e.* from events e join rooms r on r.nid = e.room where r.room_id = $2 order by e.nid desc limit 1
         ) e`,
        [count, doomed],
      );
      await server.sql(
        `insert into search_docs (room, ts, event, grams)
         select e.room, e.ts, e.nid, array[1, 2, 3] from events e join rooms r on r.nid = e.room where r.room_id = $1 and e.nid < 0`,
        [doomed],
      );
      await server.sql('vacuum analyze events');
      const register = '/_synapse/admin/v1/register';
      const { nonce } = await crowd.json<{ readonly nonce: string }>('GET', register);
      const mac = createHmac('sha1', SECRET).update(`${nonce}\0root\0${PASSWORD}\0admin`).digest('hex');
      const { access_token: token } = await crowd.json<{ readonly access_token: string }>('POST', register, undefined, {
        nonce,
        username: 'root',
        password: PASSWORD,
        admin: true,
        mac,
      });

      await sendFor(server.endpoint, senders, pick(4_000, 1_500));
      progress('sending without a deletion');
      const calm = await meter.during('calm', () => sendFor(server.endpoint, senders, pick(15_000, 4_000)));
      const before = percentile(calm.result.latencies, 0.99);
      report('room-deletion.p99.before', before, calm.cost);

      const { delete_id: id } = await crowd.json<{ readonly delete_id: string }>(
        'DELETE',
        `/_synapse/admin/v2/rooms/${encodeURIComponent(doomed)}`,
        token,
        {},
      );
      const status = async (): Promise<string> =>
        (await crowd.json<{ readonly status: string }>('GET', `/_synapse/admin/v2/rooms/delete_status/${id}`, token))
          .status;
      const latencies: number[] = [];
      const start = performance.now();
      let is = await status();
      while (is !== 'complete' && performance.now() - start < LIMIT_MS) {
        const window = await sendFor(server.endpoint, senders, WINDOW_MS);
        for (const latency of window.latencies) latencies.push(latency);
        progress(`deleting: ${latencies.length} sent`);
        is = await status();
        if (is === 'failed') throw new Error('the room could not be deleted');
      }
      const seconds = (performance.now() - start) / 1000;
      const p99 = percentile(latencies, 0.99);
      report('room-deletion.p99', p99);
      report('room-deletion.ratio', p99 / before);
      report('room-deletion.seconds', seconds, undefined, `${Math.round(count / seconds)} events/s`);
    } finally {
      crowd.close();
    }
  },
};
