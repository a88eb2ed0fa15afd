import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { MediaDelivery } from '#src/services/media/media-delivery.ts';
import type { AvailableMedia, MediaService, MediaParams } from '#src/services/media/media-service.ts';
import type { ServedContent, ThumbnailService } from '#src/services/media/thumbnail-service.ts';
import { Reply, type RequestInfo } from '../../endpoint.ts';

export interface MediaServices {
  readonly media: MediaService;
  readonly thumbnails: ThumbnailService;
  readonly mediaDelivery: MediaDelivery;
}

/** What the endpoints of the media configuration have in common. Client-Server API, "Content repository". */
export const MEDIA_CONFIG = {
  summary: 'Get the configuration for the content repository.',
  method: 'GET',
  auth: 'accessToken',
  guests: { allowed: 'clients ask for it before they show anything' },
  suspended: READS,
  rateLimit: 'default',
  response: Type.Object({ 'm.upload.size': Type.Integer() }),
  errcodes: ['M_LIMIT_EXCEEDED'],
  handler: ({ maxUploadBytes }: { readonly maxUploadBytes: number }) => ({ 'm.upload.size': maxUploadBytes }),
} as const;

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
export const DOWNLOAD_ERRORS = [
  'M_NOT_FOUND',
  'M_NOT_YET_UPLOADED',
  'M_LIMIT_EXCEEDED',
  'M_UNKNOWN',
  'M_FORBIDDEN',
  'M_CONNECTION_FAILED',
  'M_CONNECTION_TIMEOUT',
] as const;
/** What is answered where another server has the file. */
export const REMOTE_ANSWERS = {
  502: {
    description: "M_TOO_LARGE: another server's file is too large. M_CONNECTION_FAILED: it could not be fetched.",
  },
};
export const THUMBNAIL_ERRORS = [...DOWNLOAD_ERRORS, 'M_INVALID_PARAM', 'M_TOO_LARGE'] as const;

interface Named {
  readonly serverName: string;
  readonly mediaId: string;
  readonly fileName?: string;
}

/** How media are asked for, beside which. */
export interface Asking {
  readonly info: RequestInfo;
  /** Who asks, by whose name they wait in line. */
  readonly party: string;
  readonly timeoutMs: number | undefined;
  /** Whether other servers are asked for theirs. */
  readonly allowRemote: boolean;
  /** Whether a redirect to where the bytes lie is an answer. */
  readonly mayRedirect: boolean;
  /** Refuses media that are not for the requester. */
  readonly assertOpen?: (media: AvailableMedia) => void;
}

const mediaParamsOf = (
  serverName: string,
  mediaId: string,
  { allowRemote, info, party, timeoutMs }: Asking,
): MediaParams => ({
  serverName,
  mediaId,
  party,
  timeoutMs,
  allowRemote,
  signal: info.signal,
});

/** Media as a download, under its own name or the one that the path gives it. */
export const download = async (
  { media, mediaDelivery }: MediaServices,
  { serverName, mediaId, fileName }: Named,
  asking: Asking,
): Promise<Reply> => {
  const found = await media.get(mediaParamsOf(serverName, mediaId, asking));
  asking.assertOpen?.(found);
  return deliver(mediaDelivery, found, fileName ?? found.filename ?? undefined, asking);
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
  },
  asking: Asking,
): Promise<Reply> => {
  const found = await media.get(mediaParamsOf(serverName, mediaId, asking));
  asking.assertOpen?.(found);
  const { width, height, method, animated = false } = query;
  const made = await thumbnails.thumbnail(found, { width, height, method, animated }, asking.party);
  return deliver(mediaDelivery, made, 'thumbnail', asking);
};

const deliver = async (
  delivery: MediaDelivery,
  served: ServedContent,
  filename: string | undefined,
  { info: { ifNoneMatch, ifRange, isHead, range }, mayRedirect }: Asking,
): Promise<Reply> => {
  const conditions = { range, ifRange, ifNoneMatch, isHead, mayRedirect };
  const { status, headers, contentType, content, length } = await delivery.deliver(served, filename, conditions);
  if (content !== undefined) return new Reply({ status, headers, contentType, stream: content, length });
  return new Reply({ status, headers, contentType, ...(isHead && length > 0 ? { length } : { content: '' }) });
};
