import { defineEntity, p } from '@mikro-orm/core';

/** A report of an event, a room or a user. */
export const ReportEntity = defineEntity({
  name: 'Report',
  tableName: 'reports',
  properties: {
    id: p.bigint('number').primary().autoincrement(),
    /** `event`, `room` or `user`. */
    kind: p.text(),
    reporter: p.text(),
    roomId: p.text().nullable(),
    eventId: p.text().nullable(),
    /** Whom it is about: the reported user, or the sender of the reported event. */
    userId: p.text().nullable(),
    reason: p.text().nullable(),
    score: p.integer().nullable(),
    createdTs: p.bigint('number'),
  },
});
