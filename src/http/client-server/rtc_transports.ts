import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import { endpoint } from '../endpoint.ts';

/** A transport for the media of calls. MSC4143: `type`, and the members of that type. */
export type RtcTransport = Readonly<Record<string, unknown>>;

interface Services {
  /** What the operator configured. */
  readonly rtcTransports: () => readonly RtcTransport[];
}

/** MSC4143, "MatrixRTC Transports". */
export const rtcTransportEndpoints = [
  endpoint({
    operationId: 'getRtcTransports',
    summary: 'The ways by which media of calls can go.',
    method: 'GET',
    path: '/_matrix/client/v1/rtc/transports',
    aliases: ['/_matrix/client/unstable/org.matrix.msc4143/rtc/transports'],
    auth: 'accessToken',
    guests: { allowed: 'calls are open to them in rooms that are; the same stands in .well-known for everybody' },
    suspended: READS,
    rateLimit: 'default',
    response: Type.Object({
      rtc_transports: Type.Array(Type.Object({ type: Type.String() }, { additionalProperties: true })),
    }),
    errcodes: ['M_LIMIT_EXCEEDED'],
    handler: async ({ rtcTransports }: Services) => ({ rtc_transports: rtcTransports() }),
  }),
];
