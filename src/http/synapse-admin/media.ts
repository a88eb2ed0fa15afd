import { Type } from 'typebox';
import type { MediaMaintenance } from '#src/services/admin/media/media-maintenance.ts';
import type { MediaModeration } from '#src/services/media/media-moderation.ts';
import type { OpenMedia } from '#src/services/media/open-media.ts';
import { actorOf } from '../actor.ts';
import { endpoint } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';
import { infoBody, mediaInfo, mediaPage, pageOf, userMedia, userMediaBody } from './parts/media-bodies.ts';

const root = '/_synapse/admin/v1';
const empty = Type.Object({});
const named = Type.Object({ serverName: Type.String(), mediaId: Type.String() });
const ofMedia = Type.Object({ mediaId: Type.String() });
const ofRoom = Type.Object({ roomId: Type.String() });
const ofUser = Type.Object({ userId: Type.String() });
const taskId = Type.Optional(Type.String());
const quarantined = Type.Object({ num_quarantined: Type.Integer(), task_id: taskId });
const deleted = Type.Object({ deleted_media: Type.Array(Type.String()), total: Type.Integer(), task_id: taskId });
const older = Type.Object({
  before_ts: Type.Integer(),
  size_gt: Type.Optional(Type.Integer({ minimum: 0 })),
  keep_profiles: Type.Optional(Type.Boolean()),
});

interface Services {
  readonly mediaModeration: MediaModeration;
  readonly mediaMaintenance: MediaMaintenance;
  readonly openMedia: OpenMedia;
}

/** The task that continues where one request may not do everything. */
const goesOn = (task: string | undefined): { task_id?: string } => (task === undefined ? {} : { task_id: task });

