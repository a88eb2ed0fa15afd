import { Type } from 'typebox';
import type { UrlPreviews } from '#src/services/media/previews/url-previews.ts';

/** What previews of URLs are made by. */
export interface PreviewServices {
  readonly urlPreviews: UrlPreviews;
}

/** What the endpoints of previews have in common. Client-Server API, "Content repository". */
export const PREVIEW = {
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
