import { Migration } from '@mikro-orm/migrations';

/** Claimed one-time keys are remembered for a while: a client that uploads them again, because the answer got lost, must not have them handed out twice. */
export class Migration20261130125000_claimed_keys extends Migration {
  override up(): void {
    this.addSql('alter table one_time_keys add column claimed boolean not null default false');
    this.addSql(
      'create index one_time_keys_unclaimed on one_time_keys (user_id, device_id, algorithm, nid) where not claimed',
    );
  }

  override down(): void {
    this.addSql('delete from one_time_keys where claimed');
    this.addSql('alter table one_time_keys drop column claimed');
  }
}
