import { Migration } from '@mikro-orm/migrations';

/** Which versions of which documents users have accepted. */
export class Migration20261129194010_accepted_terms extends Migration {
  override up(): void {
    this.addSql(`create table accepted_terms (
      user_id text not null references accounts on delete cascade,
      policy text not null,
      version text not null,
      accepted_ts bigint not null,
      primary key (user_id, policy, version)
    )`);
  }

  override down(): void {
    this.addSql(`drop table accepted_terms`);
  }
}
