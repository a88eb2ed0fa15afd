import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { Battlefield, PROXY, USERS, type Attack, type Scene } from '../attacks/battlefield.ts';
import { bytesInFlight, turnsOfTheLoop } from '../attacks/bytes.ts';
import { costs, logins, textsAndOutages } from '../attacks/costs.ts';
import { kept, pages } from '../attacks/kept.ts';
import { federation } from '../attacks/federation.ts';
import { ADMINISTRATORS_SECRET, HarmfulNeighbour, outside } from '../attacks/outside.ts';
import { sharedRooms } from '../attacks/shared-rooms.ts';
import { PartnerServer } from '../load/partner-server.ts';
import { reach, WEB } from '../attacks/reach.ts';
import { Crowd } from '../load/people.ts';
import type { Suffering } from '../load/victim.ts';
import { lower, percentile, type Figure, type Workload } from '../workload.ts';

/** Below this another user's send must stay whatever the attack, and the event loop be free again, in milliseconds. */
const SEND_P95 = lower(100, 50);
const LONG_MS = 100;
/** For so many seconds it may be busy for longer. */
const LONG_SECONDS = lower(1, 0.2);
/**
 * Resident memory, as a share of what it may be: one and a half times what it is when nobody attacks, and all budgets as the server has them
 * (caches, bytes in flight). When all is over: the same, but only what the caches really hold.
 */
const MEMORY = lower(1, 0.7);
const MIB = 1024 ** 2;
/** When all is over, memory has so long to come back, in milliseconds. */
const COMES_BACK_MS = 40_000;
const LARGE_ROOM = 500;
/** The first block of addresses that belongs to an attack. */
const FIRST_BLOCK = 10;
/** Written by the bench, not by the server. */
const BENCH_LOG = 'server.log';

const neighbour = new HarmfulNeighbour();

/** By number of the fault, or else by the mechanism that they try. */
const ATTACKS: readonly Attack[] = [
  ...bytesInFlight,
  ...turnsOfTheLoop,
  ...costs,
  ...kept,
  ...pages,
  ...logins,
  ...textsAndOutages,
  ...reach,
  ...federation,
  ...outside(neighbour),
  ...sharedRooms,
].toSorted((a, b) => (a.id < b.id ? -1 : 1));

const figuresOf = ({ id, title }: Pick<Attack, 'id' | 'title'>): Figure[] => [
  { id: `${id}.p95`, title: `${id}: ${title}: send p95 of somebody else`, unit: 'ms', goal: SEND_P95 },
  {
    id: `${id}.gap`,
    title: `${id}: seconds in which the loop was busy for over ${LONG_MS} ms`,
    unit: 's',
    goal: LONG_SECONDS,
  },
  { id: `${id}.memory`, title: `${id}: resident memory at its peak, of what it may be`, unit: '', goal: MEMORY },
];

const residentMiB = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

/** Files below a folder that others than their owner may read. */
const openFiles = async (folder: string): Promise<number> => {
  const names = (await readdir(folder, { recursive: true })).filter((name) => name !== BENCH_LOG);
  // What the database deletes meanwhile is nobody's to read any more.
  const modes = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
  return modes.filter((found) => found?.isFile() === true && (found.mode & 0o044) !== 0).length;
};

