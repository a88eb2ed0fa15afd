import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ComposedApplication, createApplication } from '#src/app/application.ts';
import { loadConfig } from '#src/app/config/load.ts';
import { PrometheusMetrics } from '#src/app/ground/metrics.ts';
import { systemClock } from '#src/kernel/clock.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { signingKeyFromSeed, type SigningKey } from '#src/protocol/signing/signing-key.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { type Answer, ask, must, type Sent } from '#test/support/http.ts';

/** A device of a user, logged in. */
export interface TestDevice {
  readonly userId: string;
  readonly deviceId: string;
  readonly token: string;
}

const PASSWORD = 'correct horse battery';

/** The real server, in the process of the test. */
export class EncryptionServer {
  readonly #env: Readonly<Record<string, string>>;
  #clone!: TestDatabase;
  #folder!: string;
  #metrics!: PrometheusMetrics;
  #application!: ComposedApplication;
  #address = '';
  #names = 0;

  private constructor(env: Readonly<Record<string, string>>) {
    this.#env = env;
  }

  static async start(env: Readonly<Record<string, string>> = {}): Promise<EncryptionServer> {
    const server = new EncryptionServer(env);
    server.#folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-e2ee-'));
    server.#clone = await cloneDatabase();
    await server.#begin();
    return server;
  }

  async #begin(): Promise<void> {
    this.#metrics = new PrometheusMetrics();
    const config = loadConfig([], {
      TSUDOI_DATA_DIR: this.#folder,
      TSUDOI_DATABASE__URL: this.#clone.url,
      TSUDOI_HTTP__PORT: '0',
      TSUDOI_PASSWORD__COST: 'low',
      TSUDOI_RATE_LIMITS__ENABLED: 'false',
      ...this.#env,
    });
    const ports = { logger: silentLogger, clock: systemClock, timers: systemTimers, random: systemRandom };
    this.#application = await createApplication({
      config,
      ...ports,
      metrics: this.#metrics,
      database: this.#clone.database,
    });
    ({ address: this.#address } = await this.#application.start());
  }

  get address(): string {
    return this.#address;
  }

  /** The data directory. */
  get folder(): string {
    return this.#folder;
  }

  get database(): TestDatabase['database'] {
    return this.#clone.database;
  }

  /** Resolves when everything that was begun is done. */
  idle(): Promise<void> {
    return this.#application.idle();
  }

  /** Starts again on the same database, with nothing in memory. */
  async restart(): Promise<void> {
    await this.#application.drain();
    this.#metrics.close();
    await this.#begin();
  }

  async stop(): Promise<void> {
    await this.#application.drain();
    this.#metrics.close();
    await this.#clone.drop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  ask(device: TestDevice | undefined, method: string, path: string, body?: unknown): Promise<Answer> {
    const sent: Sent = { token: device?.token, ...(body === undefined ? {} : { body }) };
    return ask(this.#address, method, path, sent);
  }

  // What a test expects in a body it says itself.
  // oxlint-disable-next-line typescript/no-explicit-any
  must(device: TestDevice | undefined, method: string, path: string, body?: unknown): Promise<any> {
    return must(this.#address, method, path, { token: device?.token, ...(body === undefined ? {} : { body }) });
  }

  /** A new user with one device. */
  async register(name?: string): Promise<TestDevice> {
    const username = name ?? `user${(this.#names += 1)}`;
    const account = { username, password: PASSWORD, auth: { type: 'm.login.dummy' } };
    return deviceOf(await this.must(undefined, 'POST', '/register', account));
  }

  /** Another device of a user. */
  async login({ userId }: TestDevice, deviceId?: string): Promise<TestDevice> {
    const identifier = { type: 'm.id.user', user: userId };
    const login = { type: 'm.login.password', identifier, password: PASSWORD, device_id: deviceId };
    return deviceOf(await this.must(undefined, 'POST', '/login', login));
  }

  /** The members with which a user proves who they are, for a session of user-interactive authentication. */
  proof({ userId }: TestDevice, session: string): object {
    return { type: 'm.login.password', identifier: { type: 'm.id.user', user: userId }, password: PASSWORD, session };
  }

  /** A room with all of them in it. */
  async room(creator: TestDevice, ...others: readonly TestDevice[]): Promise<string> {
    const { room_id: roomId } = await this.must(creator, 'POST', '/createRoom', { preset: 'public_chat' });
    for (const other of others) await this.must(other, 'POST', `/rooms/${roomId}/join`, {});
    return roomId;
  }

  /** The fewest statements that `work` takes in three rounds: what goes on beside it by chance does not count. */
  async statements(work: () => Promise<unknown>): Promise<number> {
    const counts: number[] = [];
    for (let round = 0; round < 3; round++) {
      const before = this.database.statements();
      await work();
      counts.push(this.database.statements() - before);
    }
    return Math.min(...counts);
  }

  /** What is new for a device since a token. */
  // oxlint-disable-next-line typescript/no-explicit-any
  sync(device: TestDevice, since?: string, timeout = 0): Promise<any> {
    return this.must(device, 'GET', `/sync?timeout=${timeout}${since === undefined ? '' : `&since=${since}`}`);
  }
}

const deviceOf = (body: { user_id: string; device_id: string; access_token: string }): TestDevice => ({
  userId: body.user_id,
  deviceId: body.device_id,
  token: body.access_token,
});

/** A key made of a number, the same each time. */
export const keyOf = (seed: number): SigningKey => signingKeyFromSeed('x', Buffer.alloc(32, seed));

/** The key under the name that clients give it. */
export const named = (key: SigningKey, name: string): SigningKey => ({ ...key, keyId: `ed25519:${name}` });

/** Identity keys of a device, signed by itself. */
export const deviceKeysOf = ({ userId, deviceId }: TestDevice, key: SigningKey): JsonObject =>
  signJson(
    {
      user_id: userId,
      device_id: deviceId,
      algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
      keys: { [`curve25519:${deviceId}`]: 'q'.repeat(43), [`ed25519:${deviceId}`]: key.publicKey },
    },
    userId,
    named(key, deviceId),
  );

/** A cross-signing key; signed by the master key, unless it is that. */
export const crossSigningKeyOf = (
  userId: string,
  usage: 'master' | 'self_signing' | 'user_signing',
  key: SigningKey,
  master?: SigningKey,
): JsonObject => {
  const content = { user_id: userId, usage: [usage], keys: { [`ed25519:${key.publicKey}`]: key.publicKey } };
  return master === undefined ? content : signJson(content, userId, named(master, master.publicKey));
};
