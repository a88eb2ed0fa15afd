import { Audience } from '../load/audience.ts';
import { HttpConnection, requestText } from '../load/http.ts';
import { Crowd, nextBatch, type Person, SIXTY, syncPath, UnexpectedAnswer } from '../load/people.ts';
import { slidingBody, SlidingClient } from '../load/sliding.ts';
import { inParallel } from '../load/socket.ts';
import { lower, percentile, type Workload } from '../workload.ts';

const ROOMS = 2_000;
const WINDOW = 20;
/** Connections of one device that are told of one message. */
const CONNECTIONS = 16;
const ROUND_LIMIT_MS = 20_000;
const LISTENERS = 200;

/** Somebody who is in very many rooms opens the app. */
export const slidingSync: Workload = {
  id: 'sliding-sync',
  title: `Sliding sync of an account in ${ROOMS} rooms`,
  limitSeconds: 300,
  figures: [
    { id: 'sliding-sync.warm', title: `first window of ${ROOMS} rooms, warm`, unit: 'ms', goal: lower(100, 40) },
    {
      id: 'sliding-sync.cold',
      title: `first window of ${ROOMS} rooms, after a restart`,
      unit: 'ms',
      goal: lower(400, 250),
    },
    { id: 'sliding-sync.delta', title: 'server CPU per message in sliding sync', unit: 'ms', goal: lower(5, 2) },
    {
      id: 'sliding-sync.statements',
      title: 'SQL statements per message in sliding sync',
      unit: '',
      goal: lower(0.05, 0.01),
    },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 32);
    const connections: HttpConnection[] = [];
    const connect = (): HttpConnection => {
      const connection = new HttpConnection(server.endpoint);
      connections.push(connection);
      return connection;
    };
    try {
      const [reader, ...others] = (await crowd.people(9)) as [Person, ...Person[]];
      const rooms: string[] = [];
      await inParallel(ROOMS, 16, async (index) => {
        const creator = others[index % others.length]!;
        const room = await crowd.createRoom(creator, { name: `room ${index}` });
        await crowd.join(reader, room);
        await crowd.message(creator, room, SIXTY, `first-${index}`);
        rooms.push(room);
        if (rooms.length % 100 === 0) progress(`${rooms.length} of ${ROOMS} rooms`);
      });
      const first = async (client: SlidingClient): Promise<number> => {
        client.reset();
        const start = performance.now();
        const { body } = await client.poll(0);
        const took = performance.now() - start;
        const answer = JSON.parse(body.toString()) as { lists: { all_rooms: { count: number } }; rooms: object };
        const { count } = answer.lists.all_rooms;
        const told = Object.keys(answer.rooms).length;
        if (count !== ROOMS || told !== WINDOW) throw new Error(`${told} rooms of ${count} are told`);
        return took;
      };
      const cold: number[] = [];
      for (let i = 0; i < pick(3, 1); i += 1) {
        progress(`restart ${i + 1}`);
        await server.restart();
        const { cost } = await meter.during('sliding-sync-cold', async () => {
          cold.push(await first(new SlidingClient(connect(), reader, slidingBody(WINDOW))));
          return { operations: 1 };
        });
        if (i === 0) report('sliding-sync.cold', cold[0]!, cost);
      }
      const warm: number[] = [];
      const client = new SlidingClient(connect(), reader, slidingBody(WINDOW));
      for (let i = 0; i < 3; i += 1) await first(client);
      const { cost } = await meter.during('sliding-sync-warm', async () => {
        for (let i = 0; i < pick(20, 8); i += 1) warm.push(await first(client));
        return { operations: warm.length };
      });
      report('sliding-sync.warm', percentile(warm, 0.5), cost);

      const clients = Array.from(
        { length: CONNECTIONS },
        (_, index) => new SlidingClient(connect(), reader, slidingBody(WINDOW, `c${index}`)),
      );
      const everyone = async (): Promise<void> => {
        for (const one of clients) await one.poll(0);
      };
      const told = rooms.slice(0, pick(12, 6));
      // Of a room that was not told of since the restart, what is unread there is counted first.
      for (const [index, room] of told.entries()) await crowd.message(reader, room, SIXTY, `in-window-${index}`);
      await everyone();
      const costs: { cpu: number; statements: number }[] = [];
      for (const [index, room] of told.entries()) {
        await crowd.message(reader, room, SIXTY, `delta-${index}`);
        // Until what follows the message by itself is done: what counts is the telling.
        await new Promise((resolve) => setTimeout(resolve, 700));
        const { cost: delta } = await meter.during('sliding-sync-delta', async () => {
          await everyone();
          return { operations: CONNECTIONS };
        });
        costs.push({ cpu: delta.serverCpuMs ?? Number.NaN, statements: delta.statements });
      }
      report(
        'sliding-sync.delta',
        percentile(
          costs.map(({ cpu }) => cpu),
          0.5,
        ),
      );
      // The minimum leaves out other work of the machine.
      report('sliding-sync.statements', Math.min(...costs.map(({ statements }) => statements)));
    } finally {
      for (const connection of connections) connection.close();
      crowd.close();
    }
  },
};

