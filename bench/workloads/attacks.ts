import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { HttpConnection, requestText, type Endpoint } from '../load/http.ts';
import { Crowd, type Person } from '../load/people.ts';
import { lower, percentile, type Workload } from '../workload.ts';

/** Another user's send must stay below this whatever the attack, in milliseconds. */
const SEND_P95 = lower(100, 50);
const STRANGERS = 100;
const USERS = 10;

interface Battlefield {
  readonly endpoint: Endpoint;
  readonly users: readonly Person[];
  /** Connects from an address of its own for each of a hundred strangers; writes, and reads nothing unless told to. */
  open(stranger: number, text: string | Buffer): Socket;
  readonly isOver: () => boolean;
}

interface Attack {
  readonly id: string;
  readonly title: string;
  run(field: Battlefield): Promise<unknown>;
}

const head = (method: string, path: string, more = ''): string =>
  `${method} ${path} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
const bearer = ({ token }: Person): string => `Authorization: Bearer ${token}\r\n`;
const REFRESH = '/_matrix/client/v3/refresh';

/** Does something again and again for each of `count` attackers until the time is over. */
const swarm = (count: number, { isOver }: Battlefield, act: (attacker: number) => Promise<unknown>): Promise<unknown> =>
  Promise.all(
    Array.from({ length: count }, async (_, attacker) => {
      while (!isOver()) {
        await act(attacker).catch(() => undefined);
        await sleep(5);
      }
    }),
  );

/** Writes to a connection as fast as it takes it, and opens another when it is closed. */
const pour = (field: Battlefield, stranger: number, begin: string, more: Buffer): Promise<void> =>
  new Promise((resolve) => {
    const socket = field.open(stranger, begin);
    const write = (): void => {
      while (!socket.destroyed && !field.isOver() && socket.write(more));
      if (field.isOver()) socket.destroy();
    };
    socket
      .on('drain', write)
      .on('connect', write)
      .on('close', () => resolve());
    socket.resume();
  });

const structure = `{"x":[${'[],'.repeat(300_000)}1]}`;

const ATTACKS: readonly Attack[] = [
  {
    id: 'chunks',
    title: 'strangers send bodies in chunks of one byte',
    run: (field) =>
      swarm(STRANGERS, field, (stranger) =>
        pour(
          field,
          stranger,
          head('POST', REFRESH, 'Transfer-Encoding: chunked\r\n'),
          Buffer.from('1\r\nx\r\n'.repeat(10_000)),
        ),
      ),
  },
  {
    id: 'unread',
    title: 'users ask for large answers and read none',
    run: async (field) => {
      const data = JSON.stringify({ x: 'x'.repeat(900_000) });
      for (const user of field.users) {
        const path = `/_matrix/client/v3/user/${encodeURIComponent(user.userId)}/account_data/bench.big`;
        const length = `Content-Length: ${data.length}\r\n${bearer(user)}`;
        field.open(0, head('PUT', path, length) + data).resume();
      }
      await swarm(USERS, field, async (attacker) => {
        const user = field.users[attacker]!;
        field.open(attacker, head('GET', '/_matrix/client/v3/sync?full_state=true', bearer(user))).pause();
        await sleep(50);
      });
    },
  },
  {
    id: 'unknown',
    title: 'strangers pipeline requests for unknown paths',
    run: (field) =>
      swarm(STRANGERS, field, (stranger) =>
        pour(field, stranger, head('GET', '/nope'), Buffer.from(head('GET', '/nope').repeat(100))),
      ),
  },
  {
    id: 'tokens',
    title: 'strangers try access tokens',
    run: (field) =>
      swarm(STRANGERS, field, async (stranger) => {
        const token = `eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.${'A'.repeat(100)}.${'A'.repeat(86)}`;
        const request = head('GET', '/_matrix/client/v3/account/whoami', `Authorization: Bearer ${token}\r\n`);
        await new Promise<void>((resolve) => {
          const socket = field.open(stranger, request);
          socket.on('data', () => (field.isOver() ? socket.destroy() : socket.write(request)));
          socket.on('close', () => resolve());
        });
      }),
  },
  {
    id: 'structure',
    title: 'users send JSON that is all structure',
    run: (field) =>
      swarm(USERS * 5, field, async (attacker) => {
        const user = field.users[attacker % USERS]!;
        const path = `/_matrix/client/v3/user/${encodeURIComponent(user.userId)}/account_data/bench.structure`;
        const connection = new HttpConnection(field.endpoint, { localAddress: `127.0.1.${1 + (attacker % USERS)}` });
        const raw = head('PUT', path, `${bearer(user)}Content-Length: ${structure.length}\r\n`) + structure;
        await connection.send(raw);
        connection.close();
      }),
  },
  {
    id: 'held',
    title: 'users send bodies that stop one byte before their end',
    run: (field) =>
      swarm(USERS, field, async (attacker) => {
        const user = field.users[attacker]!;
        const path = `/_matrix/client/v3/user/${encodeURIComponent(user.userId)}/account_data/bench.held`;
        field
          .open(attacker, head('PUT', path, `${bearer(user)}Content-Length: 1000001\r\n`) + 'x'.repeat(1_000_000))
          .resume();
        await sleep(20);
      }),
  },
  {
    id: 'idle',
    title: 'strangers open connections and say nothing',
    run: (field) =>
      swarm(STRANGERS, field, async (stranger) => {
        field.open(stranger, '');
        await sleep(20);
      }),
  },
  {
    id: 'passwords',
    title: 'strangers guess passwords',
    run: (field) =>
      swarm(STRANGERS, field, async (stranger) => {
        const connection = new HttpConnection(field.endpoint, { localAddress: `127.0.1.${1 + stranger}` });
        const identifier = { type: 'm.id.user', user: field.users[stranger % USERS]!.userId };
        const body = { type: 'm.login.password', identifier, password: 'a wrong guess' };
        await connection.send(requestText('POST', '/_matrix/client/v3/login', undefined, body));
        connection.close();
      }),
  },
];

const residentMiB = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

/** What ten users or a hundred strangers can do to another user, with the limits as shipped. */
export const attacks: Workload = {
  id: 'attacks',
  title: 'Attacks, while somebody else sends messages',
  limitSeconds: 400,
  server: {
    env: {
      TSUDOI_RATE_LIMITS__ENABLED: 'true',
      TSUDOI_RATE_LIMITS__REGISTRATION__BURST: '100',
      TSUDOI_HTTP__MAX_CONNECTIONS: '30000',
      TSUDOI_HTTP__MAX_CONNECTIONS_PER_ADDRESS: '5000',
    },
  },
  figures: [
    { id: 'quiet.p95', title: 'send p95, quiet', unit: 'ms', goal: SEND_P95 },
    ...ATTACKS.flatMap(({ id, title }) => [
      { id: `${id}.p95`, title: `send p95: ${title}`, unit: 'ms', goal: SEND_P95 } as const,
      {
        id: `${id}.memory`,
        title: `resident memory at its peak: ${title}`,
        unit: 'MiB',
        goal: lower(700, 450),
      } as const,
    ]),
  ],
  async run({ server, pick, progress, report }) {
    const { endpoint } = server;
    const crowd = new Crowd(endpoint, 4);
    let victim: Worker | undefined;
    try {
      const [sender, ...users] = await crowd.people(1 + USERS);
      const room = await crowd.createRoom(sender!);
      victim = new Worker(new URL('../load/victim.ts', import.meta.url), {
        workerData: { endpoint, token: sender!.token, room },
      });
      /** The latencies of somebody's messages, and the memory at its peak. */
      const suffer = async (milliseconds: number): Promise<{ latencies: number[]; peak: number }> => {
        let peak = 0;
        const timer = setInterval(() => (peak = Math.max(peak, residentMiB(server.pid))), 100);
        victim?.postMessage(milliseconds);
        const [latencies] = (await once(victim!, 'message')) as [number[]];
        clearInterval(timer);
        return { latencies, peak };
      };
      const duration = pick(12_000, 4_000);
      await suffer(2_000);
      const quiet = await suffer(duration);
      report('quiet.p95', percentile(quiet.latencies, 0.95), undefined, `${quiet.peak.toFixed(0)} MiB`);
      for (const attack of ATTACKS) {
        progress(attack.title);
        let isOver = false;
        const sockets = new Set<Socket>();
        const field: Battlefield = {
          endpoint,
          users,
          isOver: () => isOver,
          open(stranger, text) {
            const socket = connect({ ...endpoint, localAddress: `127.0.1.${1 + (stranger % 250)}` });
            sockets.add(socket);
            socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
            if (text.length > 0) socket.write(text);
            return socket;
          },
        };
        const running = attack.run(field);
        const { latencies, peak } = await suffer(duration);
        isOver = true;
        for (const socket of sockets) socket.destroy();
        await Promise.race([running, sleep(3_000)]);
        await sleep(pick(3_000, 1_000));
        const worst = Math.max(...latencies);
        const after = residentMiB(server.pid);
        report(`${attack.id}.p95`, percentile(latencies, 0.95), undefined, `longest ${worst.toFixed(0)} ms`);
        report(`${attack.id}.memory`, peak, undefined, `${after.toFixed(0)} MiB afterwards`);
      }
    } finally {
      await victim?.terminate();
      crowd.close();
    }
  },
};
