import { defineEntity, p } from '@mikro-orm/core';

/** A device of a local user. */
export const DeviceEntity = defineEntity({
  name: 'Device',
  tableName: 'devices',
  properties: {
    userId: p.text().primary(),
    deviceId: p.text().primary(),
    displayName: p.text().nullable(),
    createdTs: p.bigint('number'),
    lastSeenTs: p.bigint('number').nullable(),
    lastSeenIp: p.text().nullable(),
    lastSeenUserAgent: p.text().nullable(),
  },
});
