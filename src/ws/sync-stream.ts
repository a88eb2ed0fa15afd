import { doing, Work } from '#src/kernel/event-loop/work.ts';
import { isPromise } from '#src/kernel/concurrency/steps.ts';
import type { Filter } from '#src/protocol/filters/filter.ts';
import type { SyncPosition } from '#src/protocol/wire/position.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { SyncResult } from '#src/services/sync/engine/sync-request.ts';
import type { StreamSettings } from './method.ts';
import type { Presence, WatchedUser, WebSocketServices } from './services.ts';
import type { StreamStart } from './stream-params.ts';

/** Where the frames of a stream go. */
export interface StreamSink {
  /** Whether the peer has taken what it was sent before. When it has not, `pump` is to be called once it did. */
  mayPush(): boolean;
  push(body: string): void;
  failed(error: unknown): void;
}

/**
 * Pushes news to one socket. It keeps no queue: only the position up to which the peer was told. What happens while the peer does not
 * read is asked of the sync engine in one piece when it reads again, and comes as any gap does: `limited`.
 */
export class SyncStream implements StreamSettings {
  filter: Filter;
  presence: Presence;
  readonly #services: Pick<WebSocketServices, 'sync' | 'users'>;
  readonly #sink: StreamSink;
  readonly #requester: Requester;
  readonly #stateAfter: StreamStart['stateAfter'];
  readonly #signal: AbortSignal;
  #since: SyncPosition | undefined;
  #fullState: boolean;
  #user: WatchedUser | undefined;
  #stopWaiting: (() => void) | undefined;
  /** The user's version that the latest frame was made from. */
  #version = -1;
  #hasBegun = false;
  #isBusy = false;
  #isClosed = false;

  /** @param signal aborted when the server drains */
  constructor(
    services: Pick<WebSocketServices, 'sync' | 'users'>,
    sink: StreamSink,
    requester: Requester,
    start: StreamStart,
    signal: AbortSignal,
  ) {
    this.#services = services;
    this.#sink = sink;
    this.#requester = requester;
    this.#since = start.since;
    this.filter = start.filter;
    this.#fullState = start.fullState;
    this.presence = start.presence;
    this.#stateAfter = start.stateAfter;
    this.#signal = signal;
  }

  /** Begins: the first frame comes at once, empty or not, and says that the peer has caught up. */
  async open(): Promise<void> {
    try {
      const user = await this.#services.users.open(this.#requester.userId);
      if (this.#isClosed) return;
      this.#user = user;
      this.#stopWaiting = user.addWaiter(() => this.pump());
      this.pump();
    } catch (error) {
      this.#sink.failed(error);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#stopWaiting?.();
  }

  /** Pushes what is new, unless there is nothing, or the peer does not keep up. */
  pump(): void {
    const user = this.#user;
    if (user === undefined || this.#isClosed || this.#isBusy) return;
    // Rooms that did not fit into an answer come with the next one, whether or not there is other news.
    const isBehind = this.#since?.rooms !== undefined;
    if (this.#hasBegun && !isBehind && user.version === this.#version) return;
    if (!this.#sink.mayPush()) return;
    this.#isBusy = true;
    this.#version = user.version;
    doing(new Work('websocket.push'), this.#pushNews);
  }

  readonly #pushNews = (): void => {
    const { userId, deviceId } = this.#requester;
    try {
      const answer = this.#services.sync.answer({
        userId,
        deviceId,
        since: this.#since,
        filter: this.filter,
        fullState: this.#fullState,
        timeout: 0,
        stateAfter: this.#stateAfter,
        signal: this.#signal,
      });
      if (isPromise(answer)) answer.then((read) => this.#tell(read)).catch((error: unknown) => this.#fail(error));
      else this.#tell(answer);
    } catch (error) {
      this.#fail(error);
    }
  };

  #tell({ body, next, isEmpty }: SyncResult): void {
    if (!this.#isClosed) {
      this.#since = next;
      if (!isEmpty || !this.#hasBegun) this.#sink.push(body);
      this.#hasBegun = true;
      this.#fullState = false;
    }
    this.#isBusy = false;
    // What came while this was computed may not have been in it.
    this.pump();
  }

  #fail(error: unknown): void {
    this.#isBusy = false;
    if (!this.#isClosed) this.#sink.failed(error);
  }
}
