import { Crowd } from '../load/people.ts';
import { sendFor, type Sender } from '../load/senders.ts';
import { higher, lower, percentile, type Workload } from '../workload.ts';

const RATE = higher(2_000, 5_000);

/** Few people in each room: what a message costs by itself. */
export const send: Workload = {
  id: 'send',
  title: 'Sending messages',
  limitSeconds: 180,
  figures: [
    { id: 'send.1.p50', title: 'send, 1 sender, p50', unit: 'ms', goal: lower(4, 1.5) },
    { id: 'send.1.p99', title: 'send, 1 sender, p99', unit: 'ms' },
    { id: 'send.16x1.rate', title: 'sends, 16 in flight, 1 room', unit: '/s' },
    { id: 'send.16x16.rate', title: 'sends, 16 in flight, 16 rooms', unit: '/s' },
    { id: 'send.64x1.rate', title: 'sends, 64 in flight, 1 room', unit: '/s', goal: RATE },
    { id: 'send.64x1.p99', title: 'send, 64 in flight, 1 room, p99', unit: 'ms' },
    { id: 'send.64x16.rate', title: 'sends, 64 in flight, 16 rooms', unit: '/s', goal: RATE },
    { id: 'send.statements', title: 'SQL statements per send, 64 in flight', unit: '', goal: lower(1, 0.2) },
    { id: 'send.wal', title: 'WAL per message, 64 in flight, 16 rooms', unit: 'bytes', goal: lower(4_000, 2_000) },
    { id: 'send.loop', title: 'event-loop delay p99, 64 senders', unit: 'ms', goal: lower(50, 15) },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 16);
    try {
      progress('making 64 people and 17 rooms');
      const people = await crowd.people(64);
      const one = await crowd.createRoom(people[0]!);
      await crowd.joinAll(people.slice(1), one);
      const rooms = await Promise.all(people.slice(0, 16).map((person) => crowd.createRoom(person)));
      await Promise.all(people.slice(16).map((person, index) => crowd.join(person, rooms[index % 16]!)));

      const inOne = (count: number): Sender[] => people.slice(0, count).map((person) => ({ person, room: one }));
      const inMany = (count: number): Sender[] =>
        people.slice(0, count).map((person, index) => ({ person, room: rooms[index % 16]! }));
      const phase = async (label: string, senders: readonly Sender[]) => {
        const say = (total: number): void => progress(`${label}: ${total} sent`);
        // What is compiled, cached and written for the first time is not what a running server pays.
        await sendFor(server.endpoint, senders, pick(2_000, 700), say);
        return meter.during(label, () => sendFor(server.endpoint, senders, pick(8_000, 2_000), say));
      };

      const alone = await phase('send-1', inOne(1));
      report('send.1.p50', percentile(alone.result.latencies, 0.5), alone.cost);
      report('send.1.p99', percentile(alone.result.latencies, 0.99));
      for (const [id, senders] of [
        ['16x1', inOne(16)],
        ['16x16', inMany(16)],
        ['64x1', inOne(64)],
        ['64x16', inMany(64)],
      ] as const) {
        const { result, cost } = await phase(`send-${id}`, senders);
        const middle = percentile(result.latencies, 0.5);
        report(`send.${id}.rate`, result.operations / result.seconds, cost, `p50 ${middle.toFixed(1)} ms`);
        if (id === '64x1') {
          report('send.64x1.p99', percentile(result.latencies, 0.99));
          report('send.statements', cost.statements);
          if (cost.loopDelayP99Ms !== undefined) report('send.loop', cost.loopDelayP99Ms);
        }
        if (id === '64x16') report('send.wal', cost.walBytes);
      }
    } finally {
      crowd.close();
    }
  },
};
