import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { DehydratedDevices } from '#src/services/e2ee/dehydration/dehydrated-devices.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint, type Reply } from '../endpoint.ts';
import { jsonList, jsonReply } from './parts/room-schemas.ts';

const path = '/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device';
const object = Type.Object({}, { additionalProperties: true });
const deviceId = Type.Object({ device_id: Type.String() });
const eventsAnswer = Type.Object({ events: Type.Array(object), next_batch: Type.Optional(Type.String()) });
const eventsParams = Type.Object({ deviceId: Type.String() });
/** Keys and pickled secrets of a device. */
export const MAX_DEVICE_SIZE = 1024 * 1024;

const eventsReply = (events: readonly string[], nextBatch: string | undefined): Reply =>
  jsonReply({ events: jsonList(events), next_batch: nextBatch === undefined ? undefined : JSON.stringify(nextBatch) });

interface Services {
  readonly dehydratedDevices: DehydratedDevices;
}

const common = { auth: 'accessToken', guests: 'refused', rateLimit: 'default' } as const;
const DEVICES = { allowed: 'suspended users may still manage their devices' };

/** MSC3814: devices that receive keys while their user has no other device logged in. */
export const dehydratedDeviceEndpoints = [
  endpoint({
    ...common,
    operationId: 'putDehydratedDevice',
    summary: 'Create a dehydrated device in the place of the one before',
    method: 'PUT',
    path,
    suspended: DEVICES,
    body: Type.Object(
      {
        device_id: Type.String(),
        device_data: object,
        initial_device_display_name: Type.Optional(Type.String()),
        device_keys: Type.Optional(Type.Unknown()),
        one_time_keys: Type.Optional(Type.Unknown()),
        fallback_keys: Type.Optional(Type.Unknown()),
      },
      { additionalProperties: true },
    ),
    maxBodyBytes: MAX_DEVICE_SIZE,
    response: deviceId,
    errcodes: ['M_BAD_JSON', 'M_INVALID_PARAM', 'M_MISSING_PARAM', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ dehydratedDevices }: Services, { requester, body }) {
      await dehydratedDevices.put(requester.userId, { ...body, device_data: body.device_data as JsonObject });
      return { device_id: body.device_id };
    },
  }),
  endpoint({
    ...common,
    operationId: 'getDehydratedDevice',
    summary: 'The dehydrated device',
    method: 'GET',
    path,
    suspended: READS,
    response: Type.Object({ device_id: Type.String(), device_data: object }),
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ dehydratedDevices }: Services, { requester }) {
      return dehydratedDevices.get(requester.userId);
    },
  }),
  endpoint({
    ...common,
    operationId: 'deleteDehydratedDevice',
    summary: 'Delete the dehydrated device',
    method: 'DELETE',
    path,
    suspended: DEVICES,
    response: deviceId,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ dehydratedDevices }: Services, { requester }) {
      return { device_id: await dehydratedDevices.delete(requester.userId) };
    },
  }),
  endpoint({
    ...common,
    operationId: 'getDehydratedDeviceEvents',
    summary: 'Messages that wait for the dehydrated device',
    method: 'GET',
    path: `${path}/{deviceId}/events`,
    suspended: READS,
    params: eventsParams,
    query: Type.Object({
      from: Type.Optional(Type.String()),
      next_batch: Type.Optional(Type.String({ description: 'What `from` was called before.' })),
    }),
    response: eventsAnswer,
    errcodes: ['M_NOT_FOUND', 'M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ dehydratedDevices }: Services, { requester, params, query }) {
      const from = query.from ?? query.next_batch;
      const page = await dehydratedDevices.events(requester.userId, params.deviceId, from);
      // "the response must include a `next_batch` property if and only if there are more messages to be retrieved"
      return eventsReply(page.events, page.hasMore ? page.nextBatch : undefined);
    },
  }),
  // For older clients: the token is in the body, and they ask until an answer is empty.
  endpoint({
    ...common,
    operationId: 'postDehydratedDeviceEvents',
    summary: 'Messages that wait for the dehydrated device',
    method: 'POST',
    path: `${path}/{deviceId}/events`,
    suspended: READS,
    params: eventsParams,
    body: Type.Object({ next_batch: Type.Optional(Type.String()) }, { additionalProperties: true }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: eventsAnswer,
    errcodes: ['M_NOT_FOUND', 'M_FORBIDDEN', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ dehydratedDevices }: Services, { requester, params, body }) {
      const page = await dehydratedDevices.events(requester.userId, params.deviceId, body.next_batch);
      return eventsReply(page.events, page.nextBatch);
    },
  }),
];
