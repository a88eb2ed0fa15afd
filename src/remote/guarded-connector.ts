import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { createSecureContext } from 'node:tls';
import { buildConnector } from 'undici';
import type { AddressGuard } from './address-guard.ts';

/** All addresses of a host name. */
export type Resolve = (hostname: string) => Promise<readonly LookupAddress[]>;

/** Every address of the host is one to which this server must not talk. */
export class RefusedAddressError extends Error {
  constructor(hostname: string) {
    super(`${hostname} is at no address that this server may talk to`);
    this.name = 'RefusedAddressError';
  }
}

/** The host name has no address. */
export class UnresolvedHostError extends Error {
  constructor(hostname: string, cause?: unknown) {
    super(`the address of ${hostname} could not be found`, { cause });
    this.name = 'UnresolvedHostError';
  }
}

export interface GuardedConnectorOptions {
  readonly guard: AddressGuard;
  readonly resolve?: Resolve | undefined;
  readonly timeoutMs: number;
  /** Certificate authorities in PEM, all of them; undefined for the system's. */
  readonly certificateAuthorities?: readonly string[] | undefined;
}

const resolveBySystem: Resolve = (hostname) =>
  new Promise((resolve, reject) => {
    systemLookup(hostname, { all: true }, (error, addresses) => {
      if (error === null) resolve(addresses);
      else reject(error);
    });
  });

/**
 * Makes connections of undici. The address is looked up, judged and used in one step: a name that answers with another address the
 * next time gains nothing by it.
 */
export const guardedConnector = (options: GuardedConnectorOptions): buildConnector.connector => {
  const { guard, resolve = resolveBySystem, certificateAuthorities } = options;
  const addressesOf = async (hostname: string): Promise<LookupAddress[]> => {
    let found: readonly LookupAddress[];
    try {
      found = await resolve(hostname);
    } catch (error) {
      throw new UnresolvedHostError(hostname, error);
    }
    if (found.length === 0) throw new UnresolvedHostError(hostname);
    const allowed = found.filter(({ address }) => guard.allows(address));
    if (allowed.length === 0) throw new RefusedAddressError(hostname);
    return allowed;
  };
  const answer = async (hostname: string, all: boolean, callback: Parameters<LookupFunction>[2]): Promise<void> => {
    try {
      const addresses = await addressesOf(hostname);
      const [first] = addresses;
      if (all) callback(null, addresses);
      else if (first !== undefined) callback(null, first.address, first.family);
    } catch (error) {
      callback(error as Error, []);
    }
  };
  const lookup: LookupFunction = (hostname, wish, callback) => void answer(hostname, wish.all === true, callback);
  const connect = buildConnector({
    lookup,
    timeout: options.timeoutMs,
    allowH2: false,
    // Made once: to read a hundred authorities takes as long as many requests, and would be done for each connection.
    ...(certificateAuthorities === undefined
      ? {}
      : { secureContext: createSecureContext({ ca: [...certificateAuthorities] }) }),
  } as buildConnector.BuildOptions);
  return (wish, callback) => {
    // Nothing is looked up for what is an address already.
    if (isIP(wish.hostname) !== 0 && !guard.allows(wish.hostname))
      callback(new RefusedAddressError(wish.hostname), null);
    else connect(wish, callback);
  };
};
