import { Migration } from '@mikro-orm/migrations';

/** After which sticky event of a room a server that came into it is still to be sent them: a kill must not make it miss them. MSC4354. */
export class Migration20261130082500_sticky_for_servers extends Migration {
  override up(): void {
    this.addSql('alter table destination_rooms add column sticky_after bigint');
  }

  override down(): void {
    this.addSql('alter table destination_rooms drop column sticky_after');
  }
}
