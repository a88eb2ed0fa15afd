import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatSigningKey, generateSigningKey, parseSigningKeys } from '#src/protocol/signing/signing-key.ts';
import { LOOPBACK_CERTIFICATE, LOOPBACK_KEY } from '../certificates.ts';
import { freePort } from '../free-port.ts';
import { notOurs } from '../http.ts';
import { pause } from '../until.ts';

/** A bare machine compiles Synapse's Python first. */
const READY_MS = 120_000;

/** Limits that nobody reaches. */
const UNLIMITED = { per_second: 100_000, burst_count: 100_000 };

/** With which administrators are made. */
export const SHARED_SECRET = 'a secret of the scenarios';

export interface SynapseOptions {
  /** The Python that has Synapse. */
  readonly python: string;
  readonly serverName: string;
  /** Where it takes requests of other servers, with TLS. */
  readonly tlsPort: number;
}

const alive = new Set<SynapseServer>();

/** A Synapse as a child process: its own database, signing key and data, on loopback, with no limits and impatient with outages. */
export class SynapseServer {
  /** Its client API, without a slash at the end. The same after a restart. */
  readonly url: string;
  readonly serverName: string;
  readonly #folder: string;
  readonly #python: string;
  #output = '';
  #process: ChildProcess | undefined;
  #exit: Promise<void> = Promise.resolve();

  private constructor({ python, serverName, tlsPort }: SynapseOptions, port: number) {
    this.serverName = serverName;
    this.url = `http://127.0.0.1:${port}`;
    this.#python = python;
    this.#folder = mkdtempSync(join(tmpdir(), 'tsudoi-test-synapse-'));
    this.#write('homeserver.yaml', configuration(this.#folder, serverName, port, tlsPort));
    this.#write('log.yaml', logging(this.#folder));
  }

  /** Starts one and waits until it is ready. */
  static async start(options: SynapseOptions): Promise<SynapseServer> {
    const server = new SynapseServer(options, await freePort());
    notOurs.add(server.url);
    alive.add(server);
    try {
      server.#generateKeys();
      await server.launch();
    } catch (error) {
      await server.dispose();
      throw error;
    }
    return server;
  }

  #write(name: string, content: object): void {
    // JSON is YAML.
    writeFileSync(this.#path(name), JSON.stringify(content, null, 1));
  }

