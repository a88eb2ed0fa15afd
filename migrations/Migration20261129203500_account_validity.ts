import { Migration } from '@mikro-orm/migrations';

/** Until when accounts are good, where they have to be renewed. */
export class Migration20261129203500_account_validity extends Migration {
  override up(): void {
    this.addSql(`alter table accounts add column expires_ts bigint`);
    this.addSql(`create index accounts_expiry on accounts (expires_ts) where expires_ts is not null`);
  }

  override down(): void {
    this.addSql(`drop index accounts_expiry`);
    this.addSql(`alter table accounts drop column expires_ts`);
  }
}
