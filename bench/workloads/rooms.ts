import { Crowd } from '../load/people.ts';
import { inParallel } from '../load/socket.ts';
import { higher, type Workload } from '../workload.ts';

/** Making rooms and coming into them. */
export const rooms: Workload = {
  id: 'rooms',
  title: 'Creating and joining rooms',
  limitSeconds: 180,
  figures: [
    { id: 'rooms.create.rate', title: 'rooms created, 16 in flight', unit: '/s', goal: higher(80, 250) },
    { id: 'rooms.join.rate', title: 'local joins, 32 in flight, 16 rooms', unit: '/s', goal: higher(250, 600) },
    { id: 'rooms.join-one.rate', title: 'local joins, 32 in flight, 1 room', unit: '/s', goal: higher(250, 600) },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 32);
    try {
      const people = pick(400, 100);
      progress(`making ${people} people`);
      const everybody = await crowd.people(people);
      const made: string[] = [];
      const create = async (label: string, count: number): Promise<{ operations: number; seconds: number }> => {
        const start = performance.now();
        await inParallel(count, 16, async (index) => {
          made.push(await crowd.createRoom(everybody[index % people]!));
          if (index % 50 === 0) progress(`${label}: ${index} of ${count}`);
        });
        return { operations: count, seconds: (performance.now() - start) / 1000 };
      };
      await create('creating the first rooms', pick(100, 40));
      const count = pick(1_000, 200);
      const creating = await meter.during('rooms-create', () => create('creating rooms', count));
      report('rooms.create.rate', creating.result.operations / creating.result.seconds, creating.cost);

      const join = async (into: readonly string[]): Promise<{ operations: number; seconds: number }> => {
        const start = performance.now();
        const total = people * into.length;
        await inParallel(total, 32, async (index) => {
          await crowd.join(everybody[Math.floor(index / into.length)]!, into[index % into.length]!);
          if (index % 100 === 0) progress(`joining: ${index} of ${total}`);
        });
        return { operations: total, seconds: (performance.now() - start) / 1000 };
      };
      await join([made[0]!]);
      const many = await meter.during('rooms-join', () => join(made.slice(100, 100 + pick(16, 8))));
      report('rooms.join.rate', many.result.operations / many.result.seconds, many.cost);
      const one = await meter.during('rooms-join-one', () => join([made[1]!]));
      report('rooms.join-one.rate', one.result.operations / one.result.seconds, one.cost);
    } finally {
      crowd.close();
    }
  },
};
