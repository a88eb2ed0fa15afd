import { join } from 'node:path';
import { FileBlobStore } from '#src/blobs/file-blob-store.ts';
import { ImageScaler } from '#src/services/media/image-scaler.ts';
import { MediaDelivery } from '#src/services/media/media-delivery.ts';
import { MediaService } from '#src/services/media/media-service.ts';
import { ThumbnailService } from '#src/services/media/thumbnail-service.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';

/** Files that users share. */
export interface Media {
  readonly media: MediaService;
  readonly thumbnails: ThumbnailService;
  readonly mediaDelivery: MediaDelivery;
  readonly mostUploadBytes: number;
  readonly servesMediaToAnybody: boolean;
}

export function composeMedia({ clock, config, database, random, timers }: Platform): Slice<Media> {
  const { maxUploadBytes, maxUserBytes, maxPendingUploads, pendingUploadLifetimeMs, unauthenticatedDownloads } =
    config.media;
  // Files that were meant for an object store must not end up on a disk that nobody backs up.
  if (config.media.store !== 'file')
    throw new Error('media.store: s3 is not there yet. Set it to file, which keeps media below data_dir.');
  const blobs = new FileBlobStore(join(config.dataDir, 'media'));
  return {
    name: 'media',
    services: {
      media: new MediaService({
        database,
        blobs,
        clock,
        timers,
        random,
        serverName: config.serverName,
        mostUserBytes: maxUserBytes,
        mostPending: maxPendingUploads,
        pendingLifetimeMs: pendingUploadLifetimeMs,
      }),
      thumbnails: new ThumbnailService({ database, blobs, scaler: new ImageScaler() }),
      mediaDelivery: new MediaDelivery(blobs),
      mostUploadBytes: maxUploadBytes,
      servesMediaToAnybody: unauthenticatedDownloads,
    },
  };
}
