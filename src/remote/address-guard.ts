import { BlockList, isIP } from 'node:net';

/** Networks in the form 10.0.0.0/8, fd00::/8, or single addresses. */
export interface AddressRanges {
  readonly deny: readonly string[];
  /** Exceptions from `deny`. */
  readonly allow: readonly string[];
}

/**
 * Decides to which IP addresses this server may connect, so that it cannot be made to send requests into its own network (SSRF). An IPv6
 * address that embeds an IPv4 address is judged as that one too.
 */
export class AddressGuard {
  readonly #deny: BlockList;
  readonly #allow: BlockList;

  /** @throws RangeError for an invalid range */
  constructor(ranges: AddressRanges) {
    this.#deny = listOf(ranges.deny);
    this.#allow = listOf(ranges.allow);
  }

  /** Whether a connection to the address may be made; false for anything but an IP address. */
  allows(address: string): boolean {
    const [plain = ''] = address.split('%');
    const version = isIP(plain);
    if (version === 0) return false;
    const carried = version === 6 ? carriedIPv4(plain) : undefined;
    if (isIn(this.#allow, plain) || (carried !== undefined && isIn(this.#allow, carried))) return true;
    return !isIn(this.#deny, plain) && (carried === undefined || !isIn(this.#deny, carried));
  }
}

const isIn = (list: BlockList, address: string): boolean => list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

const listOf = (ranges: readonly string[]): BlockList => {
  const list = new BlockList();
  for (const range of ranges) {
    const [address = '', prefix] = range.split('/');
    const version = isIP(address);
    if (version === 0) throw new RangeError(`${range} is no IP address or network`);
    const family = version === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(address, family);
    else list.addSubnet(address, Number(prefix), family);
  }
  return list;
};

/** Where each kind of IPv6 address embeds the two groups of its IPv4 address. */
const carriedIPv4 = (address: string): string | undefined => {
  const groups = groupsOf(address);
  const [a, b, c, d, e, f, g, h] = groups;
  if (groups.length !== 8) return undefined;
  const rest = [c, d, e, f];
  // 2002::/16, 6to4 (RFC 3056).
  if (a === 0x2002) return dotted(b, c);
  // 64:ff9b::/96, NAT64 (RFC 6052).
  if (a === 0x64 && b === 0xff9b && rest.every((group) => group === 0)) return dotted(g, h);
  if ([a, b, c, d].some((group) => group !== 0)) return undefined;
  // ::ffff:0:0/96 mapped, ::ffff:0:0:0/96 translated, ::/96 compatible.
  const isMapped = e === 0 && f === 0xffff;
  const isTranslated = e === 0xffff && f === 0;
  const isCompatible = e === 0 && f === 0 && (g !== 0 || (h ?? 0) > 1);
  return isMapped || isTranslated || isCompatible ? dotted(g, h) : undefined;
};

const dotted = (high = 0, low = 0): string => [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');

/** The eight groups of an IPv6 address; fewer when the URL parser, which writes it in full form, does not take it. */
const groupsOf = (address: string): number[] => {
  let written: string;
  try {
    written = new URL(`http://[${address}]/`).hostname.slice(1, -1);
  } catch {
    return [];
  }
  const [head = '', tail] = written.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = tail === undefined ? [] : Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...gap, ...right].map((group) => Number.parseInt(group, 16));
};
