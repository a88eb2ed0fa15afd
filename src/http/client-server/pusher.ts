import { Type } from 'typebox';
import { KEEPS_OWN, READS } from '#src/services/accounts/admission/access-rules.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { PusherRecord, PusherService } from '#src/services/push/pushers/pusher-service.ts';
import { pusherData } from '#src/services/push/pushers/pusher-registry.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { anyObject, empty } from './parts/room-schemas.ts';

const body = (pusher: PusherRecord): Record<string, unknown> => ({
  pushkey: pusher.pushkey,
  kind: pusher.kind,
  app_id: pusher.appId,
  app_display_name: pusher.appDisplayName,
  device_display_name: pusher.deviceDisplayName,
  ...(pusher.profileTag === null ? {} : { profile_tag: pusher.profileTag }),
  lang: pusher.lang,
  data: pusherData(pusher),
  // MSC3881, in the form that it was accepted in and the one that clients use today.
  enabled: pusher.enabled,
  'org.matrix.msc3881.enabled': pusher.enabled,
  device_id: pusher.deviceId,
  'org.matrix.msc3881.device_id': pusher.deviceId,
});

interface Services {
  readonly pushers: PusherService;
}

export const pusherEndpoints = [
  endpoint({
    operationId: 'getPushers',
    summary: 'Gets the current pushers for the authenticated user',
    method: 'GET',
    path: '/_matrix/client/v3/pushers',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'default',
    response: Type.Object({
      pushers: Type.Array(
        Type.Object({
          pushkey: Type.String(),
          kind: Type.String(),
          app_id: Type.String(),
          app_display_name: Type.String(),
          device_display_name: Type.String(),
          profile_tag: Type.Optional(Type.String()),
          lang: Type.String(),
          data: anyObject,
          enabled: Type.Boolean(),
          'org.matrix.msc3881.enabled': Type.Boolean(),
          device_id: Type.String(),
          'org.matrix.msc3881.device_id': Type.String(),
        }),
      ),
    }),
    errcodes: ['M_LIMIT_EXCEEDED'],
    async handler({ pushers }: Services, { requester }) {
      return { pushers: (await pushers.list(requester.userId)).map(body) };
    },
  }),
  endpoint({
    operationId: 'postPusher',
    summary: 'Modify a pusher for this user on the homeserver.',
    method: 'POST',
    path: '/_matrix/client/v3/pushers/set',
    auth: 'accessToken',
    guests: 'refused',
    suspended: KEEPS_OWN,
    rateLimit: 'default',
    body: Type.Object({
      kind: Type.Union([Type.String(), Type.Null()]),
      app_id: Type.String(),
      pushkey: Type.String(),
      app_display_name: Type.Optional(Type.String()),
      device_display_name: Type.Optional(Type.String()),
      profile_tag: Type.Optional(Type.String()),
      lang: Type.Optional(Type.String()),
      data: Type.Optional(anyObject),
      append: Type.Optional(Type.Boolean()),
      enabled: Type.Optional(Type.Boolean()),
      'org.matrix.msc3881.enabled': Type.Optional(Type.Boolean()),
    }),
    maxBodyBytes: BODY_BYTES.record,
    response: empty,
    errcodes: [
      'M_MISSING_PARAM',
      'M_INVALID_PARAM',
      'M_THREEPID_NOT_FOUND',
      'M_BAD_JSON',
      'M_NOT_JSON',
      'M_TOO_LARGE',
      'M_LIMIT_EXCEEDED',
    ],
    async handler({ pushers }: Services, { requester, body: params }) {
      await pushers.set(requester, {
        kind: params.kind,
        appId: params.app_id,
        pushkey: params.pushkey,
        appDisplayName: params.app_display_name,
        deviceDisplayName: params.device_display_name,
        profileTag: params.profile_tag,
        lang: params.lang,
        data: params.data as JsonObject | undefined,
        append: params.append ?? false,
        enabled: params.enabled ?? params['org.matrix.msc3881.enabled'] ?? true,
      });
      return {};
    },
  }),
];
