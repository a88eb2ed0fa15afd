import { join } from 'node:path';
import type { BlobStore } from '#src/blobs/blob-store.ts';
import { FileBlobStore } from '#src/blobs/file-blob-store.ts';
import { S3BlobStore } from '#src/blobs/s3-blob-store.ts';
import { Clamd } from '#src/remote/clamd.ts';
import { ContentStore } from '#src/services/media/content-store.ts';
import { ImageScaler } from '#src/services/media/image-scaler.ts';
import { MediaAccess } from '#src/services/media/media-access.ts';
import { MediaCleaner } from '#src/services/media/media-cleaner.ts';
import { MediaDelivery } from '#src/services/media/media-delivery.ts';
import { MediaModeration } from '#src/services/media/media-moderation.ts';
import { MediaReferences, FOLLOWED_TEXT, FOLLOWED_TYPES } from '#src/services/media/media-references.ts';
import { MediaSweeps } from '#src/services/media/media-sweeps.ts';
import { MediaScanner } from '#src/services/media/media-scanner.ts';
import { MediaService } from '#src/services/media/media-service.ts';
import { OpenMedia } from '#src/services/media/open-media.ts';
import { RemoteMedia } from '#src/services/media/remote-media.ts';
import { ThumbnailService } from '#src/services/media/thumbnail-service.ts';
import type { Config } from '../config/config.ts';
import type { Platform } from '../ground/platform.ts';
import type { ServerFiles } from '../ground/server-files.ts';
import type { Slice } from '../ground/slice.ts';
import type { Auditing } from './audit.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Queries } from './federation-queries.ts';
import { composeFollower } from './follower.ts';
import type { Policy } from './policy.ts';
import type { RoomModel } from './room-model.ts';
import type { Users } from './users.ts';

/** The content repository. */
export interface Media {
  readonly contents: ContentStore;
  readonly imageScaler: ImageScaler;
  readonly media: MediaService;
  readonly thumbnails: ThumbnailService;
  readonly remoteMedia: RemoteMedia;
  readonly mediaDelivery: MediaDelivery;
  readonly openMedia: OpenMedia;
  readonly mediaReferences: MediaReferences;
  readonly mediaCleaner: MediaCleaner;
  readonly mediaModeration: MediaModeration;
  readonly mediaSweeps: MediaSweeps;
  readonly maxUploadBytes: number;
}

/** Where media are stored: files in the data directory, and the object store, where there is one. */
export const blobStoresOf = (
  { dataDir, media: { s3 } }: Pick<Config, 'dataDir' | 'media'>,
  { timers, certificateAuthorities }: Pick<Platform & ServerFiles, 'timers' | 'certificateAuthorities'>,
): { readonly file: FileBlobStore; readonly s3?: S3BlobStore } => {
  const { endpoint, bucket, accessKeyId, secretAccessKey } = s3;
  const file = new FileBlobStore(join(dataDir, 'media'));
  if (endpoint === null || bucket === null || accessKeyId === null || secretAccessKey === null) return { file };
  const { pathStyle, prefix, redirectDownloads: givesLinks, region } = s3;
  const credentials = { accessKeyId, secretAccessKey };
  const place = { endpoint, bucket, prefix, region, pathStyle, certificateAuthorities };
  return { file, s3: new S3BlobStore({ ...place, ...credentials, givesLinks, timers }) };
};

export function composeMedia(
  below: Platform & ServerFiles & Auditing & Queries & Users & Commit & Policy & RoomModel & EventStreaming,
): Slice<Media> {
  const { auditLog, clock, config, database, logger, mediaApi, random, timers, users } = below;
  const { clamd, retention, store, ...limits } = config.media;
  const { serverName } = config;
  const stores: { readonly file: BlobStore; readonly s3?: BlobStore } = blobStoresOf(config, below);
  const maxBytes = limits.maxTotalBytes;
  const contents = new ContentStore({ database, stores, place: store, clock, random, logger, timers, maxBytes });
  const remoteMedia = new RemoteMedia({ api: mediaApi, contents, clock, logger });
  const access = new MediaAccess({ database, clock, timers, logger });
  const scanner =
    clamd.address === null
      ? undefined
      : new MediaScanner({
          database,
          contents,
          clamd: new Clamd({ address: clamd.address, timers, timeoutMs: clamd.timeoutMs }),
          logger,
        });
  const mediaReferences = new MediaReferences({ database, clock, serverName });
  const { follower, close } = composeFollower(below, {
    name: 'media',
    types: FOLLOWED_TYPES,
    containing: FOLLOWED_TEXT,
    take: (batch) => mediaReferences.take(batch),
  });
  const imageScaler = new ImageScaler();
  const openMedia = new OpenMedia({
    database,
    clock,
    isOn: limits.unauthenticatedDownloads,
    before: limits.unauthenticatedBeforeTs,
  });
  return {
    name: 'media',
    services: {
      contents,
      imageScaler,
      media: new MediaService({
        database,
        contents,
        access,
        remote: remoteMedia,
        scanner,
        clock,
        timers,
        random,
        serverName,
        policy: below.policyGate,
        maxUserBytes: limits.maxUserBytes,
        maxUserFiles: limits.maxUserFiles,
        maxPending: limits.maxPendingUploads,
        pendingLifetimeMs: limits.pendingUploadLifetimeMs,
      }),
      remoteMedia,
      thumbnails: new ThumbnailService({ database, contents, scaler: imageScaler }),
      mediaDelivery: new MediaDelivery(contents),
      openMedia,
      mediaReferences,
      mediaCleaner: new MediaCleaner({
        database,
        contents,
        follower,
        clock,
        timers,
        serverName,
        pauseMs: config.retention.pauseMs,
        graceMs: retention.releasedGraceMs,
        localLifetimeMs: retention.localLifetimeMs,
        remoteLifetimeMs: retention.remoteLifetimeMs,
      }),
      mediaModeration: new MediaModeration({ database, clock, users, auditLog, serverName }),
      mediaSweeps: new MediaSweeps({ clock, serverName }),
      maxUploadBytes: limits.maxUploadBytes,
    },
    async start() {
      await openMedia.start();
      await follower.start();
    },
    async idle() {
      await follower.idle();
      await access.idle();
      await contents.condition.idle();
    },
    async close() {
      await access.close();
      await contents.condition.close();
      await close();
      await Promise.all(Object.values(stores).map((one) => one.close()));
    },
  };
}
