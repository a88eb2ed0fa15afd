import { Type } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { UserDevicesAnswers } from '#src/services/federation/queries/user-devices-answers.ts';
import { endpoint } from '../endpoint.ts';

interface Services {
  readonly userDevicesAnswers: UserDevicesAnswers;
}

const object = Type.Object({}, { additionalProperties: true });

/** Server-Server API, "Device Management". */
export const federationUserDevicesEndpoints = [
  endpoint({
    operationId: 'getUserDevices',
    summary: 'Gets all of the user’s devices.',
    method: 'GET',
    path: '/_matrix/federation/v1/user/devices/{userId}',
    auth: 'server',
    rateLimit: 'federation',
    params: Type.Object({ userId: Type.String() }),
    response: Type.Object({
      user_id: Type.String(),
      stream_id: Type.Integer(),
      devices: Type.Array(
        Type.Object({
          device_id: Type.String(),
          keys: Type.Optional(object),
          device_display_name: Type.Optional(Type.String()),
        }),
      ),
      master_key: Type.Optional(object),
      self_signing_key: Type.Optional(object),
    }),
    errcodes: ['M_NOT_FOUND'],
    async handler({ userDevicesAnswers }: Services, { params: { userId } }) {
      const devices = await userDevicesAnswers.devicesOf(userId);
      if (devices === undefined) throw new MatrixError('M_NOT_FOUND', 'This server has no such user.');
      return { ...devices, devices: [...devices.devices] };
    },
  }),
];
