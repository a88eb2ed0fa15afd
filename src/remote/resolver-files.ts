import { isIP } from 'node:net';

/** What `/etc/hosts` says: addresses by name, in lower case. */
export type Hosts = ReadonlyMap<string, readonly string[]>;

/** What `/etc/resolv.conf` says of names that are not whole. resolv.conf(5). */
export interface SearchRules {
  /** Domains that are put after a name. */
  readonly domains: readonly string[];
}

const MAX_SEARCHED = 6;

/** hosts(5): "IP_address canonical_hostname [aliases...]", comments from `#` on. */
export const hostsIn = (text: string): Hosts => {
  const hosts = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    const [address = '', ...names] = wordsOf(line);
    if (isIP(address) === 0) continue;
    for (const name of names.map(lower)) {
      const known = hosts.get(name);
      if (known === undefined) hosts.set(name, [address]);
      else if (!known.includes(address)) known.push(address);
    }
  }
  return hosts;
};

/** "The domain and search keywords are mutually exclusive. If more than one instance of these keywords is present, the last instance wins." */
export const searchRulesIn = (text: string): SearchRules => {
  let domains: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = wordsOf(line);
    if (keyword === 'search') domains = values;
    if (keyword === 'domain') domains = values.slice(0, 1);
  }
  return {
    domains: domains
      .map((domain) => lower(domain).replace(/\.$/, ''))
      .filter((domain) => domain !== '')
      .slice(0, MAX_SEARCHED),
  };
};

const wordsOf = (line: string): string[] =>
  line
    .replace(/[#;].*$/, '')
    .split(/\s+/)
    .filter((word) => word !== '');

const lower = (name: string): string => name.toLowerCase();
