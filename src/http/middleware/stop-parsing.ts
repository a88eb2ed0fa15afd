import type { Socket } from 'node:net';

/** What Node keeps at a socket while it reads HTTP from it. This is not public: where it is not as expected, nothing is done. */
type Parser = { onIncoming?: unknown; remove?: unknown } & Record<number, unknown>;

/** The callbacks of a parser have numbers below this. */
const CALLBACKS = 8;

/**
 * Drops what was read from a connection and not parsed yet: up to 64 KiB, which are thousands of requests, or ten thousand pieces
 * of a body, each an object of its own. Destroying a socket does not do it, and Node has no public way. To be called in the turn in which
 * they are being read; the connection is of no use afterwards.
 */
export const stopParsing = (socket: Socket): void => {
  const { parser } = socket as Socket & { parser?: Parser | null };
  if (parser === undefined || parser === null) return;
  // 2 is the value for an upgrade: what follows is not HTTP.
  parser.onIncoming = () => 2;
  const { remove } = parser;
  if (typeof remove !== 'function') return;
  for (let index = 0; index < CALLBACKS; index += 1) {
    const callback = parser[index];
    if (typeof callback !== 'function' || callback.name !== 'parserOnBody') continue;
    parser[index] = undefined;
    // Parsers are used for other connections afterwards. This is called first when one is taken from its connection: not before all that was
    // read is passed over, as the next tick would be, which comes after each piece.
    parser.remove = () => {
      parser[index] = callback;
      parser.remove = remove;
      remove.call(parser);
    };
  }
};
