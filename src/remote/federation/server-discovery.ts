import { parseServerName, type ServerName } from '#src/protocol/identifiers/server-name.ts';
import { type DestinationPlace, FEDERATION_PORT } from './destination-place.ts';

export interface ServerDiscoveryOptions {
  /** Where servers are found before anybody is asked: `host:port` by server name. */
  readonly staticHosts: Readonly<Record<string, string>>;
}

/** Finds out where servers are reached. Server-Server API, "Resolving server names". */
export class ServerDiscovery {
  readonly #options: ServerDiscoveryOptions;

  constructor(options: ServerDiscoveryOptions) {
    this.#options = options;
  }

  /** Where a server is reached, the best place first; empty for what is no server name. */
  async find(serverName: string, _signal: AbortSignal): Promise<readonly DestinationPlace[]> {
    const name = parseServerName(serverName);
    if (name === undefined) return [];
    const given = Object.hasOwn(this.#options.staticHosts, serverName)
      ? parseServerName(this.#options.staticHosts[serverName] ?? '')
      : undefined;
    if (given !== undefined)
      return [{ ...placeOf(serverName, name), host: plainHost(given), port: given.port ?? FEDERATION_PORT }];
    return [placeOf(serverName, name)];
  }

  /** Nobody was reached where the server was found. */
  failed(_serverName: string): void {}
}

const plainHost = ({ host, kind }: ServerName): string => (kind === 'ipv6' ? host.slice(1, -1) : host);

/** The place that a name itself tells. */
const placeOf = (text: string, name: ServerName): DestinationPlace => ({
  host: plainHost(name),
  port: name.port ?? FEDERATION_PORT,
  hostHeader: text,
  tlsName: name.kind === 'dns' ? name.host : undefined,
});
