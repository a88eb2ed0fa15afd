import { isIPv6 } from 'node:net';

/** The parts of a server name. `host` keeps the brackets of an IPv6 literal. */
export interface ServerName {
  readonly kind: 'ipv4' | 'ipv6' | 'dns';
  readonly host: string;
  readonly port: number | undefined;
}

const SERVER_NAME = /^(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(?::([0-9]{1,5}))?$/;
const DOTTED_QUAD = /^[0-9]{1,3}(?:\.[0-9]{1,3}){3}$/;

/**
 * Reads a server name: `hostname [ ":" port ]` with a DNS name, an IPv4 literal or an IPv6 literal in brackets.
 * Appendices, "Server Name". Undefined for what is not one.
 */
export function parseServerName(name: string): ServerName | undefined {
  const match = SERVER_NAME.exec(name);
  if (match === null) return undefined;
  const host = match[1] as string;
  const port = match[2] === undefined ? undefined : Number(match[2]);
  if (port !== undefined && port > 65535) return undefined;
  if (host.startsWith('[')) return isIPv6(host.slice(1, -1)) ? { kind: 'ipv6', host, port } : undefined;
  if (DOTTED_QUAD.test(host)) {
    // "IPv4 literals must be a sequence of four decimal numbers in the range 0 to 255"
    return host.split('.').every((number) => Number(number) <= 255) ? { kind: 'ipv4', host, port } : undefined;
  }
  return { kind: 'dns', host, port };
}

/** Whether `name` is a server name. */
export function isServerName(name: unknown): name is string {
  return typeof name === 'string' && parseServerName(name) !== undefined;
}

/** The server name after the first colon of `&localpart:domain`; undefined for identifiers without one. Not validated. */
export function domainOf(id: string): string | undefined {
  const colon = id.indexOf(':');
  return colon < 0 ? undefined : id.slice(colon + 1);
}

/** The part between the sigil and the first colon (or the end). Not validated. */
export function localpartOf(id: string): string {
  const colon = id.indexOf(':');
  return colon < 0 ? id.slice(1) : id.slice(1, colon);
}
