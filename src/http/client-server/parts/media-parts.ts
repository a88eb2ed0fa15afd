import { Type } from 'typebox';
import type { MediaDelivery } from '#src/services/media/media-delivery.ts';
import type { AvailableMedia, MediaService } from '#src/services/media/media-service.ts';
import type { ServedBlob, ThumbnailService } from '#src/services/media/thumbnail-service.ts';
import { Reply, type RequestInfo } from '../../endpoint.ts';

export interface MediaServices {
  readonly media: MediaService;
  readonly thumbnails: ThumbnailService;
  readonly mediaDelivery: MediaDelivery;
}

export const mediaParams = Type.Object({ serverName: Type.String(), mediaId: Type.String() });
export const namedMediaParams = Type.Object({
  serverName: Type.String(),
  mediaId: Type.String(),
  fileName: Type.String(),
});
export const waiting = { timeout_ms: Type.Optional(Type.Integer()) };
export const thumbnailQuery = Type.Object({
  width: Type.Integer(),
  height: Type.Integer(),
  method: Type.Optional(Type.Union([Type.Literal('crop'), Type.Literal('scale')])),
  animated: Type.Optional(Type.Boolean()),
  ...waiting,
});
export const DOWNLOAD_ERRORS = ['M_NOT_FOUND', 'M_NOT_YET_UPLOADED', 'M_LIMIT_EXCEEDED'] as const;
export const THUMBNAIL_ERRORS = [...DOWNLOAD_ERRORS, 'M_INVALID_PARAM', 'M_TOO_LARGE', 'M_UNKNOWN'] as const;

interface Named {
  readonly serverName: string;
  readonly mediaId: string;
  readonly fileName?: string;
}

/** Media as a download, under its own name or the one that the path gives it. */
export const download = async (
  { media, mediaDelivery }: MediaServices,
  { serverName, mediaId, fileName }: Named,
  timeoutMs: number | undefined,
  info: RequestInfo,
): Promise<Reply> => {
  const found = await media.get(serverName, mediaId, timeoutMs, info.signal);
  return deliver(mediaDelivery, found, fileName ?? found.filename ?? undefined, info);
};

/** A thumbnail of media. */
export const thumbnail = async (
  { media, mediaDelivery, thumbnails }: MediaServices,
  { serverName, mediaId }: Named,
  query: {
    readonly width: number;
    readonly height: number;
    readonly method?: 'crop' | 'scale';
    readonly animated?: boolean;
    readonly timeout_ms?: number;
  },
  info: RequestInfo,
): Promise<Reply> => {
  const found: AvailableMedia = await media.get(serverName, mediaId, query.timeout_ms, info.signal);
  const { width, height, method, animated = false } = query;
  const made = await thumbnails.thumbnail(found, { width, height, method, animated });
  return deliver(mediaDelivery, made, 'thumbnail', info);
};

const deliver = async (
  delivery: MediaDelivery,
  blob: ServedBlob,
  filename: string | undefined,
  { range, ifNoneMatch }: RequestInfo,
): Promise<Reply> => {
  const { status, headers, contentType, content, length } = await delivery.deliver(blob, filename, {
    range,
    ifNoneMatch,
  });
  return content === undefined
    ? new Reply({ status, headers, contentType, content: '' })
    : new Reply({ status, headers, contentType, stream: content, length });
};
