import { Type } from 'typebox';
import type { MediaAnswers, MixedAnswer } from '#src/services/federation/queries/media-answers.ts';
import { thumbnailQuery, waiting } from '../client-server/parts/media-parts.ts';
import { endpoint, type Origin, Reply, type RequestInfo } from '../endpoint.ts';

const path = '/_matrix/federation/v1/media';
const params = Type.Object({ mediaId: Type.String() });
const ERRORS = ['M_NOT_FOUND', 'M_NOT_YET_UPLOADED', 'M_LIMIT_EXCEEDED', 'M_UNKNOWN'] as const;

interface Services {
  readonly mediaAnswers: MediaAnswers;
}

const common = {
  method: 'GET',
  auth: 'server',
  rateLimit: 'federation',
  response: Type.Any(),
  responseType: 'multipart/mixed',
} as const;

const asked = (mediaId: string, { serverName }: Origin, { isHead, signal }: RequestInfo, timeoutMs?: number) => ({
  mediaId,
  origin: serverName,
  timeoutMs,
  isHead,
  signal,
});

const replied = ({ contentType, stream, length }: MixedAnswer): Reply => new Reply({ contentType, stream, length });

/** Server-Server API, "Content Repository". */
export const federationContentRepositoryEndpoints = [
  endpoint({
    ...common,
    operationId: 'getContent',
    summary: 'Download content from the content repository.',
    path: `${path}/download/{mediaId}`,
    params,
    query: Type.Object(waiting),
    errcodes: ERRORS,
    async handler({ mediaAnswers }: Services, { requester, params: { mediaId }, query, info }) {
      return replied(await mediaAnswers.download(asked(mediaId, requester, info, query.timeout_ms)));
    },
  }),
  endpoint({
    ...common,
    operationId: 'getContentThumbnail',
    summary: 'Download a thumbnail of content from the content repository',
    path: `${path}/thumbnail/{mediaId}`,
    params,
    query: thumbnailQuery,
    errcodes: [...ERRORS, 'M_INVALID_PARAM', 'M_TOO_LARGE'],
    async handler({ mediaAnswers }: Services, { requester, params: { mediaId }, query, info }) {
      const { width, height, method, animated = false } = query;
      const request = { width, height, method, animated };
      return replied(await mediaAnswers.thumbnail(asked(mediaId, requester, info, query.timeout_ms), request));
    },
  }),
];
