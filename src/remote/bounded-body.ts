import type { Readable } from 'node:stream';

/** The body of a response up to a limit: it throws when it is longer. Unlike a generator, it can be given back before it was begun. */
export class BoundedBody implements AsyncIterableIterator<Buffer> {
  /** Resolves when it was read, given back or broke off. */
  readonly ended: Promise<void>;
  readonly #body: Readable;
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #maxBytes: number;
  readonly #end: () => void;
  #size = 0;

  constructor(body: Readable, maxBytes: number) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#end = resolve;
    this.#body = body;
    this.#maxBytes = maxBytes;
    // It was broken off by us, or the reader gets the error.
    body.on('error', () => undefined);
    body.on('close', resolve);
    this.#pieces = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<Buffer, undefined>> {
    try {
      const { done, value } = await this.#pieces.next();
      if (done === true) return this.#over();
      this.#size += value.length;
      if (this.#size > this.#maxBytes) throw new Error(`the answer is longer than ${this.#maxBytes} bytes`);
      return { done: false, value };
    } catch (error) {
      this.#over();
      throw error;
    }
  }

  return(): Promise<IteratorResult<Buffer, undefined>> {
    return Promise.resolve(this.#over());
  }

  #over(): { readonly done: true; readonly value: undefined } {
    this.#body.destroy();
    this.#end();
    return { done: true, value: undefined };
  }
}
