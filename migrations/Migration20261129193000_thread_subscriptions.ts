import { Migration } from '@mikro-orm/migrations';

/**
 * Which threads users follow. A row with room 0 says that a user follows threads at all; `automatic` is null for a thread that is not
 * followed any more, `at` the position of the room at which that was decided.
 */
export class Migration20261129193000_thread_subscriptions extends Migration {
  override up(): void {
    this.addSql(`create table thread_subscriptions (
      user_nid int not null,
      room int not null,
      root text not null,
      root_nid bigint not null,
      automatic boolean,
      at bigint not null,
      pos bigint not null,
      primary key (user_nid, room, root)
    )`);
  }

  override down(): void {
    this.addSql(`drop table thread_subscriptions`);
  }
}
