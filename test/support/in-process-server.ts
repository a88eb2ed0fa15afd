import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import type { PgPool } from 'bullmq';
import { type ComposedApplication, createApplication, type Extensions } from '#src/app/application.ts';
import type { ServerServices } from '#src/app/composition.ts';
import type { Config } from '#src/app/config/config.ts';
import { loadConfig } from '#src/app/config/load.ts';
import { PrometheusMetrics } from '#src/app/ground/metrics.ts';
import { type Random, systemRandom } from '#src/kernel/random.ts';
import type { RateLimit } from '#src/kernel/limits/rate-limiter.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { formatSigningKey, generateSigningKey, type SigningKey } from '#src/protocol/signing/signing-key.ts';
import { encodeSyncToken } from '#src/protocol/wire/position.ts';
import { makeSessionKey } from '#src/services/accounts/sessions/session-key.ts';
import { Database } from '#src/storage/database.ts';
import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import { cutConnections, dropDatabase, migratedDatabase, query } from './database.ts';
import { ask, type Answer, type Sent } from './http.ts';
import { ManualClock } from './manual-clock.ts';
import { MortalTimers } from '#test/support/mortal/mortal-timers.ts';
import { type Line, recordingLogger } from './recording-logger.ts';
import { until } from './until.ts';

export type { Answer } from './http.ts';

/** The default name of servers in the tests' process. */
export const SERVER = 'test';
/** Their default signing key. */
export const SIGNING_KEY = generateSigningKey((count) => systemRandom.bytes(count));
const SESSION_KEY = makeSessionKey().privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;

/** The default configuration. */
const DEFAULTS = loadConfig([], {});

type Changes<T> = T extends readonly unknown[] ? T : T extends object ? { readonly [K in keyof T]?: Changes<T[K]> } : T;
/** Changes of the configuration, in the spelling of `Config`. */
export type ConfigChanges = Changes<Config>;

/** A body as a test reads it: what is expected in it the test says itself. */
// oxlint-disable-next-line typescript/no-explicit-any
export type Json = any;

export interface InProcessServerOptions {
  readonly serverName?: string;
  readonly signingKey?: SigningKey;
  /** A clock that it shares with others; one of its own when left out. */
  readonly clock?: ManualClock;
  readonly config?: ConfigChanges;
  /** Groups of rate limits; other groups are not limited. No limits when left out. */
  readonly rateLimits?: Readonly<Record<string, RateLimit>>;
  readonly extensions?: Extensions;
  readonly random?: Random;
  /** Registrations of application services, in the specification's spelling: a file each. */
  readonly appservices?: readonly object[];
  /** Uses the system clock, for tests of time in PostgreSQL or the queues; by default the clock is manual. */
  readonly timers?: Timers;
  /** The URL of its database, if it goes through a proxy that a test can cut. */
  readonly reach?: (databaseUrl: string) => Promise<string>;
  /** Called with the services before they start, each time. */
  readonly adjust?: (services: ServerServices) => void;
}

/** A user who is logged in on a device. */
export interface Session {
  readonly userId: string;
  readonly deviceId: string;
  readonly token: string;
}

/** One run of the server. */
interface Life {
  readonly application: ComposedApplication;
  readonly database: Database;
  /** The connections of its job queues. */
  readonly queueConnections: readonly PgPool[];
  readonly metrics: PrometheusMetrics;
  readonly timers: MortalTimers;
}

/** The running servers. */
export const runningServers = new Set<InProcessServer>();

/** Reads from PostgreSQL the running statements of a server, and its unfinished jobs. */
const STATEMENTS = `select state, wait_event, left(query, 120) as query, round(extract(epoch from now() - state_change)) as seconds
  from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and state <> 'idle'`;
const JOBS_LEFT = `select queue, id, name, state, attempts_made as tried, locked_until_ms - extract(epoch from now()) * 1000 as lock_ms
  from bullmq.job where state <> 'completed'`;

