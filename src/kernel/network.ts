/** Expands an IPv6 address to its first four groups. */
const firstGroups = (address: string): readonly string[] => {
  const [left, right] = address.split('::') as [string, string | undefined];
  const head = left === '' ? [] : left.split(':');
  if (right === undefined) return head.slice(0, 4);
  const tail = right === '' ? [] : right.split(':');
  // A dotted IPv4 address at the end stands for two groups.
  const length = tail.length + (tail.at(-1)?.includes('.') === true ? 1 : 0);
  const zeros = Array.from({ length: Math.max(0, 8 - head.length - length) }, () => '0');
  return [...head, ...zeros, ...tail].slice(0, 4);
};

/**
 * The key of an address for limits: an IPv4 address itself; of an IPv6 address the /64, since that is what one subscriber gets, and
 * its owner has 2^64 addresses. What is no address stays as it is.
 */
export const networkOf = (address: string): string => {
  if (!address.includes(':')) return address;
  const zone = address.indexOf('%');
  const groups = firstGroups((zone === -1 ? address : address.slice(0, zone)).toLowerCase());
  return `${groups.map((group) => group.replace(/^0+(?=.)/, '')).join(':')}::/64`;
};

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/;

/** Whether the host of a URL is this machine itself, by its name. */
export const isLoopback = (hostname: string): boolean => LOOPBACK.test(hostname);
