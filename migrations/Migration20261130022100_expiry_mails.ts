import { Migration } from '@mikro-orm/migrations';

/** Whether users are told by mail that their accounts are about to expire. */
export class Migration20261130022100_expiry_mails extends Migration {
  override up(): void {
    this.addSql(`alter table accounts add column expiry_mails boolean not null default true`);
  }

  override down(): void {
    this.addSql(`alter table accounts drop column expiry_mails`);
  }
}
