import { Crowd } from '../load/people.ts';
import { sendFor } from '../load/senders.ts';
import type { BenchServer } from '../server.ts';
import { lower, type Workload } from '../workload.ts';

/** Bytes of every table with its indexes and TOAST. */
async function tableBytes(server: BenchServer): Promise<Map<string, number>> {
  const rows = await server.sql<{ name: string; bytes: string }>(
    `select c.oid::regclass::text as name, pg_total_relation_size(c.oid) as bytes from pg_class c
     join pg_namespace n on n.oid = c.relnamespace
     where c.relkind = 'r' and n.nspname not in ('pg_catalog', 'information_schema')`,
  );
  return new Map(rows.map(({ name, bytes }) => [name, Number(bytes)]));
}

/** Database bytes per message, by table. */
export const databaseSize: Workload = {
  id: 'database-size',
  title: 'Database bytes per message',
  limitSeconds: 120,
  figures: [
    {
      id: 'database-size.message',
      title: 'database bytes per 60-character message',
      unit: 'bytes',
      goal: lower(2_000, 1_300),
    },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 16);
    try {
      progress('making 16 people and 4 rooms');
      const people = await crowd.people(16);
      const rooms = await Promise.all(people.slice(0, 4).map((person) => crowd.createRoom(person)));
      await Promise.all(people.slice(4).map((person, index) => crowd.join(person, rooms[index % 4]!)));
      const senders = people.map((person, index) => ({ person, room: rooms[index % 4]! }));
      const say = (total: number): void => progress(`${total} sent`);
      // Tables and indexes grow in steps: the first pages are not counted.
      await sendFor(server.endpoint, senders, pick(2_000, 700), say);
      await server.sql('checkpoint');
      const before = await tableBytes(server);
      const { result, cost } = await meter.during('database-size', () =>
        sendFor(server.endpoint, senders, pick(15_000, 4_000), say),
      );
      await server.sql('checkpoint');
      const after = await tableBytes(server);
      const grown = [...after]
        .map(([name, bytes]) => [name, bytes - (before.get(name) ?? 0)] as const)
        .filter(([, bytes]) => bytes > 0);
      const total = grown.reduce((sum, [, bytes]) => sum + bytes, 0);
      const shares = grown
        .sort((a, b) => b[1] - a[1])
        .slice(0, 4)
        .map(([name, bytes]) => `${name} ${Math.round(bytes / result.operations)}`);
      report(
        'database-size.message',
        total / result.operations,
        cost,
        `${result.operations} messages: ${shares.join(', ')}`,
      );
    } finally {
      crowd.close();
    }
  },
};
