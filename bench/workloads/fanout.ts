import { Audience } from '../load/audience.ts';
import { HttpConnection, requestText } from '../load/http.ts';
import { Crowd, nextBatch, syncPath, UnexpectedAnswer, type Person } from '../load/people.ts';
import { inParallel, StreamSocket } from '../load/socket.ts';
import { familyBytes, residentBytes } from '../process-times.ts';
import { lower, percentile, type Workload, type WorkloadContext } from '../workload.ts';

const LISTENERS = 1_000;
const ROUND_LIMIT_MS = 20_000;
const MIB = 1024 * 1024;

interface Scene {
  readonly crowd: Crowd;
  readonly sender: Person;
  readonly listeners: readonly Person[];
  readonly room: string;
}

async function makeScene({ server, progress }: WorkloadContext): Promise<Scene> {
  const crowd = new Crowd(server.endpoint, 32);
  progress(`making ${LISTENERS} people`);
  const sender = await crowd.register();
  const listeners = await crowd.people(LISTENERS);
  const room = await crowd.createRoom(sender);
  progress(`${LISTENERS} people join`);
  await crowd.joinAll(listeners, room);
  return { crowd, sender, listeners, room };
}

/** One message after the other, each when everybody has had the last one. */
async function rounds(
  id: string,
  { meter, pick, progress, report }: WorkloadContext,
  { crowd, sender, room }: Scene,
  audience: Audience,
): Promise<void> {
  const round = async (label: string): Promise<void> => {
    await audience.round(`marker ${label}.`, ROUND_LIMIT_MS, () =>
      crowd.message(sender, room, `marker ${label}.`, `${id}-${label}`),
    );
    // Until all of them listen again.
    await new Promise((resolve) => setTimeout(resolve, 400));
  };
  for (let i = 0; i < 3; i += 1) await round(`warm-${i}`);
  audience.delays.length = 0;
  const count = pick(25, 8);
  const { cost } = await meter.during(id, async () => {
    for (let i = 0; i < count; i += 1) {
      progress(`message ${i + 1} of ${count}, p50 so far ${percentile(audience.delays, 0.5).toFixed(0)} ms`);
      await round(String(i));
    }
    return { operations: count };
  });
  report(`${id}.p50`, percentile(audience.delays, 0.5), cost, `cost per message to ${LISTENERS}`);
  report(`${id}.p99`, percentile(audience.delays, 0.99));
  if (cost.loopDelayP99Ms !== undefined) report(`${id}.loop`, cost.loopDelayP99Ms);
}

/** Long-polls, each on a connection of its own, asked again as soon as it was answered. */
export const fanoutPolls: Workload = {
  id: 'fanout-polls',
  title: `Fan-out to ${LISTENERS} long-polls`,
  limitSeconds: 180,
  figures: [
    { id: 'fanout-polls.p50', title: `fan-out to ${LISTENERS} long-polls, p50`, unit: 'ms', goal: lower(150, 50) },
    { id: 'fanout-polls.p99', title: `fan-out to ${LISTENERS} long-polls, p99`, unit: 'ms', goal: lower(400, 120) },
    { id: 'fanout-polls.loop', title: 'event-loop delay p99, fan-out to long-polls', unit: 'ms', goal: lower(50, 15) },
    {
      id: 'memory.server',
      title: `resident memory, ${LISTENERS} users long-polling`,
      unit: 'MiB',
      goal: lower(1024, 512),
    },
    { id: 'memory.postgres', title: 'memory of the embedded PostgreSQL with all of them long-polling', unit: 'MiB' },
  ],
  async run(context) {
    const { server, progress, report } = context;
    const scene = await makeScene(context);
    const audience = new Audience(LISTENERS);
    const connections = scene.listeners.map(() => new HttpConnection(server.endpoint, { timeoutMs: 90_000 }));
    let listening = true;
    try {
      let ready = 0;
      const positions: string[] = [];
      const filters: string[] = [];
      await inParallel(LISTENERS, 32, async (index) => {
        const person = scene.listeners[index]!;
        filters[index] = await scene.crowd.storeFilter(person);
        const first = await connections[index]!.send(
          requestText('GET', syncPath(filters[index]!, undefined, 0), person.token),
        );
        if (first.status !== 200) throw new UnexpectedAnswer('the initial sync', first);
        positions[index] = nextBatch(first.body);
        ready += 1;
        if (ready % 100 === 0) progress(`${ready} of ${LISTENERS} are in`);
      });
      const listen = async (index: number): Promise<void> => {
        const { token } = scene.listeners[index]!;
        while (listening) {
          const path = syncPath(filters[index]!, positions[index], 30_000);
          const answer = await connections[index]!.send(requestText('GET', path, token));
          if (answer.status !== 200) throw new UnexpectedAnswer('a long-poll', answer);
          audience.heard(index, answer.body);
          positions[index] = nextBatch(answer.body);
        }
      };
      for (let index = 0; index < LISTENERS; index += 1) {
        listen(index).catch((error: unknown) => {
          if (listening) audience.lost(error as Error);
        });
      }
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      await rounds('fanout-polls', context, scene, audience);
      report('memory.server', residentBytes(server.pid) / MIB, undefined, await server.heap());
      report('memory.postgres', familyBytes(server.postgresPid) / MIB);
    } finally {
      listening = false;
      for (const connection of connections) connection.close();
      scene.crowd.close();
    }
  },
};

/** The same to WebSockets. */
export const fanoutSockets: Workload = {
  id: 'fanout-sockets',
  title: `Fan-out to ${LISTENERS} WebSockets`,
  limitSeconds: 180,
  figures: [
    { id: 'fanout-sockets.p50', title: `fan-out to ${LISTENERS} WebSockets, p50`, unit: 'ms', goal: lower(50, 15) },
    { id: 'fanout-sockets.p99', title: `fan-out to ${LISTENERS} WebSockets, p99`, unit: 'ms', goal: lower(120, 40) },
    {
      id: 'fanout-sockets.loop',
      title: 'event-loop delay p99, fan-out to WebSockets',
      unit: 'ms',
      goal: lower(50, 15),
    },
  ],
  async run(context) {
    const { server, progress } = context;
    const scene = await makeScene(context);
    const audience = new Audience(LISTENERS);
    const sockets: StreamSocket[] = [];
    try {
      await inParallel(LISTENERS, 32, async (index) => {
        const socket = await StreamSocket.open(server.endpoint, scene.listeners[index]!);
        socket.onFrame = (frame) => audience.heard(index, frame);
        socket.onLost = (reason) => audience.lost(new Error(`a WebSocket was ${reason}`));
        sockets.push(socket);
        if (sockets.length % 100 === 0) progress(`${sockets.length} of ${LISTENERS} are in`);
      });
      await new Promise((resolve) => setTimeout(resolve, 1_000));
      await rounds('fanout-sockets', context, scene, audience);
    } finally {
      for (const socket of sockets) socket.close();
      scene.crowd.close();
    }
  },
};