/** What ten users or a hundred strangers can do to another user, with the limits as shipped. */
export const attacks: Workload = {
  id: 'attacks',
  title: 'Attacks, while somebody else sends messages',
  limitSeconds: 900,
  server: {
    env: {
      TSUDOI_HTTP__MAX_CONNECTIONS: '30000',
      TSUDOI_HTTP__MAX_CONNECTIONS_PER_ADDRESS: '5000',
      TSUDOI_HTTP__TRUSTED_PROXIES: PROXY,
      TSUDOI_PREVIEWS__ALLOW_IP_RANGES: `${WEB}/32`,
      // Nobody takes mail there: what waits is what there is.
      TSUDOI_EMAIL__SMTP_URL: 'smtp://127.0.0.3:2525',
      TSUDOI_EMAIL__STARTTLS: 'none',
      TSUDOI_EMAIL__FROM: 'noreply@localhost.test',
      TSUDOI_PRIVACY__USERS_EXPORT: 'true',
      TSUDOI_REGISTRATION__SHARED_SECRET: ADMINISTRATORS_SECRET,
    },
  },
  figures: [
    ...figuresOf({ id: 'quiet', title: 'nobody attacks' }),
    ...ATTACKS.flatMap(figuresOf),
    { id: 'end.memory', title: 'resident memory when all is over, of what it may be', unit: '', goal: MEMORY },
    { id: 'F15', title: 'F15: files that other users of the machine may read', unit: '', goal: lower(0, 0) },
    { id: 'F35', title: 'F35: the database lets the server do what only superusers may', unit: '', goal: lower(0, 0) },
  ],
  async run({ server, meter, pick, progress, report, wants }) {
    const { endpoint } = server;
    const prepared = ATTACKS.filter(({ id }) => wants(id));
    const partner = await PartnerServer.start(endpoint);
    await neighbour.start();
    const registration = join(server.dataDir, 'bench-service.yaml');
    await writeFile(registration, neighbour.registration, { mode: 0o600 });
    await server.restart({ ...partner.environment, ...neighbour.environment(registration) });
    const crowd = new Crowd(endpoint, 8);
    let victim: Worker | undefined;
    try {
      progress('people and rooms');
      const sender = await crowd.register();
      const own = await crowd.createRoom(sender);
      const largeRoom = await crowd.createRoom(sender);
      await crowd.joinAll(await crowd.people(pick(LARGE_ROOM, LARGE_ROOM / 5)), largeRoom);
      const acts = [];
      for (const attack of prepared) {
        progress(`getting ready: ${attack.title}`);
        const users = await crowd.people(USERS);
        const room = await crowd.createRoom(users[0]!);
        await crowd.joinAll(users.slice(1), room);
        await crowd.joinAll(users, largeRoom);
        const scene: Scene = { crowd, partner, victim: sender, room, largeRoom, users };
        acts.push({ ...attack, users, act: await attack.prepare(scene) });
      }
      await server.restart({ TSUDOI_RATE_LIMITS__ENABLED: 'true' });

      victim = new Worker(new URL('../load/victim.ts', import.meta.url), {
        workerData: { endpoint, token: sender.token, room: own },
      });
      /** What the victim notices, and the memory at its peak. */
      const suffer = async (milliseconds: number): Promise<Suffering & { readonly peak: number }> => {
        let peak = 0;
        const timer = setInterval(() => (peak = Math.max(peak, residentMiB(server.pid))), 100);
        victim?.postMessage(milliseconds);
        const [suffering] = (await once(victim!, 'message')) as [Suffering];
        clearInterval(timer);
        return { ...suffering, peak };
      };
      const tell = (id: string, { sends, gaps, peak }: Awaited<ReturnType<typeof suffer>>, notes: string): void => {
        const long = gaps.filter((ms) => ms > LONG_MS).reduce((sum, ms) => sum + ms, 0) / 1_000;
        const longest = (values: readonly number[]): string => `longest ${Math.max(...values).toFixed(0)} ms`;
        report(`${id}.p95`, percentile(sends, 0.95), undefined, longest(sends));
        report(`${id}.gap`, long, undefined, longest(gaps));
        report(`${id}.memory`, peak / mayBe, undefined, `${peak.toFixed(0)} of ${mayBe.toFixed(0)} MiB; ${notes}`);
      };
      const duration = pick(4_000, 2_000);
      await suffer(2_000);
      const quiet = await suffer(duration);
      const budgets = await server.memoryBudgets();
      const mayBe = 1.5 * quiet.peak + (budgets.caches + budgets.inFlight) / MIB;
      tell('quiet', quiet, await server.heap());
      let { offset } = server.held(0);
      for (const [index, { id, title, users, act }] of acts.entries()) {
        progress(title);
        const before = residentMiB(server.pid);
        const field = new Battlefield(endpoint, users, FIRST_BLOCK + index);
        const cpu = server.processMs;
        const running = act(field);
        const suffering = await meter.profiled(id, () => suffer(duration));
        const spent = (server.processMs - cpu) / duration;
        field.end();
        await Promise.race([running, sleep(3_000)]);
        await sleep(pick(1_500, 500));
        const after = `${before.toFixed(0)} MiB before, ${residentMiB(server.pid).toFixed(0)} after`;
        const outcomes = [...field.outcomes].map(([status, count]) => `${count} x ${status}`).join(', ');
        const held = server.held(offset);
        offset = held.offset;
        const turns = held.turns.length === 0 ? '' : `; held by ${held.turns.join(', ')}`;
        tell(id, suffering, `${after}; server busy ${(100 * spent).toFixed(0)} %${turns}; answered ${outcomes}`);
      }
      progress('memory comes back');
      await sleep(pick(COMES_BACK_MS, 1_000));
      const { held } = await server.memoryBudgets();
      const [rest, mayRest] = [residentMiB(server.pid), 1.5 * quiet.peak + held / MIB];
      const notes = `${rest.toFixed(0)} of ${mayRest.toFixed(0)} MiB; ${await server.heap()}`;
      report('end.memory', rest / mayRest, undefined, notes);
      report('F15', await openFiles(server.dataDir));
      const [roles] = await server.sql<{ count: number }>(
        `select count(*)::int as count from pg_stat_activity a join pg_roles r on r.rolname = a.usename
         where a.datname = 'tsudoi' and a.pid <> pg_backend_pid() and (r.rolsuper or r.rolcreaterole or r.rolcreatedb)`,
      );
      report('F35', roles?.count ?? Number.NaN);
    } finally {
      await victim?.terminate();
      crowd.close();
      partner.stop();
      neighbour.stop();
    }
  },
};
