import { defineEntity, p } from '@mikro-orm/core';

/** A token with which accounts may be registered. */
export const RegistrationTokenEntity = defineEntity({
  name: 'RegistrationToken',
  tableName: 'registration_tokens',
  properties: {
    token: p.text().primary(),
    /** How many accounts it is good for; null for any number. */
    usesAllowed: p.integer().nullable(),
    completed: p.integer().default(0),
    expiryTs: p.bigint('number').nullable(),
    createdTs: p.bigint('number'),
  },
});
