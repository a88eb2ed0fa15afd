import { Type } from 'typebox';
import type { Device, DeviceService } from '#src/services/accounts/devices/device-service.ts';
import { type Endpoint, endpoint } from '../endpoint.ts';
import { asAuth, authData, empty } from './auth-schemas.ts';

const device = Type.Object({
  device_id: Type.String(),
  display_name: Type.Optional(Type.String()),
  last_seen_ip: Type.Optional(Type.String()),
  last_seen_ts: Type.Optional(Type.Integer()),
});

const deviceBody = (of: Device): Record<string, unknown> => ({
  device_id: of.deviceId,
  ...(of.displayName === null ? {} : { display_name: of.displayName }),
  ...(of.lastSeenIp === null ? {} : { last_seen_ip: of.lastSeenIp }),
  ...(of.lastSeenTs === null ? {} : { last_seen_ts: of.lastSeenTs }),
});

const path = '/_matrix/client/v3/devices/{deviceId}';
const params = Type.Object({ deviceId: Type.String() });

export const deviceManagementEndpoints = (services: { readonly devices: DeviceService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'getDevices',
    summary: 'List registered devices for the current user',
    method: 'GET',
    path: '/_matrix/client/v3/devices',
    auth: 'accessTokenOrGuest',
    rateLimit: 'default',
    response: Type.Object({ devices: Type.Array(device) }),
    errors: ['M_LIMIT_EXCEEDED'],
    async handle({ requester }) {
      return { devices: (await services.devices.list(requester.userId)).map(deviceBody) };
    },
  }),
  endpoint({
    operationId: 'getDevice',
    summary: 'Get a single device',
    method: 'GET',
    path,
    auth: 'accessTokenOrGuest',
    rateLimit: 'default',
    params,
    response: device,
    errors: ['M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { deviceId } }) {
      return deviceBody(await services.devices.get(requester.userId, deviceId));
    },
  }),
  endpoint({
    operationId: 'updateDevice',
    summary: 'Create or update a device',
    method: 'PUT',
    path,
    auth: 'accessTokenOrGuest',
    rateLimit: 'default',
    params,
    body: Type.Object({ display_name: Type.Optional(Type.String()) }),
    response: empty,
    errors: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { deviceId }, body }) {
      await services.devices.rename(requester.userId, deviceId, body.display_name);
      return {};
    },
  }),
  endpoint({
    operationId: 'deleteDevice',
    summary: 'Delete a device',
    method: 'DELETE',
    path,
    auth: 'accessToken',
    rateLimit: 'default',
    params,
    body: Type.Object({ auth: Type.Optional(authData) }),
    bodyOptional: true,
    response: empty,
    errors: ['M_UNAUTHORIZED', 'M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { deviceId }, body, info }) {
      await services.devices.delete(requester, 'deleteDevice', [deviceId], asAuth(body.auth), info.ip);
      return {};
    },
  }),
  endpoint({
    operationId: 'deleteDevices',
    summary: 'Bulk deletion of devices',
    method: 'POST',
    path: '/_matrix/client/v3/delete_devices',
    auth: 'accessToken',
    rateLimit: 'default',
    body: Type.Object({ devices: Type.Array(Type.String()), auth: Type.Optional(authData) }),
    response: empty,
    errors: ['M_UNAUTHORIZED', 'M_FORBIDDEN', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, body, info }) {
      await services.devices.delete(requester, 'deleteDevices', body.devices, asAuth(body.auth), info.ip);
      return {};
    },
  }),
];
