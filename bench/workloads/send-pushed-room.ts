import { Crowd } from '../load/people.ts';
import { sendFor } from '../load/senders.ts';
import { lower, percentile, type Workload } from '../workload.ts';

const MEMBERS = 500;
/** Nobody is asked there: the guard of outbound requests does not let anybody at it. */
const GATEWAY = 'https://127.0.0.1:9/_matrix/push/v1/notify';

/** What a message costs must not grow with how many of a room's members it is pushed to, as long as their gateways are not asked. */
export const sendPushedRoom: Workload = {
  id: 'send-pushed-room',
  title: `Sending in a room of ${MEMBERS} members who have pushers`,
  limitSeconds: 180,
  figures: [
    {
      id: 'send-pushed-room.ratio',
      title: `send time, 64 in flight: ${MEMBERS} members with pushers / without`,
      unit: '',
      goal: lower(1.15, 1.05),
    },
    { id: 'send-pushed-room.p99', title: `send, 64 in flight, ${MEMBERS} members with pushers, p99`, unit: 'ms' },
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
      const measure = (name: string) =>
        meter.during(name, () => sendFor(server.endpoint, senders, pick(6_000, 2_000), say));
      await sendFor(server.endpoint, senders, pick(2_000, 700), say);
      const without = await measure('send-pushed-room.without');
      progress(`${MEMBERS} people set pushers`);
      for (const { token, userId } of people)
        await crowd.json('POST', '/_matrix/client/v3/pushers/set', token, {
          kind: 'http',
          app_id: 'bench',
          pushkey: userId,
          app_display_name: 'Bench',
          device_display_name: 'Phone',
          lang: 'en',
          data: { url: GATEWAY },
        });
      await sendFor(server.endpoint, senders, pick(2_000, 700), say);
      const pushed = await measure('send-pushed-room');
      const timeOf = ({ result }: typeof pushed): number => result.seconds / result.operations;
      report('send-pushed-room.ratio', timeOf(pushed) / timeOf(without), pushed.cost);
      report('send-pushed-room.p99', percentile(pushed.result.latencies, 0.99));
    } finally {
      crowd.close();
    }
  },
};
