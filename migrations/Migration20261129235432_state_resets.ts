import { Migration } from '@mikro-orm/migrations';

/** Where the resolution of a fork took back what a room's state said, for administrators to look at. */
export class Migration20261129235432_state_resets extends Migration {
  override up(): void {
    this.addSql(`create table state_resets (
      id bigint generated always as identity primary key,
      room int not null,
      event bigint not null,
      ts bigint not null,
      members int not null,
      power boolean not null,
      example text
    )`);
  }

  override down(): void {
    this.addSql(`drop table state_resets`);
  }
}
