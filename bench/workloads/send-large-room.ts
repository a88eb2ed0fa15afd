import { Crowd } from '../load/people.ts';
import { sendFor } from '../load/senders.ts';
import { higher, lower, percentile, type Workload } from '../workload.ts';

const MEMBERS = 500;

/** What a message writes must not grow with the room. */
export const sendLargeRoom: Workload = {
  id: 'send-large-room',
  title: `Sending in a room of ${MEMBERS} local members`,
  limitSeconds: 120,
  figures: [
    {
      id: 'send-large-room.rate',
      title: `sends, 64 in flight, ${MEMBERS} members`,
      unit: '/s',
      goal: higher(400, 1_500),
    },
    { id: 'send-large-room.p99', title: `send, 64 in flight, ${MEMBERS} members, p99`, unit: 'ms' },
    {
      id: 'send-large-room.wal',
      title: `WAL per message, ${MEMBERS} members`,
      unit: 'bytes',
      goal: lower(10_000, 3_000),
    },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 32);
    try {
      progress(`making ${MEMBERS} people`);
      const people = await crowd.people(MEMBERS);
      const room = await crowd.createRoom(people[0]!);
      progress(`${MEMBERS} people join`);
      await crowd.joinAll(people.slice(1), room);
      const senders = people.slice(0, 64).map((person) => ({ person, room }));
      const say = (total: number): void => progress(`${total} sent`);
      await sendFor(server.endpoint, senders, pick(2_000, 700), say);
      const { result, cost } = await meter.during('send-large-room', () =>
        sendFor(server.endpoint, senders, pick(8_000, 2_000), say),
      );
      report('send-large-room.rate', result.operations / result.seconds, cost);
      report('send-large-room.p99', percentile(result.latencies, 0.99));
      report('send-large-room.wal', cost.walBytes);
    } finally {
      crowd.close();
    }
  },
};
