import type { Work } from './work.ts';

/** Whoever asked went away: nobody waits for what comes of it, so nothing more is done for them. */
export class ClientGone extends Error {
  /** This server closed the connection, for what the client did. */
  readonly isSentAway: boolean;

  constructor(isSentAway = false) {
    super('The client closed the connection.');
    this.name = 'ClientGone';
    this.isSentAway = isSentAway;
  }
}

/**
 * To be called where something large has waited for its turn, and nothing of it is done yet.
 *
 * @throws ClientGone when its client is gone: it was told nothing, and will ask again
 */
export const assertWorkWanted = (work: Work | undefined): void => {
  if (work?.isUnwanted?.() === true) throw new ClientGone();
};

/**
 * To be called where somebody has waited long, and much would be done for them now.
 *
 * @param signal of a request; it may also have been aborted for another reason, such as a server that drains: then an answer is still wanted
 * @throws ClientGone
 */
export const assertWanted = (signal: AbortSignal | undefined): void => {
  if (signal?.reason instanceof ClientGone) throw signal.reason;
};
