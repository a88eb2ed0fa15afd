import { defineEntity, p } from '@mikro-orm/core';

/** An address outside Matrix that belongs to an account. */
export const AccountThreepidEntity = defineEntity({
  name: 'AccountThreepid',
  tableName: 'account_threepids',
  properties: {
    medium: p.text().primary(),
    /** Case-folded. */
    address: p.text().primary(),
    userId: p.text(),
    validatedTs: p.bigint('number'),
    addedTs: p.bigint('number'),
  },
});
