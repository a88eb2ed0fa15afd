import { Migration } from '@mikro-orm/migrations';

/** Rooms whose history has forks: the state of a room after an event need not be the state after that event. */
export class Migration20261123000600_forks extends Migration {
  override up(): void {
    // The room's state once the event was taken in, where the event is not all that changed it: it lies on a fork.
    this.addSql(`alter table events add column current_state bigint`);
  }

  override down(): void {
    this.addSql(`alter table events drop column current_state`);
  }
}
