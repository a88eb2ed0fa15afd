import { Migration } from '@mikro-orm/migrations';

/** Finding the few accounts whose content was erased, among all. */
export class Migration20261129174500_erased_accounts extends Migration {
  override up(): void {
    this.addSql(`create index accounts_erased on accounts (user_id) where erased`);
  }

  override down(): void {
    this.addSql(`drop index accounts_erased`);
  }
}