/** Synapse Admin API, "Media Admin API". Where there is more to do than one request may, the task named by `task_id` continues. */
export const mediaAdminEndpoints = [
  endpoint({
    operationId: 'adminGetMedia',
    summary: 'What is known of a piece of media.',
    method: 'GET',
    path: `${root}/media/{serverName}/{mediaId}`,
    ...OF_ADMINISTRATORS,
    params: named,
    response: Type.Object({ media_info: mediaInfo }),
    errcodes: ['M_NOT_FOUND'],
    handler: async ({ mediaModeration, openMedia }: Services, { params }) => {
      const media = await mediaModeration.find(params);
      return { media_info: infoBody(media, !openMedia.isOpen(media)) };
    },
  }),
  endpoint({
    operationId: 'adminListRoomMedia',
    summary: 'The media that events of a room name in clear text.',
    method: 'GET',
    path: `${root}/room/{roomId}/media`,
    ...OF_ADMINISTRATORS,
    params: ofRoom,
    response: Type.Object({
      local: Type.Array(Type.String()),
      remote: Type.Array(Type.String()),
      'org.tsudoi.limited': Type.Optional(Type.Boolean()),
    }),
    errcodes: [],
    async handler({ mediaModeration }: Services, { info, params: { roomId } }) {
      const { isComplete, local, remote } = await mediaModeration.inRoom(roomId, info.signal);
      return { local, remote, ...(isComplete ? {} : { 'org.tsudoi.limited': true }) };
    },
  }),
  endpoint({
    operationId: 'adminListUserMedia',
    summary: 'What a user has uploaded, a page at once.',
    method: 'GET',
    path: `${root}/users/{userId}/media`,
    ...OF_ADMINISTRATORS,
    params: ofUser,
    query: mediaPage,
    response: Type.Object({
      media: Type.Array(userMedia),
      total: Type.Integer(),
      next_token: Type.Optional(Type.Integer()),
    }),
    errcodes: ['M_NOT_FOUND', 'M_UNKNOWN', 'M_INVALID_PARAM'],
    async handler({ mediaModeration, openMedia }: Services, { params: { userId }, query }) {
      const page = pageOf(query);
      const { media, total } = await mediaModeration.ofUser(userId, page);
      const next = page.from + media.length;
      return {
        media: media.map((one) => userMediaBody(one, !openMedia.isOpen(one))),
        total,
        ...(media.length > 0 && next < total ? { next_token: next } : {}),
      };
    },
  }),
  endpoint({
    operationId: 'adminDeleteUserMedia',
    summary: 'Deletes a page of what a user has uploaded.',
    method: 'DELETE',
    path: `${root}/users/{userId}/media`,
    ...OF_ADMINISTRATORS,
    params: ofUser,
    query: mediaPage,
    response: deleted,
    errcodes: ['M_NOT_FOUND', 'M_UNKNOWN', 'M_INVALID_PARAM'],
    async handler({ mediaModeration }: Services, { info, params: { userId }, query, requester }) {
      const ids = await mediaModeration.deleteOfUser(userId, pageOf(query), actorOf(requester, info));
      return { deleted_media: ids, total: ids.length };
    },
  }),
  endpoint({
    operationId: 'adminQuarantineRoomMedia',
    summary: 'Quarantines the media that events of a room name in clear text.',
    method: 'POST',
    path: `${root}/room/{roomId}/media/quarantine`,
    aliases: [`${root}/quarantine_media/{roomId}`],
    ...OF_ADMINISTRATORS,
    params: ofRoom,
    response: quarantined,
    errcodes: [],
    async handler({ mediaMaintenance }: Services, { info, params: { roomId }, requester }) {
      const { count, taskId: task } = await mediaMaintenance.quarantineRoom(roomId, actorOf(requester, info));
      return { num_quarantined: count, ...goesOn(task) };
    },
  }),
  endpoint({
    operationId: 'adminQuarantineUserMedia',
    summary: 'Quarantines all that a user has uploaded.',
    method: 'POST',
    path: `${root}/user/{userId}/media/quarantine`,
    ...OF_ADMINISTRATORS,
    params: ofUser,
    response: quarantined,
    errcodes: [],
    async handler({ mediaMaintenance }: Services, { info, params: { userId }, requester }) {
      const { count, taskId: task } = await mediaMaintenance.quarantineUser(userId, actorOf(requester, info));
      return { num_quarantined: count, ...goesOn(task) };
    },
  }),
  endpoint({
    operationId: 'adminQuarantineMedia',
    summary: 'Quarantines a piece of media, and everything of the same content.',
    method: 'POST',
    path: `${root}/media/quarantine/{serverName}/{mediaId}`,
    ...OF_ADMINISTRATORS,
    params: named,
    response: empty,
    errcodes: ['M_NOT_FOUND'],
    async handler({ mediaModeration }: Services, { info, params, requester }) {
      await mediaModeration.quarantine(params, actorOf(requester, info));
      return {};
    },
  }),
  endpoint({
    operationId: 'adminUnquarantineMedia',
    summary: 'Lifts the quarantine of a piece of media and of its content.',
    method: 'POST',
    path: `${root}/media/unquarantine/{serverName}/{mediaId}`,
    ...OF_ADMINISTRATORS,
    params: named,
    response: empty,
    errcodes: ['M_NOT_FOUND'],
    async handler({ mediaModeration }: Services, { info, params, requester }) {
      await mediaModeration.unquarantine(params, actorOf(requester, info));
      return {};
    },
  }),
  endpoint({
    operationId: 'adminListQuarantineChanges',
    summary: 'What was quarantined and freed after a position, in order.',
    method: 'GET',
    path: `${root}/media/quarantine_changes`,
    ...OF_ADMINISTRATORS,
    query: Type.Object({ from: Type.Optional(Type.Integer({ minimum: 0 })) }),
    response: Type.Object({
      next_batch: Type.Integer(),
      changes: Type.Array(Type.Object({ origin: Type.String(), media_id: Type.String(), quarantined: Type.Boolean() })),
    }),
    errcodes: ['M_INVALID_PARAM'],
    async handler({ mediaModeration }: Services, { query }) {
      const { changes, next } = await mediaModeration.quarantineChanges(query.from ?? 0);
      return {
        next_batch: next,
        changes: changes.map(({ mediaId, quarantined: isQuarantined, serverName }) => ({
          origin: serverName,
          media_id: mediaId,
          quarantined: isQuarantined,
        })),
      };
    },
  }),
  endpoint({
    operationId: 'adminProtectMedia',
    summary: 'Protects a piece of media from quarantine and retention.',
    method: 'POST',
    path: `${root}/media/protect/{mediaId}`,
    ...OF_ADMINISTRATORS,
    params: ofMedia,
    response: empty,
    errcodes: ['M_NOT_FOUND'],
    async handler({ mediaModeration }: Services, { info, params: { mediaId }, requester }) {
      await mediaModeration.protect(mediaId, true, actorOf(requester, info));
      return {};
    },
  }),
  endpoint({
    operationId: 'adminUnprotectMedia',
    summary: 'Protects a piece of media no longer.',
    method: 'POST',
    path: `${root}/media/unprotect/{mediaId}`,
    ...OF_ADMINISTRATORS,
    params: ofMedia,
    response: empty,
    errcodes: ['M_NOT_FOUND'],
    async handler({ mediaModeration }: Services, { info, params: { mediaId }, requester }) {
      await mediaModeration.protect(mediaId, false, actorOf(requester, info));
      return {};
    },
  }),
  endpoint({
    operationId: 'adminDeleteMedia',
    summary: "Deletes a piece of this server's media.",
    method: 'DELETE',
    path: `${root}/media/{serverName}/{mediaId}`,
    ...OF_ADMINISTRATORS,
    params: named,
    response: deleted,
    errcodes: ['M_NOT_FOUND', 'M_UNKNOWN'],
    async handler({ mediaModeration }: Services, { info, params, requester }) {
      await mediaModeration.delete(params, actorOf(requester, info));
      return { deleted_media: [params.mediaId], total: 1 };
    },
  }),
  endpoint({
    operationId: 'adminDeleteOldMedia',
    summary: "Deletes this server's media that nobody has asked for since a time.",
    method: 'POST',
    path: `${root}/media/delete`,
    ...OF_ADMINISTRATORS,
    query: older,
    response: deleted,
    errcodes: ['M_INVALID_PARAM'],
    async handler({ mediaMaintenance }: Services, { info, query, requester }) {
      const {
        count,
        deleted: ids,
        taskId: task,
      } = await mediaMaintenance.deleteOld(
        { before: query.before_ts, largerThan: query.size_gt ?? 0, keepsShown: query.keep_profiles ?? true },
        actorOf(requester, info),
      );
      return { deleted_media: ids, total: count, ...goesOn(task) };
    },
  }),
  endpoint({
    operationId: 'adminDeleteOldMediaOf',
    summary: 'The same under its old path, which names this server.',
    method: 'POST',
    path: `${root}/media/{serverName}/delete`,
    ...OF_ADMINISTRATORS,
    params: Type.Object({ serverName: Type.String() }),
    query: older,
    response: deleted,
    errcodes: ['M_INVALID_PARAM', 'M_UNKNOWN'],
    async handler({ mediaMaintenance }: Services, { info, params: { serverName: of }, query, requester }) {
      const {
        count,
        deleted: ids,
        taskId: task,
      } = await mediaMaintenance.deleteOld(
        { of, before: query.before_ts, largerThan: query.size_gt ?? 0, keepsShown: query.keep_profiles ?? true },
        actorOf(requester, info),
      );
      return { deleted_media: ids, total: count, ...goesOn(task) };
    },
  }),
  endpoint({
    operationId: 'adminPurgeMediaCache',
    summary: "Deletes what is kept of other servers' media that nobody has asked for since a time.",
    method: 'POST',
    path: `${root}/purge_media_cache`,
    ...OF_ADMINISTRATORS,
    query: Type.Object({ before_ts: Type.Integer() }),
    response: Type.Object({ deleted: Type.Integer(), task_id: taskId }),
    errcodes: ['M_INVALID_PARAM'],
    async handler({ mediaMaintenance }: Services, { info, query, requester }) {
      const { count, taskId: task } = await mediaMaintenance.purgeRemote(query.before_ts, actorOf(requester, info));
      return { deleted: count, ...goesOn(task) };
    },
  }),
];
