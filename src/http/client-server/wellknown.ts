import { Type } from 'typebox';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  /** What else is published in the document, by its keys. */
  readonly wellKnownClient: () => Readonly<Record<string, unknown>>;
  /** The address that clients are to use, without a slash at the end. */
  readonly publicBaseUrl: () => string;
}

/** Client-Server API, "Well-known URIs": how a client that knows only the server name finds the server. */
export const wellKnownClientEndpoints = [
  endpoint({
    operationId: 'getWellknown',
    summary: 'Where clients find this server.',
    method: 'GET',
    path: '/.well-known/matrix/client',
    auth: 'none',
    rateLimit: 'none',
    response: Type.Object({ 'm.homeserver': Type.Object({ base_url: Type.String() }) }, { additionalProperties: true }),
    errcodes: [],
    handler: async ({ publicBaseUrl, wellKnownClient }: Services) =>
      new Reply({
        body: { ...wellKnownClient(), 'm.homeserver': { base_url: publicBaseUrl() } },
        headers: { 'Cache-Control': 'public, max-age=3600' },
      }),
  }),
];
