import { guestsForbidden } from '#src/services/accounts/admission/access-rules.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { SessionPolls } from '#src/services/accounts/sessions/session-polls.ts';
import type { EventStream, StreamChunk, StreamRequest } from './event-stream.ts';

/** What a client asks for by `GET /events`, as it writes it. */
export type EventPoll = Pick<StreamRequest, 'roomId' | 'from'> & {
  /** Milliseconds. */
  readonly timeout?: number | undefined;
};

export interface EventPollsOptions {
  readonly stream: EventStream;
  readonly sessionPolls: SessionPolls;
  /** Longest wait for events, in milliseconds, whatever a client asks for. */
  readonly greatestTimeoutMs: number;
}

/** The event stream of one room, or of all that one is in, by long-polling. Client-Server API, "Room Previews" and `GET /events`. */
export class EventPolls {
  readonly #options: EventPollsOptions;

  constructor(options: EventPollsOptions) {
    this.#options = options;
  }

  /** @throws MatrixError M_GUEST_ACCESS_FORBIDDEN for guests who name no room, and what `EventStream.read` and `SessionPolls.wait` throw */
  async poll(
    requester: Requester,
    { roomId, from, timeout = 0 }: EventPoll,
    signal: AbortSignal,
  ): Promise<StreamChunk> {
    const { greatestTimeoutMs, sessionPolls, stream } = this.#options;
    // "GET /events as used for room previews". Client-Server API, "Guest Access"
    if (roomId === undefined && requester.isGuest) throw guestsForbidden();
    const wait = Math.min(Math.max(timeout, 0), greatestTimeoutMs);
    return sessionPolls.wait(requester, signal, (aborted) =>
      stream.read(requester, { roomId, from, timeout: wait, signal: aborted }),
    );
  }
}