/** For what all tests do from one address. */
const UNLIMITED: RateLimit = { perSecond: 1_000_000, burst: 1_000_000 };
/** The application service of `as-...`. */
const BRIDGE = registrationOf('tests', { namespaces: { users: [{ exclusive: false, regex: '@as-' }] } });
const NAME = /^[a-z][a-z0-9-]*(\/[A-Za-z0-9_-]+)?$/;

/**
 * The real application in this process, on a database of its own: time stands still until a test moves `clock`, logs are kept, passwords
 * are cheap. Every answer is held against the specification's schema.
 *
 * A token that is just a name stands for a user of that name, who is registered and logged in when it is used first: `alice`,
 * `alice/PHONE` on another device, `guest-...` a guest, `admin-...` an administrator, `suspended-...` a suspended user,
 * `exempt-...` a user without rate limits, `as-...` a user in whose name an application service asks. Other tokens are sent as they
 * are.
 */
export class InProcessServer {
  readonly clock: ManualClock;
  readonly serverName: string;
  readonly lines: Line[] = [];
  readonly #options: InProcessServerOptions;
  readonly #folder: string;
  readonly #databaseUrl: string;
  readonly #accounts = new Map<string, Promise<void>>();
  readonly #sessions = new Map<string, Promise<Session>>();
  #life!: Life;
  #url = '';
  #count = 0;
  /** Unanswered requests. */
  readonly #asked = new Set<string>();
  #requests = 0;
  /** The part of the server that `idle` waits for. */
  #idlesFor: string | undefined;

  /** Whether the data are its own, and are deleted with it. */
  readonly #isOwner: boolean;

  private constructor(options: InProcessServerOptions, folder: string, databaseUrl: string, isOwner = true) {
    this.#options = options;
    this.clock = options.clock ?? new ManualClock();
    this.serverName = options.serverName ?? SERVER;
    this.#folder = folder;
    this.#databaseUrl = databaseUrl;
    this.#isOwner = isOwner;
  }

  static async start(options: InProcessServerOptions = {}): Promise<InProcessServer> {
    const folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-app-'));
    await writeFile(join(folder, 'signing.key'), `${formatSigningKey(options.signingKey ?? SIGNING_KEY)}\n`);
    await writeFile(join(folder, 'session.key'), SESSION_KEY, { mode: 0o600 });
    await mkdir(join(folder, 'appservices'));
    const server = new InProcessServer(options, folder, await migratedDatabase());
    await server.registerAppservices(options.appservices ?? []);
    await server.#live();
    return server;
  }

  /** The composed application. A new one after a restart. */
  get services(): ServerServices {
    return this.#life.application.services;
  }

  /** Its base URL, without a slash at the end. */
  get url(): string {
    return this.#url;
  }

  /** The port at which it listens with TLS; undefined while it does not run, or has no certificate. */
  get tlsPort(): number | undefined {
    if (!runningServers.has(this)) return undefined;
    const address = this.lines.findLast(({ message }) => message === 'listening with TLS')?.fields['address'];
    return typeof address === 'string' ? Number(new URL(address).port) : undefined;
  }

  /** Whether it runs: it was not killed, or was revived. */
  get isRunning(): boolean {
    return runningServers.has(this);
  }

  /** Its database, for direct queries of a test. */
  get databaseUrl(): string {
    return this.#databaseUrl;
  }

  /** The data directory. */
  get folder(): string {
    return this.#folder;
  }

  /** Its metrics, in Prometheus' format. */
  get metrics(): PrometheusMetrics {
    return this.#life.metrics;
  }

