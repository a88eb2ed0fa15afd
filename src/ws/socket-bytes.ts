import type { BytesHeld } from '#src/kernel/limits/bytes-in-flight.ts';

/** Bytes in either direction that are not counted: as many sockets as there may be do no harm by them. */
const UNCOUNTED_BYTES = 2 * 1024;

const counted = (bytes: number): number => (bytes > UNCOUNTED_BYTES ? bytes : 0);

/**
 * The bytes that a socket has in memory, on their way in and out: of the frame that arrives, of frames that wait to be read, of requests that
 * run, and of what the peer has not read yet. They count in the budget for bytes in flight. Bytes under 2 KiB do not.
 */
export class SocketBytes {
  readonly #held: BytesHeld;
  readonly #socket: { readonly bufferedAmount: number };
  readonly #owner: { noRoom(): void };
  #arriving = 0;
  #waiting = 0;
  #running = 0;
  #isGone = false;

  /**
   * @param socket what is not sent yet is in its buffer
   * @param owner is told when there is no room for what it has: then it has to go
   */
  constructor(held: BytesHeld, socket: { readonly bufferedAmount: number }, owner: { noRoom(): void }) {
    this.#held = held;
    this.#socket = socket;
    this.#owner = owner;
  }

  /** Sets the user for whom they count from now on. */
  countFor(userId: string): void {
    this.#held.userId = userId;
  }

  /** Bytes that came since the last whole frame, or since `framed`. */
  get arriving(): number {
    return this.#arriving;
  }

  /** Bytes came. @returns whether there are so many that they count: the owner looks at them, and calls `count` */
  arrived(bytes: number): boolean {
    this.#arriving += bytes;
    return this.#arriving > UNCOUNTED_BYTES;
  }

  /** What came was a whole frame, or is not looked at any more. */
  framed(): void {
    this.#arriving = 0;
  }

  /** A frame waits. */
  waits(bytes: number): void {
    this.#waiting += bytes;
    this.count();
  }

  /** Frames wait no longer. */
  waited(bytes: number): void {
    this.#waiting -= bytes;
  }

  /** No frame that waits will be read. */
  waitNoLonger(): void {
    this.#waiting = 0;
  }

  /** A request runs, and keeps what it was asked. */
  runs(bytes: number): void {
    this.#running += bytes;
    if (this.#running > UNCOUNTED_BYTES) this.count();
  }

  /** A request runs no longer. */
  ended(bytes: number): void {
    this.#running -= bytes;
    this.countAgain();
  }

  /** Something was written to the socket. */
  written(): void {
    if (this.#socket.bufferedAmount > UNCOUNTED_BYTES) this.count();
  }

  /** Counts again where something was counted before: it may be less by now. */
  countAgain(): void {
    if (this.#held.bytes > 0) this.count();
  }

  count(): void {
    if (this.#isGone) {
      this.#held.hold('frame', Math.min(this.#held.bytes, this.#running));
      return;
    }
    const bytes =
      counted(this.#arriving) + counted(this.#waiting + this.#running) + counted(this.#socket.bufferedAmount);
    if (!this.#held.hold('frame', bytes)) this.#owner.noRoom();
  }

  /** The socket is gone: what requests that run were asked is all that is left. */
  release(): void {
    this.#isGone = true;
    this.#held.hold('frame', this.#running);
  }
}
