import { Migration } from '@mikro-orm/migrations';

/** Rooms whose history has forks: the state of a room after an event need not be the state after that event. */
export class Migration20261123000600_forks extends Migration {
  override up(): void {
    // Set where taking the event in left the room in another state than the one after the event: it lies on a fork.
    this.addSql(`alter table events add column current_state bigint`);
  }

  override down(): void {
    this.addSql(`alter table events drop column current_state`);
  }
}
