import { Migration } from '@mikro-orm/migrations';

/** The room in which a user is told what the server has to say. */
export class Migration20261130030500_server_notices extends Migration {
  override up(): void {
    this.addSql(`create table server_notice_rooms (user_id text primary key, room_id text not null)`);
  }

  override down(): void {
    this.addSql(`drop table server_notice_rooms`);
  }
}
