import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { ATTACKS, neighbour } from '../attacks/attacks.ts';
import { type Attack, Battlefield, type Outcomes, PROXY, USERS, type Scene } from '../attacks/battlefield.ts';
import { ADMINISTRATORS_SECRET } from '../attacks/outside.ts';
import { PartnerServer } from '../load/partner-server.ts';
import { WEB } from '../attacks/reach.ts';
import { Crowd, type Person } from '../load/people.ts';
import type { BystanderLatencies, Watch } from '../load/victim.ts';
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
/** Time for memory to be released after all attacks, in milliseconds. */
const COMES_BACK_MS = 40_000;
const LARGE_ROOM = 1_500;
/** A login that nobody attacks takes some 50 ms. From where the account is in use it has to go on, and from elsewhere soon. */
const KNOWN_LOGIN = lower(1_000, 300);
const NEW_LOGIN = lower(6_000, 1_000);
/** Attacks on logins last long enough that somebody may have had to wait. */
const LOGINS_MS = 10_000;
/** What neighbours of an attack on presence say of themselves. */
const STATUS = 'still here';
/** The first block of addresses that belongs to an attack. */
const FIRST_BLOCK = 10;
/** Written by the bench, not by the server. */
const BENCH_LOG = 'server.log';

const figuresOf = ({ id, title }: Pick<Attack, 'id' | 'title'>): Figure[] => [
  { id: `${id}.p95`, title: `${id}: ${title}: p95 of another user's sends`, unit: 'ms', goal: SEND_P95 },
  {
    id: `${id}.gap`,
    title: `${id}: seconds in which the loop was busy for over ${LONG_MS} ms`,
    unit: 's',
    goal: LONG_SECONDS,
  },
  { id: `${id}.memory`, title: `${id}: peak resident memory / limit`, unit: '', goal: MEMORY },
];

/** What else somebody notices of it. */
const moreFiguresOf = ({ id, outcomes: { suffers } }: Attack): Figure[] => {
  if (suffers === 'presence')
    return [{ id: `${id}.presence`, title: `${id}: others whose presence was lost`, unit: '', goal: lower(0, 0) }];
  if (suffers === undefined) return [];
  const slowest = `${id}: slowest login of the account's owner from`;
  return [
    { id: `${id}.known`, title: `${slowest} where it is in use`, unit: 'ms', goal: KNOWN_LOGIN },
    { id: `${id}.new`, title: `${slowest} a new address`, unit: 'ms', goal: NEW_LOGIN },
  ];
};

/** Outcomes that an attack should have and has not, and those that it has too often. */
const shortcomingsOf = (
  { expects, most = {} }: Outcomes,
  found: ReadonlyMap<string, number>,
): { readonly missing: string[]; readonly tooMany: string[] } => ({
  missing: expects.filter((outcome) => !found.has(outcome)),
  tooMany: [...found]
    .filter(([outcome, count]) => count > (most[outcome] ?? (/\b500$/.test(outcome) ? 0 : Number.POSITIVE_INFINITY)))
    .map(([outcome, count]) => `${count} x ${outcome}`),
});

const residentMiB = (pid: number): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024;

/** Files and folders below a folder that others than their owner may read. */
const openFiles = async (folder: string): Promise<string[]> => {
  const names = (await readdir(folder, { recursive: true })).filter((name) => name !== BENCH_LOG);
  // What the database deletes meanwhile is nobody's to read any more.
  const modes = await Promise.all(names.map((name) => stat(join(folder, name)).catch(() => undefined)));
  // Sockets have no contents: who may connect is decided by the folder that they lie in.
  return names.filter((_, index) => {
    const found = modes[index];
    return found?.isSocket() === false && (found.mode & 0o044) !== 0;
  });
};

/** Resolves when there is an archive of a room. */
const archived = async (folder: string): Promise<void> => {
  for (const end = performance.now() + 10_000; performance.now() < end; await sleep(100)) {
    const found = await readdir(join(folder, 'archive'), { recursive: true }).catch(() => []);
    if (found.some((name) => name.endsWith('.jsonl'))) return;
  }
  throw new Error('what was purged is in no archive');
};

