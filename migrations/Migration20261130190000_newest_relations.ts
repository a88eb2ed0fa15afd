import { Migration } from '@mikro-orm/migrations';

/** Of what relates to an event, the newest is found without a look at the rest. */
export class Migration20261130190000_newest_relations extends Migration {
  override up(): void {
    this.addSql('drop index events_relations');
    this.addSql('create index events_relations on events (rel, nid) where rel is not null');
  }

  override down(): void {
    this.addSql('drop index events_relations');
    this.addSql('create index events_relations on events (rel, rel_type) where rel is not null');
  }
}
