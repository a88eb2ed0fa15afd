import { type Static, Type } from 'typebox';
import { LOCAL, MEDIA_ORDERS, type MediaPage, type MediaRecord } from '#src/services/media/media-moderation.ts';

const orNull = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) => Type.Union([type, Type.Null()]);

const description = {
  media_id: Type.String(),
  media_type: orNull(Type.String()),
  media_length: orNull(Type.Integer()),
  upload_name: orNull(Type.String()),
  created_ts: Type.Integer(),
  url_cache: orNull(Type.String()),
  last_access_ts: orNull(Type.Integer()),
  quarantined_by: orNull(Type.String()),
  authenticated: Type.Boolean(),
  sha256: orNull(Type.String()),
};

/** A file, this server's or another's. */
export const mediaInfo = Type.Object({
  media_origin: orNull(Type.String()),
  user_id: orNull(Type.String()),
  filesystem_id: orNull(Type.String()),
  safe_from_quarantine: orNull(Type.Boolean()),
  ...description,
});

/** A file that a user has uploaded. */
export const userMedia = Type.Object({ user_id: Type.String(), safe_from_quarantine: Type.Boolean(), ...description });

/** Which part of a list is wanted, and in which order. */
export const mediaPage = Type.Object({
  from: Type.Optional(Type.Integer({ minimum: 0 })),
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  order_by: Type.Optional(Type.Enum([...MEDIA_ORDERS])),
  dir: Type.Optional(Type.Enum(['f', 'b'])),
});

const PAGE = 100;

/** Without an order and a direction, the newest come first. */
export const pageOf = ({ dir, from = 0, limit = PAGE, order_by: order }: Static<typeof mediaPage>): MediaPage => ({
  order: order ?? 'created_ts',
  direction: dir ?? (order === undefined ? 'b' : 'f'),
  from,
  limit,
});

const descriptionOf = (media: MediaRecord, isAuthenticated: boolean) => ({
  media_id: media.mediaId,
  media_type: media.contentType,
  media_length: media.blob === null ? null : media.size,
  upload_name: media.filename,
  created_ts: media.createdTs,
  url_cache: null,
  last_access_ts: media.lastAccessTs,
  quarantined_by: media.quarantinedBy,
  authenticated: isAuthenticated,
  sha256: media.blob?.digest ?? null,
});

/** @param isAuthenticated whether it is only served with an access token */
export const infoBody = (media: MediaRecord, isAuthenticated: boolean): Static<typeof mediaInfo> => {
  const isLocal = media.origin === LOCAL;
  return {
    media_origin: isLocal ? null : media.origin,
    user_id: isLocal ? media.userId : null,
    filesystem_id: isLocal ? null : (media.blob?.name ?? null),
    safe_from_quarantine: isLocal ? media.protected : null,
    ...descriptionOf(media, isAuthenticated),
  };
};

/** @param isAuthenticated whether it is only served with an access token */
export const userMediaBody = (media: MediaRecord, isAuthenticated: boolean): Static<typeof userMedia> => ({
  user_id: media.userId,
  safe_from_quarantine: media.protected,
  ...descriptionOf(media, isAuthenticated),
});
