import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { endpoint, type RequestInfo } from '../endpoint.ts';
import {
  type Asking,
  download,
  DOWNLOAD_ERRORS,
  MEDIA_CONFIG,
  mediaParams,
  type MediaServices,
  namedMediaParams,
  REMOTE_ANSWERS,
  thumbnail,
  THUMBNAIL_ERRORS,
  thumbnailQuery,
  waiting,
} from './parts/media-parts.ts';
import { PREVIEW, type PreviewServices } from './parts/preview-parts.ts';

const BASE = '/_matrix/client/v1/media';
const STABLE = '/_matrix/client/unstable/org.matrix.msc3916/media';
const bytes = Type.Any();

interface Services extends MediaServices, PreviewServices {
  readonly maxUploadBytes: number;
}

const common = {
  method: 'GET',
  auth: 'accessToken',
  guests: 'allowed',
  suspended: READS,
  rateLimit: 'media_fetch',
  response: bytes,
  responseType: 'application/octet-stream',
  answers: REMOTE_ANSWERS,
} as const;

/** "Clients MAY be redirected using the 307/308 responses". Client-Server API, `GET /_matrix/client/v1/media/download`. */
const asked = (info: RequestInfo, { userId }: Requester, timeoutMs: number | undefined): Asking => ({
  info,
  party: userId,
  timeoutMs,
  allowRemote: true,
  mayRedirect: true,
});

/** Client-Server API, "Content repository", since v1.11. */
export const authedContentRepoEndpoints = [
  endpoint({
    ...common,
    operationId: 'getContentAuthed',
    summary: 'Download content from the content repository.',
    path: `${BASE}/download/{serverName}/{mediaId}`,
    aliases: [`${STABLE}/download/{serverName}/{mediaId}`],
    params: mediaParams,
    query: Type.Object(waiting),
    errcodes: DOWNLOAD_ERRORS,
    handler: (services: Services, { params, query, info, requester }) =>
      download(services, params, asked(info, requester, query.timeout_ms)),
  }),
  endpoint({
    ...common,
    operationId: 'getContentOverrideNameAuthed',
    summary: 'Download content from the content repository, under another name.',
    path: `${BASE}/download/{serverName}/{mediaId}/{fileName}`,
    aliases: [`${STABLE}/download/{serverName}/{mediaId}/{fileName}`],
    params: namedMediaParams,
    query: Type.Object(waiting),
    errcodes: DOWNLOAD_ERRORS,
    handler: (services: Services, { params, query, info, requester }) =>
      download(services, params, asked(info, requester, query.timeout_ms)),
  }),
  endpoint({
    ...common,
    operationId: 'getContentThumbnailAuthed',
    summary: 'Download a thumbnail of content from the content repository',
    path: `${BASE}/thumbnail/{serverName}/{mediaId}`,
    aliases: [`${STABLE}/thumbnail/{serverName}/{mediaId}`],
    params: mediaParams,
    query: thumbnailQuery,
    errcodes: THUMBNAIL_ERRORS,
    handler: (services: Services, { params, query, info, requester }) =>
      thumbnail(services, params, query, asked(info, requester, query.timeout_ms)),
  }),
  endpoint({
    ...PREVIEW,
    operationId: 'getUrlPreviewAuthed',
    summary: 'Get information about a URL for a client',
    path: `${BASE}/preview_url`,
    aliases: [`${STABLE}/preview_url`],
    handler: ({ urlPreviews }: Services, { requester, query }) => urlPreviews.preview(requester.userId, query.url),
  }),
  endpoint({
    ...MEDIA_CONFIG,
    operationId: 'getConfigAuthed',
    path: `${BASE}/config`,
    aliases: [`${STABLE}/config`],
  }),
];
