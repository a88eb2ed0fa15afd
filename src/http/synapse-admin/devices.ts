import { Type } from 'typebox';
import type { Device } from '#src/services/accounts/devices/device-service.ts';
import type { UserDevices } from '#src/services/admin/users/user-devices.ts';
import type { UserReads } from '#src/services/admin/users/user-reads.ts';
import { actorOf } from '../actor.ts';
import { empty } from '../client-server/parts/room-schemas.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint, Reply } from '../endpoint.ts';
import { OF_ADMINISTRATORS } from './parts/access.ts';
import { ACCOUNT_ERRORS, orNull, userParams } from './parts/users.ts';

const root = '/_synapse/admin/v2/users/{user_id}';
const path = `${root}/devices/{device_id}`;
const params = Type.Object({ user_id: Type.String(), device_id: Type.String() });
const members = {
  device_id: Type.String(),
  display_name: orNull(Type.String()),
  last_seen_ip: orNull(Type.String()),
  last_seen_user_agent: orNull(Type.String()),
  last_seen_ts: orNull(Type.Integer()),
  user_id: Type.String(),
};

const deviceBody = (device: Device): Record<string, unknown> => ({
  device_id: device.deviceId,
  display_name: device.displayName,
  last_seen_ip: device.lastSeenIp,
  last_seen_user_agent: device.lastSeenUserAgent,
  last_seen_ts: device.lastSeenTs,
  user_id: device.userId,
});

interface Services {
  readonly userDevices: UserDevices;
  readonly userReads: UserReads;
}

/** Synapse Admin API, "User devices". */
export const deviceAdminEndpoints = [
  endpoint({
    operationId: 'adminListDevices',
    summary: "A user's devices.",
    method: 'GET',
    path: `${root}/devices`,
    ...OF_ADMINISTRATORS,
    params: userParams,
    response: Type.Object({
      devices: Type.Array(Type.Object({ ...members, dehydrated: Type.Boolean() })),
      total: Type.Integer(),
    }),
    errcodes: ACCOUNT_ERRORS,
    async handler({ userReads }: Services, { params: { user_id: userId } }) {
      const { dehydrated, devices } = await userReads.devices(userId);
      return {
        devices: devices.map((device) => ({ ...deviceBody(device), dehydrated: device.deviceId === dehydrated })),
        total: devices.length,
      };
    },
  }),
  endpoint({
    operationId: 'adminCreateDevice',
    summary: 'Makes a device of a user, in which nobody is logged in.',
    method: 'POST',
    path: `${root}/devices`,
    ...OF_ADMINISTRATORS,
    params: userParams,
    body: Type.Object({ device_id: Type.String() }),
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: [...ACCOUNT_ERRORS, 'M_TOO_LARGE'],
    answers: { 201: { description: 'There is such a device now.', schema: empty } },
    async handler({ userDevices }: Services, { params: { user_id: userId }, body, requester, info }) {
      await userDevices.create(actorOf(requester, info), userId, body.device_id);
      return new Reply({ status: 201, body: {} });
    },
  }),
  endpoint({
    operationId: 'adminDeleteDevices',
    summary: "Deletes some of a user's devices, and ends their sessions.",
    method: 'POST',
    path: `${root}/delete_devices`,
    ...OF_ADMINISTRATORS,
    params: userParams,
    body: Type.Object({ devices: Type.Array(Type.String(), { maxItems: 10_000 }) }),
    response: empty,
    errcodes: ACCOUNT_ERRORS,
    async handler({ userDevices }: Services, { params: { user_id: userId }, body, requester, info }) {
      await userDevices.delete(actorOf(requester, info), userId, body.devices);
      return {};
    },
  }),
  endpoint({
    operationId: 'adminGetDevice',
    summary: "One of a user's devices.",
    method: 'GET',
    path,
    ...OF_ADMINISTRATORS,
    params,
    response: Type.Object(members),
    errcodes: ACCOUNT_ERRORS,
    handler: async ({ userReads }: Services, { params: { device_id: deviceId, user_id: userId } }) =>
      deviceBody(await userReads.device(userId, deviceId)),
  }),
  endpoint({
    operationId: 'adminUpdateDevice',
    summary: "Changes what one of a user's devices is called.",
    method: 'PUT',
    path,
    ...OF_ADMINISTRATORS,
    params,
    body: Type.Object({ display_name: Type.Optional(Type.String()) }),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: ACCOUNT_ERRORS,
    async handler({ userDevices }: Services, { params: { device_id: id, user_id: userId }, body, requester, info }) {
      await userDevices.rename(actorOf(requester, info), userId, id, body.display_name);
      return {};
    },
  }),
  endpoint({
    operationId: 'adminDeleteDevice',
    summary: "Deletes one of a user's devices, and ends its session.",
    method: 'DELETE',
    path,
    ...OF_ADMINISTRATORS,
    params,
    response: empty,
    errcodes: ACCOUNT_ERRORS,
    async handler({ userDevices }: Services, { params: { device_id: id, user_id: userId }, requester, info }) {
      await userDevices.delete(actorOf(requester, info), userId, [id]);
      return {};
    },
  }),
];
