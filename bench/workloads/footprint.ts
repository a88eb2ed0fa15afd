import { HttpConnection, requestText } from '../load/http.ts';
import { Crowd, nextBatch, syncPath, UnexpectedAnswer, type Person } from '../load/people.ts';
import { sendFor } from '../load/senders.ts';
import { inParallel } from '../load/socket.ts';
import { familyBytes, residentBytes } from '../process-times.ts';
import { lower, percentile, type Workload } from '../workload.ts';

const MIB = 1024 * 1024;
const PEOPLE = 1_000;
const SMALL_ROOMS = 40;
const SENDERS = 64;
const ROOMS_IN_USE = 16;
const FEW = 200;
const RESTARTS = 5;
const POLL_MS = 30_000;

const rest = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A long-poll that is asked again whenever it was answered. */
class Listener {
  readonly #connection: HttpConnection;
  readonly #person: Person;
  readonly #filter: string;
  #position: string | undefined;
  #listens = true;
  failure: Error | undefined;

  constructor(connection: HttpConnection, person: Person, filter: string) {
    this.#connection = connection;
    this.#person = person;
    this.#filter = filter;
  }

  async sync(timeoutMs: number): Promise<void> {
    const path = syncPath(this.#filter, this.#position, timeoutMs);
    const answer = await this.#connection.send(requestText('GET', path, this.#person.token));
    if (answer.status !== 200) throw new UnexpectedAnswer('a sync', answer);
    this.#position = nextBatch(answer.body);
  }

  begin(): void {
    const listen = async (): Promise<void> => {
      while (this.#listens) await this.sync(POLL_MS);
    };
    listen().catch((error: unknown) => {
      if (this.#listens) this.failure = error as Error;
    });
  }

  close(): void {
    this.#listens = false;
    this.#connection.close();
  }
}

/** Memory and processor time of a server: after start, under load, and idle with connected clients. */
export const footprint: Workload = {
  id: 'footprint',
  title: 'Memory, start and rest',
  limitSeconds: 360,
  figures: [
    { id: 'footprint.start', title: `start, median of ${RESTARTS}`, unit: 'ms', goal: lower(3_000, 1_000) },
    { id: 'footprint.start.cpu', title: 'processor time of a start', unit: 'ms' },
    { id: 'footprint.stop', title: `stop, median of ${RESTARTS}`, unit: 'ms', goal: lower(1_000, 300) },
    { id: 'footprint.fresh', title: 'resident memory after start', unit: 'MiB', goal: lower(220, 130) },
    { id: 'footprint.fresh.postgres', title: 'memory of the embedded PostgreSQL after the start', unit: 'MiB' },
    { id: 'footprint.load', title: 'resident memory, end of the first load', unit: 'MiB', goal: lower(600, 300) },
    { id: 'footprint.again', title: 'resident memory, end of the second load', unit: 'MiB', goal: lower(600, 300) },
    { id: 'footprint.growth', title: 'growth in the second load', unit: 'MiB', goal: lower(100, 20) },
    { id: 'footprint.load.postgres', title: 'memory of the embedded PostgreSQL at the end of the load', unit: 'MiB' },
    {
      id: 'footprint.few',
      title: `resident memory, ${FEW} idle long-polls after load`,
      unit: 'MiB',
      goal: lower(330, 160),
    },
    { id: 'footprint.few.cpu', title: `processor time, ${FEW} idle long-polls`, unit: 'ms/s', goal: lower(10, 3) },
    {
      id: 'footprint.many',
      title: `resident memory, ${PEOPLE} idle long-polls after load`,
      unit: 'MiB',
      goal: lower(400, 180),
    },
    { id: 'footprint.many.cpu', title: `processor time, ${PEOPLE} idle long-polls`, unit: 'ms/s' },
  ],
  async run({ server, meter, pick, progress, report }) {
    const starts: number[] = [];
    const stops: number[] = [];
    for (let i = 1; i <= RESTARTS; i += 1) {
      progress(`restart ${i} of ${RESTARTS}`);
      const { startMs, stopMs } = await server.restart();
      starts.push(startMs);
      stops.push(stopMs);
    }
    report('footprint.start', percentile(starts, 0.5));
    report('footprint.start.cpu', server.processMs);
    report('footprint.stop', percentile(stops, 0.5));
    // What the start has left is given back in this time.
    await rest(pick(20_000, 2_000));
    report('footprint.fresh', residentBytes(server.pid) / MIB, undefined, await server.heap());
    report('footprint.fresh.postgres', familyBytes(server.postgresPid) / MIB);

    const crowd = new Crowd(server.endpoint, 32);
    const listeners: Listener[] = [];
    try {
      progress(`making ${PEOPLE} people and ${SMALL_ROOMS + 1} rooms`);
      const people = await crowd.people(PEOPLE);
      const lobby = await crowd.createRoom(people[0]!);
      const rooms = await Promise.all(people.slice(0, SMALL_ROOMS).map((person) => crowd.createRoom(person)));
      await crowd.joinAll(people.slice(1), lobby);
      const roomOf = (index: number): string => rooms[index % SMALL_ROOMS]!;
      await inParallel(PEOPLE - SMALL_ROOMS, 32, (index) =>
        crowd.join(people[SMALL_ROOMS + index]!, roomOf(SMALL_ROOMS + index)),
      );
      progress('first syncs');
      await inParallel(PEOPLE, 32, async (index) => {
        const person = people[index]!;
        const connection = new HttpConnection(server.endpoint, { timeoutMs: 90_000 });
        listeners[index] = new Listener(connection, person, await crowd.storeFilter(person));
        await listeners[index].sync(0);
      });

      const inUse = people
        .map((person, index) => ({ person, room: roomOf(index) }))
        .filter((_, index) => index % SMALL_ROOMS < ROOMS_IN_USE)
        .slice(0, SENDERS);
      const ends: number[] = [];
      for (const id of ['footprint.load', 'footprint.again']) {
        const say = (total: number): void => progress(`${id}: ${total} sent`);
        const { operations } = await sendFor(server.endpoint, inUse, pick(15_000, 4_000), say);
        ends.push(residentBytes(server.pid) / MIB);
        report(id, ends.at(-1) ?? Number.NaN, undefined, `${operations} sent; ${await server.heap()}`);
      }
      const [first = Number.NaN, second = Number.NaN] = ends;
      report('footprint.growth', second - first);
      report('footprint.load.postgres', familyBytes(server.postgresPid) / MIB);

      for (const [id, count] of [
        ['few', FEW],
        ['many', PEOPLE],
      ] as const) {
        const added = listeners.slice(id === 'few' ? 0 : FEW, count);
        // What they missed during the load comes first.
        await inParallel(added.length, 32, (index) => added[index]!.sync(0));
        for (const listener of added) listener.begin();
        progress(`${count} long-polls, resting`);
        // In this time what the load has left is given back, which is work too.
        await rest(pick(40_000, 4_000));
        const { cost } = await meter.during(`footprint-${id}`, async () => {
          await rest(pick(10_000, 3_000));
          return { operations: 1 };
        });
        const failure = listeners.find((listener) => listener.failure !== undefined)?.failure;
        if (failure !== undefined) throw failure;
        report(`footprint.${id}`, residentBytes(server.pid) / MIB, undefined, await server.heap());
        if (cost.serverCpuMs !== undefined) report(`footprint.${id}.cpu`, cost.serverCpuMs / cost.seconds);
      }
    } finally {
      for (const listener of listeners) listener?.close();
      crowd.close();
    }
  },
};
