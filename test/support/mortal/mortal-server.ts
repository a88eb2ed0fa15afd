import { OPERATOR } from '#src/services/audit/actor.ts';
import { composeServices } from '#src/app/composition.ts';
import { loadConfig } from '#src/app/config/load.ts';
import type { Composition } from '#src/app/ground/slice.ts';
import { openServerFiles, type ServerFiles } from '#src/app/ground/server-files.ts';
import { handlersOf } from '#src/app/slices/jobs.ts';
import { PrometheusMetrics } from '#src/app/ground/metrics.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemRandom } from '#src/kernel/random.ts';
import type { AnyTaskKind } from '#src/services/admin/tasks/task.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { doJobs } from '#test/support/jobs.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { MortalDatabase } from './mortal-database.ts';

export type MortalServices = ReturnType<typeof composeServices>['services'];

/** One life of a server: its services on the database that all its lives share. */
export class Life {
  readonly services: MortalServices;
  readonly mortal: MortalDatabase;
  readonly clock: ManualClock;
  /** Names of the jobs that were begun. */
  readonly jobsDone = new Set<string>();
  readonly #composition: Composition<MortalServices>;
  #hasEnded = false;

  constructor(composition: Composition<MortalServices>, mortal: MortalDatabase, clock: ManualClock) {
    this.#composition = composition;
    this.services = composition.services;
    this.mortal = mortal;
    this.clock = clock;
  }

  /** Ends what was begun, lets time pass, and resolves when everything that was begun or is due by then is done. */
  async pass(ms: number): Promise<void> {
    await this.#idle();
    await this.clock.advance(ms);
    await this.#idle();
  }

  async #idle(): Promise<void> {
    do {
      await this.clock.advance(0);
      await this.#composition.idle(() => this.mortal.steps);
    } while (this.clock.isDue);
  }

  /** Does all the jobs that wait; pauses of no length are over at once. */
  async doJobs(): Promise<number> {
    const handlers = handlersOf(this.services).map((handler) => ({
      ...handler,
      run: (...payload: Parameters<typeof handler.run>) => {
        this.jobsDone.add(handler.definition.name);
        return handler.run(...payload);
      },
    }));
    let count = 0;
    const work = doJobs(this.mortal.database, handlers).then((done) => void (count = done));
    await this.clock.runDueUntil(work);
    return count;
  }

  /** Lets go of a life that was killed, whose database answers nobody any more: what still waits for time or for work waits no longer. */
  bury(): void {
    this.clock.stop();
    this.mortal.letGo();
    this.services.loopWatch.close();
  }

  /** Whether it was killed or ended. */
  get isOver(): boolean {
    return this.#hasEnded || this.mortal.isDead;
  }

  /** Ends it in order. */
  async end(): Promise<void> {
    await this.#composition.close(silentLogger);
    this.#hasEnded = true;
  }
}

/** A server that lives and is killed again and again, on one database. Nothing of a life that was killed runs on: its time stands still. */
export class MortalServer {
  readonly #clone: TestDatabase;
  readonly #folder: string;
  readonly #files: ServerFiles;
  readonly #environment: Readonly<Record<string, string>>;
  readonly #taskKinds: readonly AnyTaskKind[];
  readonly serverName = 'localhost';
  #names = 0;
  #clock: ManualClock | undefined;
  /** Those that were not buried. */
  readonly #lives = new Set<Life>();

  private constructor(
    clone: TestDatabase,
    folder: string,
    files: ServerFiles,
    environment: Readonly<Record<string, string>>,
    taskKinds: readonly AnyTaskKind[],
  ) {
    this.#taskKinds = taskKinds;
    this.#environment = environment;
    this.#clone = clone;
    this.#folder = folder;
    this.#files = files;
  }

  /** @param environment configuration beside the usual one; `taskKinds` beside the usual ones */
  static async open(
    environment: Readonly<Record<string, string>> = {},
    taskKinds: readonly AnyTaskKind[] = [],
  ): Promise<MortalServer> {
    const folder = mkdtempSync(join(tmpdir(), 'tsudoi-test-mortal-'));
    const config = loadConfig([], { TSUDOI_DATA_DIR: folder, ...environment });
    return new MortalServer(
      await cloneDatabase(),
      folder,
      await openServerFiles(config, systemRandom),
      environment,
      taskKinds,
    );
  }

  get database(): TestDatabase['database'] {
    return this.#clone.database;
  }

  /** The data directory. */
  get folder(): string {
    return this.#folder;
  }

  /** Begins another life. Those that were killed are let go of. */
  async begin(): Promise<Life> {
    this.#bury((life) => life.isOver);
    const config = loadConfig([], {
      TSUDOI_DATA_DIR: this.#folder,
      TSUDOI_PASSWORD__COST: 'low',
      TSUDOI_PUBLIC_BASE_URL: 'http://localhost',
      TSUDOI_RATE_LIMITS__ENABLED: 'false',
      TSUDOI_USER_DIRECTORY__SEARCH_ALL_USERS: 'true',
      ...this.#environment,
    });
    // Time does not go back, whoever is killed.
    const clock = new ManualClock(Math.max(Date.now(), this.#clock?.now() ?? 0));
    this.#clock = clock;
    const mortal = new MortalDatabase(this.#clone.database);
    const composition = composeServices({
      config,
      logger: silentLogger,
      metrics: new PrometheusMetrics(),
      clock,
      timers: clock,
      random: systemRandom,
      database: mortal.database,
      ...this.#files,
      moreTaskKinds: this.#taskKinds,
    });
    const life = new Life(composition, mortal, clock);
    this.#lives.add(life);
    await composition.start();
    return life;
  }

  #bury(isOver: (life: Life) => boolean): void {
    for (const life of this.#lives) {
      if (!isOver(life)) continue;
      life.bury();
      this.#lives.delete(life);
    }
  }

  async close(): Promise<void> {
    this.#bury(() => true);
    await this.#clone.drop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Makes an account, and returns who acts for it. */
  async user({ services }: Life, more: { readonly guest?: boolean } = {}): Promise<Requester> {
    this.#names += 1;
    const name = `user${this.#names}`;
    const { userId } =
      more.guest === true
        ? await services.registration.registerGuest(undefined, '127.0.0.1')
        : await services.registration.registerByAdmin(
            OPERATOR,
            { username: name, password: 'correct horse battery', admin: false },
            { inhibitLogin: true },
          );
    return { userId, deviceId: 'DEVICE', isGuest: more.guest === true, isAdmin: false, rateLimited: false };
  }
}