  #generateKeys(): void {
    writeFileSync(
      this.#path('signing.key'),
      `${formatSigningKey(generateSigningKey((count) => randomBytes(count)))}\n`,
    );
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  /** Starts the process (again) and waits until it is ready. */
  async launch(): Promise<void> {
    const child = spawn(
      this.#python,
      ['-m', 'synapse.app.homeserver', '--config-path', this.#path('homeserver.yaml')],
      // Whom it trusts beside servers: identity servers of tests.
      {
        cwd: this.#folder,
        env: { ...process.env, SSL_CERT_FILE: LOOPBACK_CERTIFICATE },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    this.#process = child;
    child.stdout.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (this.#output += chunk.toString()));
    this.#exit = new Promise((resolve) => {
      child.once('close', () => {
        this.#process = undefined;
        resolve();
      });
    });
    for (const deadline = Date.now() + READY_MS; Date.now() < deadline; await pause(50)) {
      if (this.#process === undefined) throw new Error(`Synapse did not start:\n${this.log()}`);
      const response = await fetch(`${this.url}/_matrix/client/versions`).catch(() => undefined);
      await response?.arrayBuffer();
      if (response?.status === 200) return;
    }
    throw new Error(`Synapse was not ready in ${READY_MS} ms:\n${this.log()}`);
  }

  /** Ends the process, by default without warning. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.#process?.kill(signal);
    await this.#exit;
  }

  /** Signs with another key from its next start on; the old one is published as such. */
  rotateSigningKey(): void {
    const configuration = JSON.parse(readFileSync(this.#path('homeserver.yaml'), 'utf8')) as Record<string, unknown>;
    const [{ keyId, publicKey }] = parseSigningKeys(readFileSync(this.#path('signing.key'), 'utf8'));
    const old = { [keyId]: { key: publicKey, expired_ts: Date.now() } };
    const before = (configuration['old_signing_keys'] ?? {}) as object;
    this.#write('homeserver.yaml', { ...configuration, old_signing_keys: { ...before, ...old } });
    this.#generateKeys();
  }

  /** The end of what it wrote. */
  log(bytes = 100_000): string {
    let file = '';
    try {
      file = readFileSync(this.#path('synapse.log'), 'utf8');
    } catch {
      // It has not come to that.
    }
    return (this.#output + file).slice(-bytes);
  }

  /** Ends it and deletes its data. */
  async dispose(): Promise<void> {
    if (!alive.delete(this)) return;
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** The part of `dispose` that also works while this process exits. */
  endNow(): void {
    this.#process?.kill('SIGKILL');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

process.once('exit', () => {
  for (const server of alive) server.endNow();
});

/** Its homeserver.yaml. */
function configuration(folder: string, serverName: string, port: number, tlsPort: number): object {
  const loopback = { bind_addresses: ['127.0.0.1'], type: 'http' };
  return {
    server_name: serverName,
    report_stats: false,
    pid_file: join(folder, 'synapse.pid'),
    log_config: join(folder, 'log.yaml'),
    signing_key_path: join(folder, 'signing.key'),
    media_store_path: join(folder, 'media'),
    database: { name: 'sqlite3', args: { database: join(folder, 'homeserver.db') } },
    listeners: [
      { ...loopback, port, tls: false, resources: [{ names: ['client'] }] },
      { ...loopback, port: tlsPort, tls: true, resources: [{ names: ['federation'] }] },
    ],
    tls_certificate_path: LOOPBACK_CERTIFICATE,
    tls_private_key_path: LOOPBACK_KEY,
    federation_custom_ca_list: [LOOPBACK_CERTIFICATE],
    ip_range_blacklist: [],
    trusted_key_servers: [],
    suppress_key_server_warning: true,
    enable_registration: true,
    enable_registration_without_verification: true,
    macaroon_secret_key: 'of tests only',
    form_secret: 'of tests only',
    bcrypt_rounds: 4,
    presence: { enabled: true },
    allow_public_rooms_over_federation: true,
    room_list_publication_rules: [{ action: 'allow' }],
    allow_device_name_lookup_over_federation: true,
    caches: { global_factor: 1 },
    // What was down is tried again soon.
    federation: {
      client_timeout: 10_000,
      max_short_retries: 1,
      max_short_retry_delay: 200,
      max_long_retries: 2,
      max_long_retry_delay: 500,
      destination_min_retry_interval: 200,
      destination_retry_multiplier: 1,
      destination_max_retry_interval: 500,
    },
    ...Object.fromEntries(
      [
        'message',
        'registration',
        'admin_redaction',
        'joins_per_room',
        'key_requests',
        'third_party_invite',
        'media_create',
        'room_creation',
        'reports',
        'user_directory',
        'profile',
        'delayed_event_mgmt',
      ].map((name) => [`rc_${name}`, UNLIMITED]),
    ),
    registration_shared_secret: SHARED_SECRET,
    rc_login: { address: UNLIMITED, account: UNLIMITED, failed_attempts: UNLIMITED },
    rc_joins: { local: UNLIMITED, remote: UNLIMITED },
    rc_invites: { per_room: UNLIMITED, per_user: UNLIMITED, per_issuer: UNLIMITED },
    rc_presence: { per_user: UNLIMITED },
    rc_federation: { window_size: 1000, sleep_limit: 100_000, sleep_delay: 1, reject_limit: 100_000, concurrent: 100 },
    experimental_features: { msc4354_enabled: true },
  };
}

/** Its log.yaml. */
function logging(folder: string): object {
  return {
    version: 1,
    formatters: { plain: { format: '%(asctime)s %(levelname)s %(name)s %(request)s %(message)s' } },
    filters: { context: { '()': 'synapse.logging.context.LoggingContextFilter', request: '' } },
    handlers: {
      file: {
        class: 'logging.FileHandler',
        formatter: 'plain',
        filename: join(folder, 'synapse.log'),
        filters: ['context'],
      },
    },
    root: { level: 'INFO', handlers: ['file'] },
    disable_existing_loggers: false,
  };
}
