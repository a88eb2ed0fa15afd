/** Clients that wait for each message, and their delays. */
export class Audience {
  readonly #size: number;
  #marker = Buffer.from('-');
  #sentAt = 0;
  #got = new Set<number>();
  #done: (() => void) | undefined;
  #fail: ((error: Error) => void) | undefined;
  #failure: Error | undefined;
  /** Milliseconds from the sender's write to each receipt, over all rounds. */
  readonly delays: number[] = [];

  constructor(size: number) {
    this.#size = size;
  }

  /** Called with received data; counts if it contains the marker of this round. */
  heard(listener: number, body: Buffer): void {
    if (this.#done === undefined || this.#got.has(listener) || !body.includes(this.#marker)) return;
    this.#got.add(listener);
    this.delays.push(performance.now() - this.#sentAt);
    if (this.#got.size === this.#size) this.#done();
  }

  /** Reports a lost client: this round, or the next one, fails. */
  lost(error: Error): void {
    this.#failure ??= error;
    this.#fail?.(error);
  }

  /** Sends a message with `marker` in it and waits until everybody has it. */
  async round(marker: string, limitMs: number, send: () => Promise<unknown>): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#marker = Buffer.from(marker);
    this.#got = new Set();
    let timer: NodeJS.Timeout | undefined;
    const everybody = new Promise<void>((resolve, reject) => {
      this.#done = resolve;
      this.#fail = reject;
      timer = setTimeout(
        () => reject(new Error(`${this.#got.size} of ${this.#size} had the message after ${limitMs} ms`)),
        limitMs,
      );
    });
    try {
      this.#sentAt = performance.now();
      await Promise.all([everybody, send()]);
    } finally {
      clearTimeout(timer);
      this.#done = undefined;
      this.#fail = undefined;
    }
  }
}
