import { Tally } from '#src/kernel/tally.ts';
import { Readable } from 'node:stream';
import type { Clock } from '#src/kernel/clock.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { OnceByKey } from '#src/kernel/caches/once.ts';
import { orAborted } from '#src/kernel/concurrency/or-aborted.ts';
import { SharedBudget, Shares } from '#src/kernel/limits/shared-budget.ts';
import { TimedCache } from '#src/kernel/caches/timed-cache.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isServerName } from '#src/protocol/identifiers/server-name.ts';
import { type FederationFailure, matrixErrorOf } from '#src/remote/federation/federation-result.ts';
import { type MediaApi, type RemoteFile, RemoteFileFault } from '#src/remote/federation/media-api.ts';
import { violatesUnique } from '#src/storage/failures.ts';
import { insertMedia } from '#src/storage/media/media.ts';
import { noSuchMedia } from './no-such-media.ts';
import type { ContentStore } from './content-store.ts';
import { describedAs } from './media-description.ts';

/** Files that are fetched at once, those of one server, and those for one user or address. */
export const CONCURRENCY = 48;
export const OF_SERVER = 12;
export const FOR_PARTY = 16;
/** Failures that are cached, so that not every view of a room asks again: entries, and milliseconds. */
const MAX_FAILURES = 20_000;
const MISSING_MS = 60_000;
const FAILED_MS = 15_000;

export interface RemoteMediaOptions {
  readonly api: MediaApi;
  readonly contents: ContentStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** A request for a file of another server. */
export interface RemoteMediaRequest {
  readonly serverName: string;
  readonly mediaId: string;
  /** In whose name it is fetched. */
  readonly party: string;
  /** Milliseconds that the other server is to wait for what is not uploaded yet. */
  readonly waitMs: number;
  /** Ends the waiting, not the fetching: others may want the same. */
  readonly signal: AbortSignal;
}

/** Fetches and stores media of other servers, each once for all concurrent requests. Client-Server API, "Content repository". */
export class RemoteMedia {
  readonly #options: RemoteMediaOptions;
  /** Outcomes of fetches. */
  readonly counts = new Tally('kept', 'failed');
  readonly #fetching = new OnceByKey<string, FederationFailure | undefined>();
  readonly #failures: TimedCache<FederationFailure>;
  readonly #budget = new SharedBudget(CONCURRENCY);
  readonly #servers = new Shares(OF_SERVER);
  readonly #parties = new Shares(FOR_PARTY);

  constructor(options: RemoteMediaOptions) {
    this.#options = options;
    this.#failures = new TimedCache({
      name: 'remote_media_failures',
      clock: options.clock,
      maxSize: MAX_FAILURES,
      lifetimeMs: ({ errcode, kind }) => (kind === 'refused' && errcode === 'M_NOT_FOUND' ? MISSING_MS : FAILED_MS),
    });
  }

  /**
   * Fetches a file that is not here. It is here when this resolves.
   *
   * @throws MatrixError M_NOT_FOUND, M_NOT_YET_UPLOADED, M_TOO_LARGE (502), M_FORBIDDEN, M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT;
   *   M_LIMIT_EXCEEDED when too many are being fetched; M_UNKNOWN (503) when files cannot be written
   */
  async fetch(params: RemoteMediaRequest): Promise<void> {
    const { serverName, mediaId, signal } = params;
    if (!isServerName(serverName)) throw noSuchMedia();
    const key = `${serverName}/${mediaId}`;
    const failed =
      this.#failures.peek(key) ??
      (await orAborted(
        this.#fetching.run(key, () => this.#fetchOnce(params)),
        signal,
      ));
    if (failed === undefined) return;
    if (failed.errcode !== 'M_NOT_YET_UPLOADED') this.#failures.set(key, failed);
    throw errorOf(failed);
  }

  async #fetchOnce(params: RemoteMediaRequest): Promise<FederationFailure | undefined> {
    const { serverName, mediaId, party, waitMs } = params;
    const release = this.#begin(serverName, party);
    try {
      const file = await this.#options.api.download(serverName, mediaId, waitMs);
      const failure = file.ok ? await this.#keep(file, serverName, mediaId) : file;
      this.counts.add(failure === undefined ? 'kept' : 'failed');
      return failure;
    } finally {
      release();
    }
  }

  async #keep(file: RemoteFile, origin: string, mediaId: string): Promise<FederationFailure | undefined> {
    const { clock, contents, logger } = this.#options;
    const content = Readable.from(file.content, { objectMode: false });
    try {
      await contents.keep(content, async (tx, { name: blob, size }) => {
        const media = { origin, mediaId, userId: '', createdTs: clock.now(), expiresTs: null };
        await insertMedia(tx, media, { blob, size, ...describedAs(file.contentType, file.filename) });
      });
      return undefined;
    } catch (error) {
      // Another process has fetched it meanwhile.
      if (violatesUnique(error, 'media_name')) return undefined;
      if (!(error instanceof RemoteFileFault)) throw error;
      logger.info('remote media could not be fetched', {
        origin,
        media_id: mediaId,
        reason: error.message,
      });
      return error.failure;
    } finally {
      content.destroy();
      await file.discard();
    }
  }

  /** Takes a place among those that are being fetched. @returns gives it back @throws MatrixError M_LIMIT_EXCEEDED */
  #begin(serverName: string, party: string): () => void {
    const shares = [this.#servers.of(serverName), this.#parties.of(party)] as const;
    if (!this.#budget.take(1, ...shares))
      throw limitExceeded(
        'remote_media',
        2_000,
        'Too many files of other servers are being fetched: try again shortly.',
      );
    return () => this.#budget.give(1, ...shares);
  }
}

/** The error for the client. Client-Server API, `GET /_matrix/client/v1/media/download`. */
const errorOf = (failure: FederationFailure): MatrixError => {
  const { errcode, kind } = failure;
  if (kind === 'too_large' || (kind === 'refused' && errcode === 'M_TOO_LARGE'))
    return new MatrixError('M_TOO_LARGE', failure.error, {}, 502);
  if (kind === 'refused' && errcode === 'M_NOT_YET_UPLOADED')
    return new MatrixError('M_NOT_YET_UPLOADED', 'The content has not been uploaded yet. Try again later.');
  if (kind === 'disabled' || (kind === 'refused' && (failure.status === 404 || failure.status === 403)))
    return noSuchMedia();
  return matrixErrorOf(failure);
};
