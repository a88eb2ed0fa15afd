import { Type } from 'typebox';
import { OTHERS_SEE } from '#src/services/accounts/admission/access-rules.ts';
import type { OpenMedia } from '#src/services/media/open-media.ts';
import { endpoint, type RequestInfo, StreamBody } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';
import {
  type Asking,
  download,
  DOWNLOAD_ERRORS,
  MEDIA_CONFIG,
  mediaParams,
  type MediaServices,
  namedMediaParams,
  thumbnail,
  THUMBNAIL_ERRORS,
  thumbnailQuery,
  waiting,
} from './parts/media-parts.ts';
import { PREVIEW, type PreviewServices } from './parts/preview-parts.ts';

const UPLOADS = { refused: 'guests have no files of their own' };
const named = Type.Object({ filename: Type.Optional(Type.String()) });
const uploaded = Type.Object({ content_uri: Type.String() });

interface Services extends MediaServices, PreviewServices {
  readonly maxUploadBytes: number;
  readonly openMedia: OpenMedia;
}

const keptEndpoints = [
  endpoint({
    ...PREVIEW,
    operationId: 'getUrlPreview',
    summary: 'Get information about a URL for a client, by the path that it had before Matrix 1.11.',
    path: '/_matrix/media/v3/preview_url',
    aliases: ['/_matrix/media/r0/preview_url', '/_matrix/media/v1/preview_url'],
    handler: ({ urlPreviews }: Services, { requester, query }) => urlPreviews.preview(requester.userId, query.url),
  }),
  endpoint({
    operationId: 'uploadContent',
    summary: 'Upload some content to the content repository.',
    method: 'POST',
    path: '/_matrix/media/v3/upload',
    aliases: ['/_matrix/media/r0/upload', '/_matrix/media/v1/upload'],
    auth: 'accessToken',
    guests: UPLOADS,
    suspended: OTHERS_SEE,
    rateLimit: 'media_upload',
    query: named,
    body: new StreamBody('upload'),
    response: uploaded,
    errcodes: ['M_FORBIDDEN', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ media }: Services, { requester, query, body, info }) {
      const upload = { content: body, contentType: info.contentType, filename: query.filename };
      return { content_uri: await media.upload(requester.userId, upload) };
    },
  }),
  endpoint({
    operationId: 'createContent',
    summary: 'Create a new mxc:// URI',
    method: 'POST',
    path: '/_matrix/media/v1/create',
    aliases: ['/_matrix/media/unstable/fi.mau.msc2246/create'],
    auth: 'accessToken',
    guests: UPLOADS,
    suspended: OTHERS_SEE,
    rateLimit: 'media_upload',
    response: Type.Object({ content_uri: Type.String(), unused_expires_at: Type.Integer() }),
    errcodes: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handler({ media }: Services, { requester }) {
      return media.create(requester.userId);
    },
  }),
  endpoint({
    operationId: 'uploadContentToMXC',
    summary: 'Upload content to an mxc:// URI that was created earlier.',
    method: 'PUT',
    path: '/_matrix/media/v3/upload/{serverName}/{mediaId}',
    aliases: ['/_matrix/media/unstable/fi.mau.msc2246/upload/{serverName}/{mediaId}'],
    auth: 'accessToken',
    guests: UPLOADS,
    suspended: OTHERS_SEE,
    rateLimit: 'media_upload',
    params: mediaParams,
    query: named,
    body: new StreamBody('upload'),
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_CANNOT_OVERWRITE_MEDIA', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ media }: Services, { requester, params: { serverName, mediaId }, query, body, info }) {
      const upload = { content: body, contentType: info.contentType, filename: query.filename };
      await media.fill(requester.userId, serverName, mediaId, upload);
      return {};
    },
  }),
  endpoint({
    ...MEDIA_CONFIG,
    operationId: 'getConfig',
    path: '/_matrix/media/v3/config',
    aliases: ['/_matrix/media/r0/config', '/_matrix/media/v1/config'],
  }),
];

const BASE = '/_matrix/media/v3';
const OLD = ['/_matrix/media/r0', '/_matrix/media/v1'];
const remote = {
  allow_remote: Type.Optional(Type.Boolean()),
  allow_redirect: Type.Optional(Type.Boolean()),
  ...waiting,
};

/** A client without a token is redirected only when it asked for it: `allow_redirect`. Client-Server API, since v1.7. */
const asked = (
  { openMedia }: Services,
  info: RequestInfo,
  query: { readonly timeout_ms?: number; readonly allow_redirect?: boolean; readonly allow_remote?: boolean },
): Asking => ({
  info,
  party: info.ip,
  timeoutMs: query.timeout_ms,
  // "Defaults to true if not provided." What is not served without a token is not fetched for such a request either.
  allowRemote: query.allow_remote !== false && openMedia.servesNew(),
  mayRedirect: query.allow_redirect === true,
  assertOpen: (media) => openMedia.assertOpen(media),
});

const common = {
  method: 'GET',
  auth: 'none',
  rateLimit: 'media_fetch',
  response: Type.Any(),
  responseType: 'application/octet-stream',
} as const;

/** Downloads without a token, as before v1.11: for operators who switch them on. */
const openEndpoints = [
  endpoint({
    ...common,
    operationId: 'getContent',
    summary: 'Download content from the content repository, without a token.',
    path: `${BASE}/download/{serverName}/{mediaId}`,
    aliases: OLD.map((base) => `${base}/download/{serverName}/{mediaId}`),
    params: mediaParams,
    query: Type.Object(remote),
    errcodes: DOWNLOAD_ERRORS,
    handler: async (services: Services, { params, query, info }) => {
      services.openMedia.assertServed();
      return download(services, params, asked(services, info, query));
    },
  }),
  endpoint({
    ...common,
    operationId: 'getContentOverrideName',
    summary: 'Download content from the content repository under another name, without a token.',
    path: `${BASE}/download/{serverName}/{mediaId}/{fileName}`,
    aliases: OLD.map((base) => `${base}/download/{serverName}/{mediaId}/{fileName}`),
    params: namedMediaParams,
    query: Type.Object(remote),
    errcodes: DOWNLOAD_ERRORS,
    handler: async (services: Services, { params, query, info }) => {
      services.openMedia.assertServed();
      return download(services, params, asked(services, info, query));
    },
  }),
  endpoint({
    ...common,
    operationId: 'getContentThumbnail',
    summary: 'Download a thumbnail of content from the content repository, without a token',
    path: `${BASE}/thumbnail/{serverName}/{mediaId}`,
    aliases: OLD.map((base) => `${base}/thumbnail/{serverName}/{mediaId}`),
    params: mediaParams,
    query: Type.Object({ ...thumbnailQuery.properties, ...remote }),
    errcodes: THUMBNAIL_ERRORS,
    handler: async (services: Services, { params, query, info }) => {
      services.openMedia.assertServed();
      return thumbnail(services, params, query, asked(services, info, query));
    },
  }),
];

/** Client-Server API, "Content repository". */
export const contentRepoEndpoints = [...keptEndpoints, ...openEndpoints];
