import { Crowd } from '../load/people.ts';
import { inParallel, sourceAddress, StreamSocket } from '../load/socket.ts';
import { residentBytes } from '../process-times.ts';
import { openFileLimit } from '../server.ts';
import { lower, type Workload } from '../workload.ts';

const MIB = 1024 * 1024;
const WANTED = 10_000;
const SPARE_FILES = 500;
/** Somebody has a telephone and a computer. */
const SOCKETS_PER_PERSON = 2;

/** People who are connected while nothing happens. */
export const idleSockets: Workload = {
  id: 'idle-sockets',
  title: 'Idle WebSockets',
  limitSeconds: 240,
  figures: [
    { id: 'idle-sockets.count', title: 'idle WebSockets', unit: '' },
    { id: 'idle-sockets.each', title: 'resident memory per idle WebSocket', unit: 'KiB' },
    {
      id: 'idle-sockets.total',
      title: `resident memory, ${WANTED} idle WebSockets`,
      unit: 'MiB',
      goal: lower(400, 300),
    },
    { id: 'idle-sockets.cpu', title: 'processor time of the server with idle WebSockets', unit: 'ms/s' },
  ],
  async run({ server, meter, pick, progress, report }) {
    const files = Math.min(openFileLimit(process.pid), openFileLimit(server.pid)) - SPARE_FILES;
    const count = Math.min(pick(WANTED, 1_000), files);
    const crowd = new Crowd(server.endpoint, 32);
    const sockets: StreamSocket[] = [];
    let lost = '';
    try {
      // Whatever a person, a session and a socket bring with them counts; what the program itself needs does not.
      const before = residentBytes(server.pid);
      progress(`making ${Math.ceil(count / SOCKETS_PER_PERSON)} people`);
      const people = await crowd.people(Math.ceil(count / SOCKETS_PER_PERSON));
      const open = async (from: number, to: number): Promise<void> => {
        await inParallel(to - from, 32, async (offset) => {
          const index = from + offset;
          const person = people[index % people.length]!;
          const socket = await StreamSocket.open(server.endpoint, person, sourceAddress(index));
          socket.onLost = (reason) => (lost = reason);
          sockets.push(socket);
          if (sockets.length % 100 === 0) progress(`${sockets.length} of ${count} connected`);
        });
      };
      await open(0, count);
      progress(`${count} connected, resting`);
      const { result, cost } = await meter.during('idle-sockets', async () => {
        await new Promise((resolve) => setTimeout(resolve, pick(10_000, 3_000)));
        return { operations: 1 };
      });
      const after = residentBytes(server.pid);
      if (lost !== '') throw new Error(`a WebSocket was ${lost}`);
      report('idle-sockets.count', result.operations * sockets.length);
      const each = (after - before) / count;
      report('idle-sockets.each', each / 1024);
      // Fewer say little of many: what was left behind by making the people weighs more than they do.
      if (count === WANTED) report('idle-sockets.total', after / MIB);
      if (cost.serverCpuMs !== undefined) report('idle-sockets.cpu', cost.serverCpuMs / cost.seconds);
    } finally {
      for (const socket of sockets) socket.close();
      crowd.close();
    }
  },
};
