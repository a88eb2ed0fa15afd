import { BlockList, isIP } from 'node:net';

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

const plain = (address: string): string => MAPPED.exec(address)?.[1] ?? address;

/** The address that a proxy forwarded, without a port, or undefined when it is not an address. */
const parseForwarded = (text: string): string | undefined => {
  let address = text.trim();
  if (address.startsWith('[')) address = address.slice(1, address.indexOf(']'));
  else if (/^\d+\.\d+\.\d+\.\d+:\d+$/.test(address)) address = address.slice(0, address.indexOf(':'));
  return isIP(address) === 0 ? undefined : plain(address);
};

/** Finds the address of the client of a request, behind the reverse proxies that the operator trusts. */
export class ClientAddress {
  readonly #trusted = new BlockList();

  /**
   * @param trustedProxies addresses or networks, `127.0.0.1` or `10.0.0.0/8`
   * @throws RangeError when one of them is neither
   */
  constructor(trustedProxies: readonly string[]) {
    for (const proxy of trustedProxies) {
      const [address = '', bits] = proxy.split('/');
      const family = isIP(address);
      const prefix = Number(bits);
      if (family === 0 || (bits !== undefined && !(/^\d+$/.test(bits) && prefix <= (family === 4 ? 32 : 128)))) {
        throw new RangeError(`The trusted proxy ${proxy} is neither an IP address nor a network such as 10.0.0.0/8.`);
      }
      const type = family === 4 ? 'ipv4' : 'ipv6';
      if (bits === undefined) this.#trusted.addAddress(address, type);
      else this.#trusted.addSubnet(address, prefix, type);
    }
  }

  /** Whether this address is one of the trusted proxies. */
  isTrusted(address: string): boolean {
    const family = isIP(address);
    return family !== 0 && this.#trusted.check(address, family === 4 ? 'ipv4' : 'ipv6');
  }

  /**
   * The last address on the way here that is not a trusted proxy. Entries further left in X-Forwarded-For were sent by the client and
   * prove nothing.
   */
  of(remoteAddress: string | undefined, forwardedFor: string | readonly string[] | undefined): string {
    let address = plain(remoteAddress ?? '');
    if (forwardedFor === undefined || !this.isTrusted(address)) return address;
    const hops = (typeof forwardedFor === 'string' ? forwardedFor : forwardedFor.join(',')).split(',');
    while (hops.length > 0 && this.isTrusted(address)) {
      const hop = parseForwarded(hops.pop() ?? '');
      if (hop === undefined) break;
      address = hop;
    }
    return address;
  }
}