/** The same message to those who long-poll /sync, and to those who long-poll sliding sync. */
export const slidingFanout: Workload = {
  id: 'sliding-fanout',
  title: `Fan-out to ${LISTENERS} connections of sliding sync`,
  limitSeconds: 180,
  figures: [
    { id: 'sliding-fanout.p50', title: `fan-out to ${LISTENERS} sliding connections, p50`, unit: 'ms' },
    { id: 'sliding-fanout.p99', title: `fan-out to ${LISTENERS} sliding connections, p99`, unit: 'ms' },
    { id: 'sliding-fanout.sync', title: `fan-out to ${LISTENERS} long-polls of /sync, p99`, unit: 'ms' },
    { id: 'sliding-fanout.ratio', title: 'fan-out p99: sliding sync / long-polls', unit: '', goal: lower(1.3, 1.1) },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 32);
    const connections = Array.from(
      { length: LISTENERS },
      () => new HttpConnection(server.endpoint, { timeoutMs: 90_000 }),
    );
    try {
      progress(`making ${LISTENERS} people`);
      const sender = await crowd.register();
      const listeners = await crowd.people(LISTENERS);
      const room = await crowd.createRoom(sender);
      await crowd.joinAll(listeners, room);
      const filter = await Promise.all(listeners.map((person) => crowd.storeFilter(person)));
      const delays = { sync: [] as number[], sliding: [] as number[] };
      const rounds = async (kind: keyof typeof delays, label: string): Promise<void> => {
        const audience = new Audience(LISTENERS);
        let listening = true;
        const sinces: string[] = [];
        const clients = listeners.map(
          (person, index) => new SlidingClient(connections[index]!, person, slidingBody(20)),
        );
        const ask = async (index: number, timeout: number): Promise<Buffer> => {
          if (kind === 'sliding') return (await clients[index]!.poll(timeout)).body;
          const path = syncPath(filter[index]!, sinces[index], timeout);
          const answer = await connections[index]!.send(requestText('GET', path, listeners[index]!.token));
          if (answer.status !== 200) throw new UnexpectedAnswer('a long-poll', answer);
          sinces[index] = nextBatch(answer.body);
          return answer.body;
        };
        await inParallel(LISTENERS, 16, async (index) => void (await ask(index, 0)));
        const loops = listeners.map(async (_, index) => {
          while (listening) audience.heard(index, await ask(index, 5_000));
        });
        for (const loop of loops) loop.catch((error: unknown) => listening && audience.lost(error as Error));
        const once = async (name: string): Promise<void> => {
          await audience.round(`marker ${name}.`, ROUND_LIMIT_MS, () =>
            crowd.message(sender, room, `marker ${name}.`, name),
          );
          await new Promise((resolve) => setTimeout(resolve, 200));
        };
        await new Promise((resolve) => setTimeout(resolve, 500));
        for (let i = 0; i < 3; i += 1) await once(`${label}-warm-${i}`);
        audience.delays.length = 0;
        const count = pick(20, 8);
        const { cost } = await meter.during(label, async () => {
          for (let i = 0; i < count; i += 1) await once(`${label}-${i}`);
          return { operations: count };
        });
        delays[kind].push(...audience.delays);
        if (kind === 'sliding') report('sliding-fanout.p50', percentile(delays.sliding, 0.5), cost);
        listening = false;
        await crowd.message(sender, room, 'the end', `${label}-end`);
        await Promise.allSettled(loops);
      };
      // By turns, so that what else the machine does falls on both.
      for (let turn = 0; turn < pick(2, 1); turn += 1)
        for (const kind of ['sync', 'sliding'] as const) {
          progress(`${kind}, turn ${turn + 1}`);
          await rounds(kind, `${kind}-${turn}`);
        }
      const [sliding, sync] = [percentile(delays.sliding, 0.99), percentile(delays.sync, 0.99)];
      report('sliding-fanout.p99', sliding);
      report('sliding-fanout.sync', sync);
      report('sliding-fanout.ratio', sliding / sync);
    } finally {
      for (const connection of connections) connection.close();
      crowd.close();
    }
  },
};
