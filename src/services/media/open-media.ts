import type { Clock } from '#src/kernel/clock.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Database } from '#src/storage/database.ts';
import { firstTime } from '#src/storage/media/freeze.ts';
import type { MediaRecord } from '#src/storage/media/media.ts';

export interface OpenMediaOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly isOn: boolean;
  /** Milliseconds since the epoch; null for when it was switched on first. */
  readonly before: number | null;
}

/**
 * Decides which media are served without an access token. "Servers SHOULD … freeze the deprecated endpoints": media
 * that were uploaded later are served with a token only. Client-Server API, "Content repository", v1.11.
 */
export class OpenMedia {
  readonly #options: OpenMediaOptions;
  #before = 0;

  constructor(options: OpenMediaOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { before, clock, database, isOn } = this.#options;
    if (isOn) this.#before = before ?? (await firstTime(database, clock.now()));
  }

  /** @throws MatrixError M_NOT_FOUND where nothing is handed out this way */
  assertServed(): void {
    if (!this.#options.isOn) throw closed();
  }

  /** Whether media that come to be here now would be handed out. */
  servesNew(): boolean {
    return this.#options.isOn && this.#options.clock.now() < this.#before;
  }

  /** Whether a piece of media is handed out this way. */
  isOpen({ createdTs }: Pick<MediaRecord, 'createdTs'>): boolean {
    return this.#options.isOn && createdTs < this.#before;
  }

  /** @throws MatrixError M_NOT_FOUND for what was uploaded later */
  assertOpen(media: Pick<MediaRecord, 'createdTs'>): void {
    if (!this.isOpen(media)) throw closed();
  }
}

const closed = (): MatrixError =>
  new MatrixError('M_NOT_FOUND', 'This is served under /_matrix/client/v1/media, with an access token.');
