import type { IncomingMessage } from 'node:http';
import { ClientGone } from '#src/kernel/event-loop/client-gone.ts';

const ignore = (): void => {};

/**
 * Listens for the client to go away while its body arrives.
 *
 * @returns stops listening
 * @throws ClientGone when it is gone already: no event would tell, and its body would be waited for until the deadline
 */
export const watchClient = (request: IncomingMessage, onGone: (error: ClientGone) => void): (() => void) => {
  if (request.destroyed) throw new ClientGone();
  const gone = (): void => onGone(new ClientGone());
  request.on('close', gone).on('error', gone);
  // Without a listener for 'error' a connection that is reset afterwards would bring the process down.
  return () => void request.off('close', gone).on('error', ignore).off('error', gone);
};
