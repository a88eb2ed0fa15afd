/** The address of a server, and the name that its certificate must have. Server-Server API, "Resolving server names". */
export interface DestinationPlace {
  /** A name to be looked up, or an IP address without brackets. */
  readonly host: string;
  readonly port: number;
  /** The value of `Host`. */
  readonly hostHeader: string;
  /** The name for which its certificate must be valid, and which is sent as SNI; undefined: the certificate is for the IP address. */
  readonly tlsName: string | undefined;
}

/** The port of servers without an explicit one. */
export const FEDERATION_PORT = 8448;

/** `host:port` as a key and for logs, with brackets around IPv6. */
export const textOfPlace = ({ host, port }: DestinationPlace): string =>
  `${host.includes(':') ? `[${host}]` : host}:${port}`;