  async #live(): Promise<void> {
    const { clock } = this;
    const logger = recordingLogger(this.lines);
    const metrics = new PrometheusMetrics();
    const timers = new MortalTimers(this.#options.timers ?? clock);
    const url = (await this.#options.reach?.(this.#databaseUrl)) ?? this.#databaseUrl;
    const database = await Database.open({ url, logger, metrics, clock });
    const queueConnections: PgPool[] = [];
    const connect = database.queueConnections.bind(database);
    database.queueConnections = (size) => {
      const pool = connect(size);
      queueConnections.push(pool);
      return pool;
    };
    const random = this.#options.random ?? systemRandom;
    const application = await createApplication(
      { config: this.#config(), logger, metrics, clock, timers, random, database },
      this.#options.extensions,
    );
    this.#life = { application, database, queueConnections, metrics, timers };
    this.#options.adjust?.(application.services);
    this.#url = (await application.start()).address;
    runningServers.add(this);
  }

  #config(): Config {
    const { config = {}, rateLimits } = this.#options;
    const usual: ConfigChanges = {
      serverName: this.serverName,
      dataDir: this.#folder,
      signingKeyFile: join(this.#folder, 'signing.key'),
      publicBaseUrl: `https://${this.serverName}`,
      http: { port: 0 },
      password: { cost: 'low' },
      registration: { enabled: true, guests: true },
      // The clock is manual: jobs that pause between statements would wait for it.
      retention: { pauseMs: 0 },
      appservices: { files: [join(this.#folder, 'appservices', '*.yaml')] },
    };
    return {
      ...(changed(changed(DEFAULTS, usual), config) as Config),
      rateLimits: { enabled: rateLimits !== undefined, buckets: { connection: UNLIMITED, ...rateLimits } },
    };
  }

  /** Writes these registrations of application services, and takes away those that were there: read on the next start or `reload`. */
  async registerAppservices(registrations: readonly object[]): Promise<void> {
    const folder = join(this.#folder, 'appservices');
    for (const name of await readdir(folder)) await rm(join(folder, name));
    for (const [index, registration] of registrations.entries())
      await writeFile(join(folder, `${String(index).padStart(3, '0')}.yaml`), JSON.stringify(registration));
  }

  /** Reloads its files, as SIGHUP does. */
  async reload(): Promise<void> {
    await this.#life.application.reload?.();
  }

  /** Resolves when everything that was begun or is due by now is done: writes, followers, jobs, timers. */
  async idle(): Promise<void> {
    do {
      this.#idlesFor = 'the clock';
      await this.clock.advance(0);
      await this.clock.runDueUntil(this.#life.application.idle((name) => (this.#idlesFor = name)));
    } while (this.clock.isDue);
    this.#idlesFor = undefined;
  }

  /** What it waits for at this moment, in lines. */
  waitsFor(): string {
    const troubles = this.lines.filter(({ level }) => level === 'warn' || level === 'error').slice(-10);
    return [
      `not answered: ${[...this.#asked].join(', ') || 'nothing'}`,
      `idle waits for: ${this.#idlesFor ?? 'nothing'}`,
      `jobs that are being done: ${this.services.queues.running.join(', ') || 'none'}`,
      `timers are due in: ${this.clock.dueIn.join(', ')} ms`,
      ...troubles.map(({ message, fields }) => `logged: ${message} ${inLine(fields)}`),
    ].join('\n');
  }

  /** What it does in the database at this moment, and which jobs are left there, in lines. */
  async doesInDatabase(): Promise<string> {
    const told = await Promise.all([STATEMENTS, JOBS_LEFT].map((text) => query(this.#databaseUrl, text)));
    return told.flat().map(inLine).join('\n');
  }

  /** Stops, and starts again a minute later on the same data, with nothing in memory. */
  async restart(): Promise<void> {
    await this.#end();
    await this.clock.advance(60_000);
    await this.#live();
  }

  /** Starts another process on the same data, with nothing in memory: it takes over the writer's shards. To be stopped before this one. */
  async beside(): Promise<InProcessServer> {
    const other = new InProcessServer(this.#options, this.#folder, this.#databaseUrl, false);
    await other.#live();
    return other;
  }

  /** Stops it at any point, as SIGKILL does. `revive` starts it again. */
  async kill(): Promise<void> {
    runningServers.delete(this);
    const { application, database, queueConnections, metrics, timers } = this.#life;
    const { http, loopWatch, queues } = application.services;
    strikeDumb(database, queueConnections);
    await cutConnections(this.#databaseUrl);
    timers.hurry();
    await Promise.all([http.drain(0), queues.close()]);
    timers.end();
    loopWatch.close();
    application.memorySaver?.close();
    metrics.close();
  }

  /** Starts it again after `kill`. */
  revive(): Promise<void> {
    return this.#live();
  }

  async stop(): Promise<void> {
    if (this.isRunning) await this.#end();
    if (!this.#isOwner) return;
    await dropDatabase(this.#databaseUrl);
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #end(): Promise<void> {
    const { application, database, metrics, timers } = this.#life;
    await application.drain();
    timers.end();
    await database.close();
    metrics.close();
    runningServers.delete(this);
  }

  /** The session of a token name. */
  session(name: string): Promise<Session> {
    const known = this.#sessions.get(name);
    if (known !== undefined) return known;
    const made = this.#logIn(name);
    this.#sessions.set(name, made);
    return made;
  }

  async #logIn(name: string): Promise<Session> {
    const [localpart = '', deviceId = 'DEVICE'] = name.split('/');
    await this.account(localpart);
    const userId = `@${localpart}:${this.serverName}`;
    if (localpart.startsWith('as-')) {
      await writeFile(join(this.#folder, 'appservices', `${BRIDGE.id}.yaml`), JSON.stringify(BRIDGE));
      await this.reload();
      return { userId, deviceId: '', token: BRIDGE.as_token };
    }
    const { accessToken } = await this.services.sessions.createSession({ userId, deviceId });
    return { userId, deviceId, token: accessToken };
  }

  /** Makes sure that there are accounts of these names. */
  async account(...names: readonly string[]): Promise<void> {
    await Promise.all(
      names.map((name) => {
        const known = this.#accounts.get(name);
        if (known !== undefined) return known;
        const made = this.#register(name);
        this.#accounts.set(name, made);
        return made;
      }),
    );
  }

  async #register(localpart: string): Promise<void> {
    const { database, users } = this.services;
    const userId = `@${localpart}:${this.serverName}`;
    if (await users.exists(userId)) return;
    const kind = { isGuest: localpart.startsWith('guest'), admin: localpart.startsWith('admin') };
    await database.write(async (tx) => {
      await users.create(tx, { userId, localpart, passwordHash: null, ...kind });
      if (localpart.startsWith('suspended-')) await users.change(tx, userId, { suspended: true });
      if (localpart.startsWith('exempt-')) await users.change(tx, userId, { rateLimitExempt: true });
    });
  }

  /**
   * One request; `path` is under /_matrix/client/v3, unless it says otherwise: /v1/..., /unstable/..., /_...
   *
   * @throws when the server failed (500), with the reason that it logged
   */
  async ask(token: string | undefined, method: string, path: string, body?: unknown, sent: Sent = {}): Promise<Answer> {
    const answer = await this.#waitingFor(`${method} ${path}`, async () => {
      const session = token !== undefined && NAME.test(token) ? await this.session(token) : undefined;
      const url = urlOf(path);
      const target =
        session?.token === BRIDGE.as_token ? `${url}${url.includes('?') ? '&' : '?'}user_id=${session.userId}` : url;
      return ask(this.url, method, target, {
        token: session?.token ?? token,
        ...(body === undefined ? {} : { body }),
        ...sent,
      });
    });
    if (answer.status !== 500) return answer;
    const id: unknown = answer.body.request_id;
    const isCause = ({ level, fields }: Line): boolean => level === 'error' && fields['request_id'] === id;
    const { fields } = await until('the log line of a failed request', () => this.lines.find(isCause));
    throw new Error(`${method} ${path} failed`, { cause: fields['err'] });
  }

  async #waitingFor<T>(what: string, work: () => Promise<T>): Promise<T> {
    const name = `${what} (${(this.#requests += 1)})`;
    this.#asked.add(name);
    try {
      return await work();
    } finally {
      this.#asked.delete(name);
    }
  }

  /** One request with a raw body, JSON or not. */
  async askRaw(token: string, method: string, path: string, raw: string): Promise<Pick<Answer, 'status' | 'body'>> {
    const { status, body } = await this.ask(token, method, path, undefined, { raw });
    return { status, body };
  }

  /** A request that has to succeed. */
  async must(token: string | undefined, method: string, path: string, body?: unknown): Promise<Json> {
    const answer = await this.ask(token, method, path, body);
    if (answer.status !== 200) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async room(creator: string, wish: object = {}): Promise<string> {
    return (await this.must(creator, 'POST', '/createRoom', wish)).room_id;
  }

  async say(token: string, roomId: string, text: string): Promise<string> {
    this.#count += 1;
    const content = { msgtype: 'm.text', body: text };
    return (await this.must(token, 'PUT', `/rooms/${roomId}/send/m.room.message/t${this.#count}`, content)).event_id;
  }

  async setState(token: string, roomId: string, type: string, content: object, stateKey = ''): Promise<string> {
    const path = `/rooms/${roomId}/state/${type}/${encodeURIComponent(stateKey)}`;
    return (await this.must(token, 'PUT', path, content)).event_id;
  }

  async join(token: string, ...roomIds: string[]): Promise<void> {
    for (const roomId of roomIds) await this.must(token, 'POST', `/rooms/${roomId}/join`, {});
  }

  /** Sets a user's name and picture in all their rooms; what is left out is removed. */
  async setProfile(
    name: string,
    profile: { readonly displayname?: string; readonly avatar_url?: string },
  ): Promise<void> {
    const { userId } = await this.session(name);
    for (const key of ['displayname', 'avatar_url'] as const) {
      const path = `/profile/${userId}/${key}`;
      if (profile[key] === undefined) await this.must(name, 'DELETE', path);
      else await this.must(name, 'PUT', path, { [key]: profile[key] });
    }
    await this.idle();
  }

  /** The bodies of the messages of a page. */
  bodies(page: Json): string[] {
    return page.chunk.filter((event: Json) => event.type === 'm.room.message').map((event: Json) => event.content.body);
  }

  /** The token that /sync would give out now. */
  syncToken(): string {
    return encodeSyncToken({ vector: this.services.writer.committed(), ephemeral: { run: 'run', count: 0 } });
  }

  /** The names of the statements that `work` sent outside of transactions. What was begun before is done first. */
  async statementNames(work: () => Promise<unknown>): Promise<string[]> {
    await this.idle();
    const { database } = this.services;
    const query = database.query.bind(database);
    const names: string[] = [];
    database.query = (statement, values) => {
      names.push(statement.name);
      return query(statement, values);
    };
    await work();
    database.query = query;
    return names;
  }

  /** How many statements `work` sent. What was begun before is done first. */
  async statements(work: () => Promise<unknown>): Promise<number> {
    await this.idle();
    const before = this.services.database.statements();
    await work();
    return this.services.database.statements() - before;
  }
}

const urlOf = (path: string): string => (/^\/(v\d|unstable)\//.test(path) ? `/_matrix/client${path}` : path);

const inLine = (value: object): string => inspect(value, { breakLength: Infinity });

const isSection = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A configuration with some keys changed. */
const changed = (base: unknown, changes: object): unknown => {
  const entries = Object.entries(changes).map(([key, value]) => {
    const before = (base as Record<string, unknown>)[key];
    return [key, isSection(value) && isSection(before) ? changed(before, value) : value] as const;
  });
  return { ...(base as object), ...Object.fromEntries(entries) };
};

/** A database that does not answer any more: callers wait without end, as in a process that was killed. */
const strikeDumb = (database: Database, queueConnections: readonly PgPool[]): void => {
  const never = new Promise<never>(() => undefined);
  for (const method of ['query', 'write', 'read', 'maintain', 'migrate'] as const) database[method] = () => never;
  // Its queues would go on renewing the locks of their jobs.
  for (const pool of queueConnections) Object.assign(pool, { query: () => never, connect: () => never });
};
