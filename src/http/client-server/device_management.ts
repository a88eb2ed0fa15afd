import { Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { Device, DeviceService } from '#src/services/accounts/devices/device-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint, Reply } from '../endpoint.ts';
import { asAuth, authData, challenge, empty } from './parts/auth-schemas.ts';

const device = Type.Object({
  device_id: Type.String(),
  // Clients have come to rely on it being there: matrix-nio refuses an answer without it.
  display_name: Type.Union([Type.String(), Type.Null()]),
  last_seen_ip: Type.Optional(Type.String()),
  last_seen_ts: Type.Optional(Type.Integer()),
  'org.matrix.msc3852.last_seen_user_agent': Type.Optional(Type.String()),
});

const deviceBody = (of: Device): Record<string, unknown> => ({
  device_id: of.deviceId,
  display_name: of.displayName,
  ...(of.lastSeenIp === null ? {} : { last_seen_ip: of.lastSeenIp }),
  ...(of.lastSeenTs === null ? {} : { last_seen_ts: of.lastSeenTs }),
  ...(of.lastSeenUserAgent === null ? {} : { 'org.matrix.msc3852.last_seen_user_agent': of.lastSeenUserAgent }),
});

const path = '/_matrix/client/v3/devices/{deviceId}';
const params = Type.Object({ deviceId: Type.String() });

interface Services {
  readonly devices: DeviceService;
}

export const deviceManagementEndpoints = [
  endpoint({
    operationId: 'getDevices',
    summary: 'List registered devices for the current user',
    method: 'GET',
    path: '/_matrix/client/v3/devices',
    auth: 'accessToken',
    guests: 'allowed',
    suspended: READS,
    rateLimit: 'default',
    response: Type.Object({ devices: Type.Array(device) }),
    errcodes: ['M_LIMIT_EXCEEDED'],
    async handler({ devices }: Services, { requester }) {
      return { devices: (await devices.list(requester.userId)).map(deviceBody) };
    },
  }),
  endpoint({
    operationId: 'getDevice',
    summary: 'Get a single device',
    method: 'GET',
    path,
    auth: 'accessToken',
    guests: 'allowed',
    suspended: READS,
    rateLimit: 'default',
    params,
    response: device,
    errcodes: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ devices }: Services, { requester, params: { deviceId } }) {
      return deviceBody(await devices.get(requester.userId, deviceId));
    },
  }),
  endpoint({
    operationId: 'updateDevice',
    summary: 'Create or update a device',
    method: 'PUT',
    path,
    auth: 'accessToken',
    guests: 'allowed',
    suspended: { allowed: 'naming their devices is part of managing them' },
    rateLimit: 'default',
    params,
    body: Type.Object({ display_name: Type.Optional(Type.String()) }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    answers: { 201: { description: 'An application service has made the device.', schema: empty } },
    async handler({ devices }: Services, { requester, params: { deviceId }, body }) {
      const { appservice, userId } = requester;
      if (appservice === undefined) await devices.rename(userId, deviceId, body.display_name);
      else if (await devices.put(userId, deviceId, body.display_name)) return new Reply({ status: 201, body: {} });
      return {};
    },
  }),
  endpoint({
    operationId: 'deleteDevice',
    summary: 'Delete a device',
    method: 'DELETE',
    path,
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'allowed',
    rateLimit: 'default',
    params,
    body: Type.Object({ auth: Type.Optional(authData) }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    answers: challenge,
    async handler({ devices }: Services, { requester, params: { deviceId }, body, info }) {
      await devices.delete(requester, 'deleteDevice', [deviceId], asAuth(body.auth), info.ip);
      return {};
    },
  }),
  endpoint({
    operationId: 'deleteDevices',
    summary: 'Bulk deletion of devices',
    method: 'POST',
    path: '/_matrix/client/v3/delete_devices',
    auth: 'accessToken',
    guests: 'refused',
    suspended: 'allowed',
    rateLimit: 'default',
    body: Type.Object({ devices: Type.Array(Type.String()), auth: Type.Optional(authData) }),
    response: empty,
    errcodes: ['M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    answers: challenge,
    async handler({ devices }: Services, { requester, body, info }) {
      await devices.delete(requester, 'deleteDevices', body.devices, asAuth(body.auth), info.ip);
      return {};
    },
  }),
];
