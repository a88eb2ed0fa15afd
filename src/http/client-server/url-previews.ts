import { Type } from 'typebox';
import type { UrlPreviews } from '#src/services/media/previews/url-previews.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly urlPreviews: UrlPreviews;
}

const common = {
  method: 'GET',
  auth: 'accessToken',
  guests: { refused: 'guests have this server ask nobody on their behalf' },
  suspended: { allowed: 'it reads what is on the web' },
  rateLimit: 'url_preview',
  query: Type.Object({
    url: Type.String(),
    ts: Type.Optional(Type.Integer({ description: 'Not looked at: previews are as new as the configuration says.' })),
  }),
  response: Type.Object(
    { 'og:image': Type.Optional(Type.String()), 'matrix:image:size': Type.Optional(Type.Integer()) },
    { additionalProperties: true },
  ),
  errcodes: [
    'M_MISSING_PARAM',
    'M_INVALID_PARAM',
    'M_FORBIDDEN',
    'M_NOT_FOUND',
    'M_UNRECOGNIZED',
    'M_CONNECTION_TIMEOUT',
    'M_LIMIT_EXCEEDED',
  ],
} as const;

/** Client-Server API, "Content repository": what there is at a URL. */
export const urlPreviewEndpoints = [
  endpoint({
    ...common,
    operationId: 'getUrlPreviewAuthed',
    summary: 'Get information about a URL for a client',
    path: '/_matrix/client/v1/media/preview_url',
    aliases: ['/_matrix/client/unstable/org.matrix.msc3916/media/preview_url'],
    handler: ({ urlPreviews }: Services, { requester, query }) => urlPreviews.preview(requester.userId, query.url),
  }),
  endpoint({
    ...common,
    operationId: 'getUrlPreview',
    summary: 'Get information about a URL for a client, by the path that it had before Matrix 1.11.',
    path: '/_matrix/media/v3/preview_url',
    aliases: ['/_matrix/media/r0/preview_url', '/_matrix/media/v1/preview_url'],
    handler: ({ urlPreviews }: Services, { requester, query }) => urlPreviews.preview(requester.userId, query.url),
  }),
];
