import { type LookupAddress, promises as dns, type SrvRecord } from 'node:dns';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import type { Clock } from '#src/kernel/clock.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { type Hosts, hostsIn, searchRulesIn } from './resolver-files.ts';

/** All addresses of a host name. */
export type Resolve = (hostname: string) => Promise<readonly LookupAddress[]>;

/** The files of the system that say how names are found. */
export interface ResolverFiles {
  readonly hosts: string;
  readonly resolvConf: string;
}

export interface NameResolverOptions {
  readonly clock: Clock;
  /** Addresses of the name servers that are asked, with their ports; those of the system when there are none. */
  readonly nameServers: readonly string[];
  /** How long they are waited for at most before they are asked again. */
  readonly timeoutMs?: number | undefined;
  readonly files?: ResolverFiles | undefined;
}

/** How names are found, as far as files say so. */
interface Settings {
  readonly hosts: Hosts;
  readonly searched: readonly string[];
  readonly resolver: dns.Resolver;
  /** Whether this machine talks to the world by IPv6. */
  readonly hasIPv6: boolean;
  readonly resolvConf: string;
  readonly readAt: number;
}

const SYSTEM_FILES: ResolverFiles = { hosts: '/etc/hosts', resolvConf: '/etc/resolv.conf' };
/** c-ares waits for five times what answers took of late, a quarter of a second at least: what takes a while has to be asked for again. */
const TIMEOUT_MS = 2_000;
const TRIES = 5;
/** After so long files are read again. */
const FRESH_MS = 10_000;
/** Where addresses of one kind are there, those of the other are waited for so long. RFC 8305, "Resolution Delay". */
const OTHER_KIND_MS = 50;
const LOCALHOST = /(^|\.)localhost$/;
const LOOPBACK: readonly LookupAddress[] = [
  { address: '127.0.0.1', family: 4 },
  { address: '::1', family: 6 },
];

/**
 * Finds the addresses of names: in /etc/hosts, then by DNS, with the search domains of /etc/resolv.conf. No name takes a thread: those are few,
 * the files and the cryptography of the whole server need them, and a name whose name server does not answer would hold one for seconds. Only
 * the two files are read on threads, at most every ten seconds: the first names wait for it, later ones are found as they said before.
 * What else nsswitch.conf(5) may name is not asked.
 */
export class NameResolver {
  readonly #options: NameResolverOptions;
  readonly #asking = new OnceByKey<string, readonly LookupAddress[]>();
  readonly #reading = new OnceByKey<'files', Settings>();
  #settings: Settings | undefined;

  constructor(options: NameResolverOptions) {
    this.#options = options;
  }

  /** All addresses of a name. @throws Error with the `code` of node:dns where it has none, or nobody says */
  readonly addresses: Resolve = (hostname) => {
    const name = hostname.toLowerCase();
    return this.#asking.run(name, () => this.#find(name));
  };

  /** SRV records of a name. RFC 2782. @throws as `addresses` */
  async services(name: string): Promise<readonly SrvRecord[]> {
    return (await this.#current()).resolver.resolveSrv(name);
  }

  /** Gives up what is under way. */
  close(): void {
    this.#settings?.resolver.cancel();
  }

  async #find(hostname: string): Promise<readonly LookupAddress[]> {
    const family = isIP(hostname);
    if (family !== 0) return [{ address: hostname, family }];
    const settings = await this.#current();
    const name = hostname.replace(/\.$/, '');
    const known = settings.hosts.get(name);
    if (known !== undefined) return known.map((address) => ({ address, family: isIP(address) }));
    // "Name resolution APIs and libraries SHOULD recognize localhost names as special". RFC 6761, 6.3.
    if (LOCALHOST.test(name)) return LOOPBACK;
    let last: unknown;
    for (const candidate of candidatesOf(hostname, settings.searched)) {
      try {
        return await this.#ask(settings, candidate);
      } catch (error) {
        last = error;
        if (!isAbsence(error)) break;
      }
    }
    throw last;
  }

  async #ask({ hasIPv6, resolver }: Settings, name: string): Promise<readonly LookupAddress[]> {
    const found: { 4: readonly LookupAddress[]; 6: readonly LookupAddress[] } = { 4: [], 6: [] };
    const take =
      (family: 4 | 6) =>
      (addresses: readonly string[]): void => {
        found[family] = addresses.map((address) => ({ address, family }));
      };
    const both = [resolver.resolve4(name).then(take(4)), resolver.resolve6(name).then(take(6))];
    try {
      await Promise.any(both);
    } catch (error) {
      const errors = (error as AggregateError).errors as readonly unknown[];
      // What is not there of one kind may be there of the other, of which nobody says.
      throw errors.find((one) => !isAbsence(one)) ?? errors[0];
    }
    await Promise.race([Promise.allSettled(both), systemTimers.sleep(OTHER_KIND_MS)]);
    return hasIPv6 ? [...found[6], ...found[4]] : [...found[4], ...found[6]];
  }

  async #current(): Promise<Settings> {
    const known = this.#settings;
    if (known !== undefined && this.#options.clock.monotonic() - known.readAt < FRESH_MS) return known;
    const reading = this.#reading.run('files', async () => (this.#settings = await this.#read(known)));
    if (known === undefined) return reading;
    // Where it fails, the next name has it tried again.
    reading.catch(() => undefined);
    return known;
  }

  async #read(known: Settings | undefined): Promise<Settings> {
    const { clock, files = SYSTEM_FILES, nameServers, timeoutMs = TIMEOUT_MS } = this.#options;
    const [hosts, resolvConf] = await Promise.all([textOf(files.hosts), textOf(files.resolvConf)]);
    let resolver = known?.resolver;
    // A resolver asks the servers that were there when it was made; what is under way stays with it.
    if (resolver === undefined || known?.resolvConf !== resolvConf) {
      resolver = new dns.Resolver({ timeout: timeoutMs, maxTimeout: timeoutMs, tries: TRIES });
      if (nameServers.length > 0) resolver.setServers(nameServers);
    }
    return {
      hosts: hostsIn(hosts),
      searched: searchRulesIn(resolvConf).domains,
      resolver,
      hasIPv6: hasGlobalIPv6(),
      resolvConf,
      readAt: clock.monotonic(),
    };
  }
}

/** A name with a dot is tried as it is first, a single word in the domains that are searched; one that ends with a dot is whole. */
const candidatesOf = (hostname: string, searched: readonly string[]): readonly string[] => {
  if (hostname.endsWith('.')) return [hostname];
  const longer = searched.map((domain) => `${hostname}.${domain}`);
  return hostname.includes('.') ? [hostname, ...longer] : [...longer, hostname];
};

const isAbsence = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && (error.code === 'ENOTFOUND' || error.code === 'ENODATA');

/** A system without the file has said nothing. */
const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

const hasGlobalIPv6 = (): boolean =>
  Object.values(networkInterfaces()).some(
    (addresses) =>
      addresses?.some(
        ({ address, family, internal }) => family === 'IPv6' && !internal && !/^fe[89ab]/i.test(address),
      ) === true,
  );
