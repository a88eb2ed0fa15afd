import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LOOPBACK_CERTIFICATE, LOOPBACK_KEY } from '#test/support/certificates.ts';
import { ChildServer } from '#test/support/child-server.ts';
import { freePort } from '#test/support/free-port.ts';
import { IdentityServer } from '#test/support/stand-ins/identity-server.ts';
import { NetworkPath } from '#test/support/stand-ins/network-path.ts';
import { SHARED_SECRET, SynapseServer } from '#test/support/synapse/synapse-server.ts';
import { Account, type Json } from './account.ts';

/** A homeserver that takes part, whoever made it. */
export interface Partner {
  readonly serverName: string;
  /** Its client API, without a slash at the end. */
  readonly url: string;
  /** The way to it that other servers take. */
  readonly link: NetworkPath;
  /** Registers a user, whose name nobody else has. */
  user(name: string): Promise<Account>;
  /** Makes an administrator, whose name nobody else has. */
  admin(name: string): Promise<Account>;
  /** An unsigned request to where other servers ask, with TLS. */
  askUnsigned(
    method: 'GET' | 'POST' | 'PUT',
    path: string,
    body?: object,
  ): Promise<{ readonly status: number; readonly body: Json }>;
  /** Ends its process, by default without warning. */
  kill(signal?: NodeJS.Signals): Promise<unknown>;
  /** Starts it again on its data. */
  launch(): Promise<void>;
  /** Signs with another key from now on; the old one is published as such. */
  rotateSigningKey(): Promise<void>;
  /** The end of what it logged. */
  log(): string;
}

/** Two Synapses in place of Synapse and Tsudoi: whether the scenarios hold between those that have been among themselves for years. */
const AMONG_THEMSELVES = process.env['INTEROP_SYNAPSE_ONLY'] === '1';
const LOG_BYTES = 50_000_000;

/** The room versions that have to work in each direction. */
export const ROOM_VERSIONS = ['6', '10', '11', '12'] as const;

export type Side = 'ours' | 'theirs';

export const NAMES: Readonly<Record<Side, string>> = { ours: 'Tsudoi', theirs: 'Synapse' };

/** For what has to work in each direction: with each of the servers as the one that made the room. */
export function inBothDirections(describeOne: (host: Side, guest: Side, title: string) => void): void {
  for (const [host, guest] of [
    ['theirs', 'ours'],
    ['ours', 'theirs'],
  ] as const)
    describeOne(host, guest, `of ${NAMES[host]} that users of ${NAMES[guest]} join`);
}

let users = 0;

/** Both servers, each reached by the other through a link that can be cut. */
export class Rig {
  /** An identity server that both trust. */
  readonly identity: IdentityServer;
  readonly #ours: ChildServer | SynapseServer;
  readonly #theirs: SynapseServer;
  readonly ours: Partner;
  readonly theirs: Partner;

  private constructor(
    ours: ChildServer | SynapseServer,
    theirs: SynapseServer,
    identity: IdentityServer,
    names: Names,
    links: readonly [NetworkPath, NetworkPath],
  ) {
    this.identity = identity;
    this.#ours = ours;
    this.#theirs = theirs;
    this.ours = partner(names.ours, ours, links[0]);
    this.theirs = partner(names.theirs, theirs, links[1]);
  }

  /** @param python the Python that has Synapse */
  static async start(python: string): Promise<Rig> {
    const [ourTls, theirTls] = [await freePort(), await freePort()];
    const links = [await NetworkPath.to(() => ourTls), await NetworkPath.to(() => theirTls)] as const;
    // One is found by its host's name, the other one by its address.
    const names = { ours: links[0].address.replace('127.0.0.1', 'localhost'), theirs: links[1].address };
    const identity = await IdentityServer.start();
    const starting = await Promise.allSettled([
      AMONG_THEMSELVES
        ? SynapseServer.start({ python, serverName: names.ours, tlsPort: ourTls })
        : startOurs(names.ours, ourTls, identity),
      SynapseServer.start({ python, serverName: names.theirs, tlsPort: theirTls }),
    ]);
    const [ours, theirs] = starting;
    if (ours.status === 'fulfilled' && theirs.status === 'fulfilled')
      return new Rig(ours.value, theirs.value, identity, names, links);
    for (const made of starting) if (made.status === 'fulfilled') await made.value.dispose();
    for (const link of links) await link.close();
    await identity.stop();
    throw starting.find((made) => made.status === 'rejected')?.reason;
  }

  /** Neither reaches the other. */
  cut(): void {
    this.ours.link.cut();
    this.theirs.link.cut();
  }

  /** Both reach each other, and run. */
  heal(): void {
    this.ours.link.heal();
    this.theirs.link.heal();
  }

  /** Writes what both logged into files. Their folder. */
  async keepLogs(): Promise<string> {
    const folder = join(tmpdir(), `tsudoi-interop-${process.pid}`);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, 'tsudoi.log'), this.ours.log());
    await writeFile(join(folder, 'synapse.log'), this.theirs.log());
    return folder;
  }

  async stop(): Promise<void> {
    await Promise.all([this.#ours.dispose(), this.#theirs.dispose()]);
    await Promise.all([this.ours.link.close(), this.theirs.link.close(), this.identity.stop()]);
  }
}

interface Names {
  readonly ours: string;
  readonly theirs: string;
}

function startOurs(serverName: string, tlsPort: number, identity: IdentityServer): Promise<ChildServer> {
  return ChildServer.start({
    database: 'shared',
    env: {
      TSUDOI_SERVER_NAME: serverName,
      TSUDOI_TLS__PORT: String(tlsPort),
      TSUDOI_TLS__CERT_FILE: LOOPBACK_CERTIFICATE,
      TSUDOI_TLS__KEY_FILE: LOOPBACK_KEY,
      TSUDOI_IDENTITY__TRUSTED_SERVERS: identity.name,
      TSUDOI_REGISTRATION__ENABLED: 'true',
      TSUDOI_REGISTRATION__SHARED_SECRET: SHARED_SECRET,
      TSUDOI_PRESENCE__FEDERATE: 'true',
      TSUDOI_FEDERATION__TRUSTED_CA_FILES: LOOPBACK_CERTIFICATE,
      TSUDOI_FEDERATION__ALLOW_IP_RANGES: '127.0.0.0/8,::1/128',
    },
  });
}

function partner(serverName: string, server: ChildServer | SynapseServer, link: NetworkPath): Partner {
  return {
    serverName,
    url: server.url,
    link,
    user: (name) => Account.register(server.url, serverName, `${name}-${(users += 1)}`),
    admin: (name) => Account.registerAdmin(server.url, serverName, `${name}-${(users += 1)}`),
    askUnsigned: (method, path, body) => ask(method, `https://${serverName}${path}`, body),
    kill: (signal) => server.kill(signal),
    launch: () => server.launch(),
    rotateSigningKey: async () => {
      await server.kill('SIGTERM');
      if (server instanceof SynapseServer) server.rotateSigningKey();
      else await server.command('rotate-signing-key');
      await server.launch();
    },
    log: () => (server instanceof SynapseServer ? server.log(LOG_BYTES) : server.output),
  };
}

/** A request over TLS that trusts the tests' authority alone. */
function ask(method: string, url: string, body?: object): Promise<{ readonly status: number; readonly body: Json }> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'Content-Type': 'application/json' };
    const outgoing = request(
      url,
      { method, headers, ca: readFileSync(LOOPBACK_CERTIFICATE), agent: false },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          try {
            resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as Json });
          } catch (error) {
            reject(error);
          }
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
