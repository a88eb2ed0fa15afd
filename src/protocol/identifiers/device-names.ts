import { MatrixError } from '#src/protocol/errors/matrix-error.ts';

export const MAX_DEVICE_ID = 255;
export const MAX_DISPLAY_NAME = 256;

/** Whether a device can have this id. */
export const isDeviceId = (deviceId: string): boolean =>
  deviceId !== '' &&
  Buffer.byteLength(deviceId) <= MAX_DEVICE_ID &&
  !deviceId.includes('\0') &&
  deviceId.isWellFormed();

/** The key of a device in maps and caches. */
export const deviceKey = (userId: string, deviceId: string): string => `${userId} ${deviceId}`;

/** @throws MatrixError M_INVALID_PARAM for what cannot be the id of a device */
export const checkDeviceId = (deviceId: string): void => {
  if (!isDeviceId(deviceId))
    throw new MatrixError('M_INVALID_PARAM', `A device id has 1 to ${MAX_DEVICE_ID} bytes of text.`);
};

/** @throws MatrixError M_INVALID_PARAM for what cannot be shown as the name of a device */
export const checkDeviceName = (name: string): void => {
  if (name.length > MAX_DISPLAY_NAME || name.includes('\0') || !name.isWellFormed()) {
    throw new MatrixError(
      'M_INVALID_PARAM',
      `The display name of a device has at most ${MAX_DISPLAY_NAME} characters of text.`,
    );
  }
};
