import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

/** Counts bytes up to a limit. */
export class BoundedBytes {
  readonly #most: number;
  #bytes = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** @throws MatrixError M_TOO_LARGE */
  add(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#most)
      throw new MatrixError(
        'M_TOO_LARGE',
        `The archive would have more than ${this.#most} bytes: privacy.export_max_bytes.`,
      );
  }
}
