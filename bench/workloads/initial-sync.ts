import { requestText, HttpConnection } from '../load/http.ts';
import { Crowd, syncPath, SIXTY, UnexpectedAnswer } from '../load/people.ts';
import { inParallel } from '../load/socket.ts';
import { lower, percentile, type Workload } from '../workload.ts';

const ROOMS = 200;
const MEMBERS = 10;
const MESSAGES = 20;

/** Somebody who is in many rooms logs in on a new device. */
export const initialSync: Workload = {
  id: 'initial-sync',
  title: `Initial sync of ${ROOMS} rooms`,
  limitSeconds: 180,
  figures: [
    {
      id: 'initial-sync.cold',
      title: `initial sync of ${ROOMS} rooms, after a restart`,
      unit: 'ms',
      goal: lower(400, 150),
    },
    { id: 'initial-sync.warm', title: `initial sync of ${ROOMS} rooms, warm`, unit: 'ms', goal: lower(100, 25) },
    { id: 'initial-sync.size', title: 'size of the body of an initial sync', unit: 'KiB' },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 32);
    const connection = new HttpConnection(server.endpoint);
    try {
      progress(`making ${MEMBERS} people`);
      const people = await crowd.people(MEMBERS);
      const reader = people[0]!;
      let made = 0;
      await inParallel(ROOMS, 16, async (index) => {
        const creator = people[1 + (index % (MEMBERS - 1))]!;
        const room = await crowd.createRoom(creator, { name: `room ${index}`, topic: 'what the bench is about' });
        await crowd.joinAll(
          people.filter((person) => person !== creator),
          room,
        );
        for (let i = 0; i < MESSAGES; i += 1) await crowd.message(people[i % MEMBERS]!, room, SIXTY, `${index}-${i}`);
        made += 1;
        if (made % 20 === 0) progress(`${made} of ${ROOMS} rooms with ${MEMBERS} members and ${MESSAGES} messages`);
      });
      const filter = await crowd.storeFilter(reader);
      let bytes = 0;
      const sync = async (): Promise<number> => {
        const start = performance.now();
        const answer = await connection.send(requestText('GET', syncPath(filter, undefined, 0), reader.token));
        const took = performance.now() - start;
        if (answer.status !== 200) throw new UnexpectedAnswer('the initial sync', answer);
        const body = JSON.parse(answer.body.toString()) as { rooms?: { join?: Record<string, unknown> } };
        const found = Object.keys(body.rooms?.join ?? {}).length;
        if (found !== ROOMS) throw new Error(`the initial sync holds ${found} rooms, not ${ROOMS}`);
        bytes = answer.body.length;
        return took;
      };
      const cold: number[] = [];
      const restarts = pick(3, 1);
      for (let i = 0; i < restarts; i += 1) {
        progress(`restart ${i + 1} of ${restarts}`);
        connection.close();
        await server.restart();
        const { result, cost } = await meter.during('initial-sync-cold', async () => {
          cold.push(await sync());
          return { operations: 1 };
        });
        if (result.operations === 1 && i === restarts - 1) report('initial-sync.cold', percentile(cold, 0.5), cost);
      }
      for (let i = 0; i < 3; i += 1) await sync();
      const warm: number[] = [];
      const { cost } = await meter.during('initial-sync-warm', async () => {
        for (let i = 0; i < pick(20, 8); i += 1) {
          progress(`warm sync ${i + 1}`);
          warm.push(await sync());
        }
        return { operations: warm.length };
      });
      report('initial-sync.warm', percentile(warm, 0.5), cost);
      report('initial-sync.size', bytes / 1024);
    } finally {
      connection.close();
      crowd.close();
    }
  },
};
