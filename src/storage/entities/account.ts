import { defineEntity, p } from '@mikro-orm/core';

/** An account of this server. */
export const AccountEntity = defineEntity({
  name: 'Account',
  tableName: 'accounts',
  properties: {
    userId: p.text().primary(),
    localpart: p.text().unique(),
    /** Absent for guests, deactivated accounts and users of application services. */
    passwordHash: p.text().nullable(),
    createdTs: p.bigint('number'),
    isGuest: p.boolean().default(false),
    admin: p.boolean().default(false),
    deactivated: p.boolean().default(false),
    locked: p.boolean().default(false),
    suspended: p.boolean().default(false),
    shadowBanned: p.boolean().default(false),
    erased: p.boolean().default(false),
    rateLimitExempt: p.boolean().default(false),
    messagesPerSecond: p.integer().nullable(),
    messagesBurst: p.integer().nullable(),
    appserviceId: p.text().nullable(),
    userType: p.text().nullable(),
    expiresTs: p.bigint('number').nullable(),
    expiryMails: p.boolean().default(true),
  },
});
