import type { Socket } from 'node:net';

/** What Node keeps at a socket while it reads HTTP from it. Not public: what is not as expected here is left alone. */
type Parser = { onIncoming?: unknown } & Record<number, unknown>;

/** The callbacks of a parser have numbers below this. */
const CALLBACKS = 8;

/**
 * Leaves what was read of a connection, and not looked at yet, unread: up to 64 KiB, which are thousands of requests, or ten thousand pieces
 * of a body, each an object of its own. Destroying a socket does not do it, and Node has no public way. To be called in the turn in which
 * they are being read; the connection is of no use afterwards.
 */
export const stopParsing = (socket: Socket): void => {
  const { parser } = socket as Socket & { parser?: Parser | null };
  if (parser === undefined || parser === null) return;
  // 2 is what is said for an upgrade: what follows is not HTTP.
  parser.onIncoming = () => 2;
  for (let index = 0; index < CALLBACKS; index += 1) {
    const callback = parser[index];
    if (typeof callback !== 'function' || callback.name !== 'parserOnBody') continue;
    parser[index] = undefined;
    // Parsers are used again for other connections, never in the same turn.
    process.nextTick(() => (parser[index] = callback));
  }
};
