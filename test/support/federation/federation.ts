import type { ServerServices } from '#src/app/composition.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import type {
  ComposedRequest,
  FederationRequestContent,
  FederationRequest,
} from '#src/remote/federation/federation-request.ts';
import { AUTHORITY_FILE } from './federation-fetch.ts';
import { type ConfigChanges, InProcessServer, type InProcessServerOptions } from '#test/support/in-process-server.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { NetworkPath } from '#test/support/stand-ins/network-path.ts';
import { recorder } from '#test/support/schema-recorder.ts';
import { RemotePartner, type RemotePartnerOptions } from './remote-partner.ts';

export { type PartnerRoute, RemotePartner } from './remote-partner.ts';

const certificate = (name: string): string => new URL(`../certificates/${name}`, import.meta.url).pathname;

export interface FederationOptions {
  /** Names of scripted servers. */
  readonly partners?: readonly (string | Omit<RemotePartnerOptions, 'clock'>)[];
  /** For each of the servers. */
  readonly server?: Omit<InProcessServerOptions, 'serverName' | 'signingKey' | 'clock'>;
  /** For servers by name, in place of `server`. */
  readonly servers?: Readonly<Record<string, Omit<InProcessServerOptions, 'serverName' | 'signingKey' | 'clock'>>>;
}

/** Merges two levels of configuration: sections, and their keys. */
const merged = (usual: ConfigChanges, own: ConfigChanges = {}): ConfigChanges =>
  Object.fromEntries(
    [...new Set([...Object.keys(usual), ...Object.keys(own)])].map((key) => {
      const [a, b] = [usual, own].map((changes) => (changes as Record<string, unknown>)[key]);
      const areSections = [a, b].every((value) => typeof value === 'object' && value !== null && !Array.isArray(value));
      return [key, areSections ? { ...(a as object), ...(b as object) } : (b ?? a)];
    }),
  );

/**
 * Several servers in this process that federate over TLS on loopback, with one manual clock: each with its own name, key and database, and with
 * certificates of an authority of the tests. Between any two of them there is a proxy for each direction, which can be cut.
 */
export class Federation {
  readonly clock: ManualClock;
  readonly #servers = new Map<string, InProcessServer>();
  readonly #partners = new Map<string, RemotePartner>();
  /** By sender and recipient. */
  readonly #paths = new Map<string, NetworkPath>();

  private constructor(clock: ManualClock) {
    this.clock = clock;
  }

  /** @param names one letter and `.test`, `<anything>.servers.test`: those for which there are certificates */
  static async start(names: readonly string[], options: FederationOptions = {}): Promise<Federation> {
    const federation = new Federation(new ManualClock());
    try {
      await federation.#open(names, options);
    } catch (error) {
      await federation.stop();
      throw error;
    }
    return federation;
  }

  server(name: string): InProcessServer {
    const server = this.#servers.get(name);
    if (server === undefined) throw new Error(`there is no server ${name}`);
    return server;
  }

  partner(name: string): RemotePartner {
    const partner = this.#partners.get(name);
    if (partner === undefined) throw new Error(`there is no partner ${name}`);
    return partner;
  }

  /** The proxy from one server to the other. */
  path(from: string, to: string): NetworkPath {
    const path = this.#paths.get(`${from} ${to}`);
    if (path === undefined) throw new Error(`there is no path from ${from} to ${to}`);
    return path;
  }

  /** Where the server listens for others, as a URL. */
  urlOf(name: string): string {
    const port = this.#portOf(name);
    if (port === undefined) throw new Error(`${name} does not listen`);
    return `https://127.0.0.1:${port}`;
  }

  /** Cuts the network between two servers, in both directions. */
  cut(a: string, b: string): void {
    this.path(a, b).cut();
    this.path(b, a).cut();
  }

  /** Restores the network between two servers. */
  heal(a: string, b: string): void {
    this.path(a, b).heal();
    this.path(b, a).heal();
  }

  /** Resolves when all of them are idle: everything that was begun or is due is done, and none has caused work for another one meanwhile. */
  async idle(): Promise<void> {
    const progress = (): number =>
      [...this.#servers.values()].reduce((sum, server) => sum + server.services.database.statements(), 0) +
      [...this.#partners.values()].reduce((sum, partner) => sum + partner.asked.length, 0);
    for (let before = -1; before !== progress();) {
      before = progress();
      for (const server of this.#servers.values()) if (server.isRunning) await server.idle();
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#servers.values()].map((server) => server.stop()));
    await Promise.all([...this.#partners.values()].map((partner) => partner.stop()));
    await Promise.all([...this.#paths.values()].map((path) => path.close()));
  }

  async #open(names: readonly string[], { partners = [], server, servers = {} }: FederationOptions): Promise<void> {
    const scripted = partners.map((partner) => (typeof partner === 'string' ? { serverName: partner } : partner));
    const all = [...names, ...scripted.map(({ serverName }) => serverName)];
    for (const from of all) {
      for (const to of all)
        if (from !== to) this.#paths.set(`${from} ${to}`, await NetworkPath.to(() => this.#portOf(to)));
    }
    for (const options of scripted) {
      const reach = (to: string): string => `https://${this.path(options.serverName, to).address}`;
      this.#partners.set(options.serverName, await RemotePartner.start({ ...options, clock: this.clock }, reach));
    }
    await Promise.all(
      names.map(async (serverName) => {
        const own = servers[serverName] ?? server ?? {};
        const staticHosts = Object.fromEntries(
          all.filter((to) => to !== serverName).map((to) => [to, this.path(serverName, to).address]),
        );
        const started = await InProcessServer.start({
          ...own,
          serverName,
          signingKey: generateSigningKey((count) => systemRandom.bytes(count)),
          clock: this.clock,
          adjust: (services) => {
            this.#recordAnswersTo(services);
            own.adjust?.(services);
          },
          config: merged(
            {
              tls: {
                port: 0,
                bind: '127.0.0.1',
                certFile: certificate('federation.crt'),
                keyFile: certificate('federation.key'),
              },
              federation: { staticHosts, trustedCaFiles: [AUTHORITY_FILE], allowIpRanges: ['127.0.0.0/8', '::1/128'] },
            },
            own.config,
          ),
        });
        this.#servers.set(serverName, started);
      }),
    );
  }

  /** Checks answers between the servers against the specification's schema. */
  #recordAnswersTo({ federationClient }: ServerServices): void {
    const request = federationClient.request.bind(federationClient);
    federationClient.request = async (wish) => {
      let question: FederationRequestContent | undefined = 'compose' in wish ? undefined : wish;
      const result = await request(
        'compose' in wish ? { ...wish, compose: async (signal) => (question = await wish.compose(signal)) } : wish,
      );
      const status = result.ok ? 200 : result.status;
      if (this.#servers.has(wish.destination) && status !== undefined && question !== undefined)
        recorder.record(wish.method, question.path, status, result.body);
      return result;
    };
  }

  #portOf(name: string): number | undefined {
    const partner = this.#partners.get(name);
    if (partner !== undefined) return partner.port;
    return this.#servers.get(name)?.tlsPort;
  }
}

/** What is asked, put together as if there were a connection. */
export const questionOf = async (
  wish: FederationRequest | ComposedRequest,
): Promise<FederationRequestContent | undefined> =>
  'compose' in wish ? wish.compose(wish.signal ?? new AbortController().signal) : wish;

/** Starts servers of these names that know each other; to be stopped. */
export const startFederation = (names: readonly string[], options?: FederationOptions): Promise<Federation> =>
  Federation.start(names, options);
