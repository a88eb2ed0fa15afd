import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { CrossSigningService } from '#src/services/e2ee/cross-signing/cross-signing-service.ts';
import type { SignatureUpload } from '#src/services/e2ee/cross-signing/signature-upload.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { asAuth, authData, challenge, empty } from './parts/auth-schemas.ts';

interface Services {
  readonly crossSigning: CrossSigningService;
  readonly signatureUpload: SignatureUpload;
}

const VERIFIES = { allowed: 'suspended users may still verify their devices' };

export const crossSigningEndpoints = [
  endpoint({
    operationId: 'uploadCrossSigningKeys',
    summary: 'Upload cross-signing keys.',
    method: 'POST',
    path: '/_matrix/client/v3/keys/device_signing/upload',
    aliases: ['/_matrix/client/unstable/keys/device_signing/upload'],
    auth: 'accessToken',
    guests: 'refused',
    suspended: VERIFIES,
    rateLimit: 'default',
    body: Type.Object(
      {
        master_key: Type.Optional(Type.Unknown()),
        self_signing_key: Type.Optional(Type.Unknown()),
        user_signing_key: Type.Optional(Type.Unknown()),
        auth: Type.Optional(authData),
      },
      { additionalProperties: true },
    ),
    maxBodyBytes: BODY_BYTES.content,
    response: empty,
    errcodes: [
      'M_BAD_JSON',
      'M_INVALID_PARAM',
      'M_INVALID_SIGNATURE',
      'M_MISSING_PARAM',
      'M_FORBIDDEN',
      'M_TOO_LARGE',
      'M_LIMIT_EXCEEDED',
    ],
    answers: challenge,
    async handler({ crossSigning }: Services, { requester, body: { auth, ...keys }, info }) {
      const { userId, deviceId } = requester;
      const isAppservice = requester.appservice !== undefined;
      await crossSigning.upload({ userId, deviceId, isAppservice, ip: info.ip }, { ...keys, auth: asAuth(auth) });
      return {};
    },
  }),
  endpoint({
    operationId: 'uploadCrossSigningSignatures',
    summary: 'Upload cross-signing signatures.',
    method: 'POST',
    path: '/_matrix/client/v3/keys/signatures/upload',
    aliases: ['/_matrix/client/unstable/keys/signatures/upload'],
    auth: 'accessToken',
    guests: 'refused',
    suspended: VERIFIES,
    rateLimit: 'default',
    body: Type.Object({}, { additionalProperties: true }),
    response: Type.Object({
      failures: Type.Record(
        Type.String(),
        Type.Record(Type.String(), Type.Object({ errcode: Type.String(), error: Type.String() })),
      ),
    }),
    errcodes: ['M_BAD_JSON', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ signatureUpload }: Services, { requester, body }) {
      return { failures: await signatureUpload.upload(requester.userId, body as JsonObject) };
    },
  }),
];
