import { parseServerName, type ServerName } from '#src/protocol/identifiers/server-name.ts';
import { type DestinationPlace, FEDERATION_PORT } from './destination-place.ts';
import type { ServiceRecords } from './service-records.ts';
import type { WellKnownServers, WrittenName } from './well-known-servers.ts';

export interface ServerDiscoveryOptions {
  /** Overrides of discovery: `host:port` by server name. */
  readonly staticHosts: Readonly<Record<string, string>>;
  readonly wellKnown: WellKnownServers;
  readonly records: ServiceRecords;
}

/** The registered service, and the deprecated one. */
const SERVICES = ['_matrix-fed._tcp', '_matrix._tcp'] as const;

/** Resolves server names. Server-Server API, "Resolving server names". */
export class ServerDiscovery {
  readonly #options: ServerDiscoveryOptions;

  constructor(options: ServerDiscoveryOptions) {
    this.#options = options;
  }

  /** The addresses of a server, in the order in which to try them; empty for an invalid server name, or where its SRV record says that there is none. */
  async find(serverName: string): Promise<readonly DestinationPlace[]> {
    const { staticHosts, wellKnown } = this.#options;
    const parsed = parseServerName(serverName);
    if (parsed === undefined) return [];
    const name: WrittenName = { ...parsed, text: serverName };
    const given = Object.hasOwn(staticHosts, serverName) ? parseServerName(staticHosts[serverName] ?? '') : undefined;
    if (given !== undefined)
      return usable([placeAt(name, { host: plainHost(given), port: given.port ?? FEDERATION_PORT })]);
    if (isWhole(name)) return usable([placeOf(name)]);
    // "If the response is invalid (bad JSON, missing properties, non-200 response, etc), skip to step 4."
    const delegated = (await wellKnown.delegatedName(name.host)) ?? name;
    if (isWhole(delegated)) return usable([placeOf(delegated)]);
    for (const service of SERVICES) {
      const targets = await this.#options.records.targets(service, delegated.host);
      if (targets !== undefined) return usable(targets.map((target) => placeAt(delegated, target)));
    }
    return usable([placeOf(delegated)]);
  }

  /** The server could not be reached at its addresses: the next time they are resolved again, unless that was done a moment ago. */
  failed(serverName: string): void {
    const name = parseServerName(serverName);
    if (name === undefined || isWhole(name)) return;
    this.#options.wellKnown.doubt(name.host);
  }
}

/** Whether a name has an explicit address: an IP address or a port. */
const isWhole = ({ kind, port }: ServerName): boolean => kind !== 'dns' || port !== undefined;

const plainHost = ({ host, kind }: ServerName): string => (kind === 'ipv6' ? host.slice(1, -1) : host);

/** The address in a name itself. */
const placeOf = (name: WrittenName): DestinationPlace =>
  placeAt(name, { host: plainHost(name), port: name.port ?? FEDERATION_PORT });

/** Another address for a name: the certificate must be valid for the name there too. */
const placeAt = (name: WrittenName, target: { readonly host: string; readonly port: number }): DestinationPlace => ({
  ...target,
  hostHeader: name.text,
  tlsName: name.kind === 'dns' ? name.host : undefined,
});

const usable = (places: readonly DestinationPlace[]): readonly DestinationPlace[] =>
  places.filter(({ port }) => port > 0);