/** What ten users or a hundred strangers can do to another user, with the limits as shipped. */
export const attacks: Workload = {
  id: 'attacks',
  title: 'Attacks while another user sends messages',
  limitSeconds: 900,
  server: {
    passwordCost: 'production',
    connections: 'shipped',
    env: {
      // Attackers from many networks come through it: the loopback network has no others.
      TSUDOI_HTTP__TRUSTED_PROXIES: PROXY,
      // The web that previews are made of lies on the loopback network.
      TSUDOI_PREVIEWS__ALLOW_IP_RANGES: `${WEB}/32`,
      // No mail server listens there.
      TSUDOI_EMAIL__SMTP_URL: 'smtp://127.0.0.3:2525',
      TSUDOI_EMAIL__STARTTLS: 'none',
      TSUDOI_EMAIL__FROM: 'noreply@localhost.test',
      // What is off as shipped, and would not be attacked.
      TSUDOI_PRIVACY__USERS_EXPORT: 'true',
      TSUDOI_RETENTION__MODE: 'archive',
      TSUDOI_REGISTRATION__SHARED_SECRET: ADMINISTRATORS_SECRET,
    },
  },
  figures: [
    ...figuresOf({ id: 'quiet', title: 'nobody attacks' }),
    ...ATTACKS.flatMap((attack) => [...figuresOf(attack), ...moreFiguresOf(attack)]),
    { id: 'missed', title: 'attacks that did not reach what they are aimed at', unit: '', goal: lower(0, 0) },
    { id: 'won', title: 'attacks that succeeded in what they must not', unit: '', goal: lower(0, 0) },
    { id: 'end.memory', title: 'resident memory after all attacks / limit', unit: '', goal: MEMORY },
    {
      id: 'F15',
      title: 'F15: files and folders that other users of the machine may read',
      unit: '',
      goal: lower(0, 0),
    },
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
      const administrator = (): Promise<Person> => crowd.registerAdministrator(ADMINISTRATORS_SECRET);
      const rowsOf: Scene['rowsOf'] = async (table) =>
        (await server.sql<{ count: number }>(`select count(*)::int as count from ${table}`))[0]?.count ?? Number.NaN;
      const setupLink = (): string | undefined => server.setupLink();
      const acts = [];
      for (const attack of prepared) {
        progress(`getting ready: ${attack.title}`);
        const users = await crowd.people(USERS);
        const owner = await crowd.register();
        const room = await crowd.createRoom(users[0]!);
        await crowd.joinAll(users.slice(1), room);
        await crowd.joinAll(users, largeRoom);
        const scene: Scene = {
          crowd,
          partner,
          victim: sender,
          owner,
          room,
          largeRoom,
          users,
          administrator,
          rowsOf,
          setupLink,
        };
        acts.push({ ...attack, users, owner, act: await attack.prepare(scene) });
      }
      await server.restart({ TSUDOI_RATE_LIMITS__ENABLED: 'true' });

      victim = new Worker(new URL('../load/victim.ts', import.meta.url), {
        workerData: { endpoint, token: sender.token, room: own },
      });
      /** What the victim notices, and the memory at its peak. */
      const suffer = async (watch: Watch): Promise<BystanderLatencies & { readonly peak: number }> => {
        let peak = 0;
        const timer = setInterval(() => (peak = Math.max(peak, residentMiB(server.pid))), 100);
        victim?.postMessage(watch);
        const [suffering] = (await once(victim!, 'message')) as [BystanderLatencies];
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
      await suffer({ milliseconds: 2_000 });
      const quiet = await suffer({ milliseconds: duration });
      const budgets = await server.memoryBudgets();
      const mayBe = 1.5 * quiet.peak + (budgets.caches + budgets.inFlight) / MIB;
      tell('quiet', quiet, await server.heap());
      let { offset } = server.held(0);
      const [missed, won]: [string[], string[]] = [[], []];
      const neighbours = new Map<string, string>();
      for (const [index, { id, title, users, owner, outcomes, act }] of acts.entries()) {
        progress(title);
        const before = residentMiB(server.pid);
        const field = new Battlefield(endpoint, users, FIRST_BLOCK + index);
        const cpu = server.processMs;
        const running = act(field);
        const logsIn = outcomes.suffers === 'logins' ? owner.userId : undefined;
        const milliseconds = logsIn === undefined ? duration : LOGINS_MS;
        if (outcomes.suffers === 'presence') {
          neighbours.set(id, owner.userId);
          const path = `/_matrix/client/v3/presence/${encodeURIComponent(owner.userId)}/status`;
          await crowd.json('PUT', path, owner.token, { presence: 'online', status_msg: STATUS });
        }
        const { result: suffering, othersShare } = await meter.profiled(id, () => suffer({ milliseconds, logsIn }));
        const spent = (server.processMs - cpu) / milliseconds;
        field.end();
        await Promise.race([running, sleep(3_000)]);
        await sleep(pick(1_500, 500));
        const after = `${before.toFixed(0)} MiB before, ${residentMiB(server.pid).toFixed(0)} after`;
        const found = [...field.outcomes].map(([outcome, count]) => `${count} x ${outcome}`).join(', ');
        const held = server.held(offset);
        offset = held.offset;
        const turns = held.turns.length === 0 ? '' : `; held by ${held.turns.join(', ')}`;
        const others = `others ${(100 * (othersShare ?? Number.NaN)).toFixed(0)} %`;
        const busy = `server busy ${(100 * spent).toFixed(0)} %, ${others}`;
        tell(id, suffering, `${after}; ${busy}${turns}; answered ${found}`);
        if (logsIn !== undefined)
          for (const kind of ['known', 'new'] as const) {
            const took = suffering[`${kind}Logins`];
            report(`${id}.${kind}`, Math.max(...took), undefined, took.map((ms) => ms.toFixed(0)).join(', '));
          }
        const { missing, tooMany } = shortcomingsOf(outcomes, field.outcomes);
        if (missing.length > 0) missed.push(`${id} (${missing.join(', ')})`);
        if (tooMany.length > 0) won.push(`${id} (${tooMany.join(', ')})`);
      }
      report('missed', missed.length, undefined, missed.join('; '));
      report('won', won.length, undefined, won.join('; '));
      progress('memory comes back');
      await sleep(pick(COMES_BACK_MS, 1_000));
      const { held } = await server.memoryBudgets();
      const [rest, mayRest] = [residentMiB(server.pid), 1.5 * quiet.peak + held / MIB];
      const notes = `${rest.toFixed(0)} of ${mayRest.toFixed(0)} MiB; ${await server.heap()}`;
      report('end.memory', rest / mayRest, undefined, notes);
      for (const [id, userId] of neighbours) {
        const sql = `select user_id from presence where user_id = $1 and status_msg = $2`;
        report(`${id}.presence`, 1 - (await server.sql(sql, [userId, STATUS])).length);
      }
      if (wants('F15')) {
        const { token } = await administrator();
        const purge = `/_synapse/admin/v1/purge_history/${encodeURIComponent(own)}`;
        await crowd.json('POST', purge, token, { purge_up_to_ts: Date.now(), delete_local_events: true });
        await archived(server.dataDir);
        const open = await openFiles(server.dataDir);
        report('F15', open.length, undefined, open.slice(0, 10).join(', '));
      }
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
