import { Gate } from '#src/kernel/limits/gate.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Clamd } from '#src/remote/clamd.ts';
import type { Database } from '#src/storage/database.ts';
import { type BlobRecord, noteScan, type ScanVerdict } from '#src/storage/media/blobs.ts';
import { contentMissing, type ContentStore } from './content-store.ts';

/** Objects that are scanned at once. */
export const CONCURRENCY = 4;
export const MAX_WAITING = 200;

export interface MediaScannerOptions {
  readonly database: Database;
  readonly contents: ContentStore;
  readonly clamd: Clamd;
  readonly logger: Logger;
}

/** Has each object scanned once, before it is served for the first time. Encrypted media cannot be inspected, and pass. */
export class MediaScanner {
  readonly #options: MediaScannerOptions;
  readonly #gate = new Gate(CONCURRENCY);
  readonly #scanning = new OnceByKey<string, ScanVerdict | undefined>();

  constructor(options: MediaScannerOptions) {
    this.#options = options;
  }

  /**
   * @throws MatrixError M_NOT_FOUND for what is infected; M_UNKNOWN (503) when the scanner does not answer
   */
  async assertClean(blob: BlobRecord): Promise<void> {
    const verdict = blob.scan ?? (await this.#scanning.run(blob.name, () => this.#scan(blob)));
    if (verdict === 'infected')
      throw new MatrixError('M_NOT_FOUND', 'This media is withheld: a scanner has found malicious software in it.');
    if (verdict === undefined) {
      throw new MatrixError(
        'M_UNKNOWN',
        'This media has to be scanned before it is handed out, which is not possible at the moment.',
        { retry_after_ms: 10_000 },
        503,
      );
    }
  }

  async #scan(blob: BlobRecord): Promise<ScanVerdict | undefined> {
    const { clamd, contents, database, logger } = this.#options;
    if (this.#gate.waiting >= MAX_WAITING) return undefined;
    return this.#gate.run(async () => {
      const content = await contents.open(blob);
      if (content === undefined) throw contentMissing();
      const scan = await clamd.scan(content);
      if (scan.kind === 'unknown') {
        logger.error('media cannot be scanned', { digest: blob.digest, reason: scan.reason });
        return undefined;
      }
      if (scan.kind === 'infected')
        logger.warn('media are infected and withheld', { digest: blob.digest, found: scan.name });
      await noteScan(database, blob.name, scan.kind);
      return scan.kind;
    });
  }
}
