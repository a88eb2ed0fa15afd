import { Type } from 'typebox';
import type { DeviceMessages, ToDeviceService } from '#src/services/e2ee/to-device/to-device-service.ts';
import { endpoint } from '../endpoint.ts';
import { empty } from './parts/auth-schemas.ts';

interface Services {
  readonly toDevice: ToDeviceService;
}

export const toDeviceEndpoints = [
  endpoint({
    operationId: 'sendToDevice',
    summary: 'Send an event to a given set of devices.',
    method: 'PUT',
    path: '/_matrix/client/v3/sendToDevice/{eventType}/{txnId}',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: { allowed: 'suspended users may still verify their devices' },
    rateLimit: 'to_device',
    params: Type.Object({ eventType: Type.String(), txnId: Type.String() }),
    body: Type.Object(
      {
        messages: Type.Record(
          Type.String(),
          Type.Record(Type.String(), Type.Object({}, { additionalProperties: true })),
        ),
      },
      { additionalProperties: true },
    ),
    response: empty,
    errcodes: ['M_BAD_JSON', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ toDevice }: Services, { requester, params: { eventType, txnId }, body }) {
      await toDevice.send(requester, eventType, txnId, body.messages as DeviceMessages);
      return {};
    },
    async earlierAnswer({ toDevice }: Services, { requester, params: { eventType, txnId } }) {
      return (await toDevice.isDone(requester, eventType, txnId)) ? {} : undefined;
    },
  }),
];
