import type { StateSlot } from './current-state.ts';
import type { Member } from './membership.ts';
import type { ResolvedChanges } from './resolved-changes.ts';

/**
 * By how much events of other servers have made a room's state larger, for the limits of what servers may add. What users of this server add
 * does not count, nor what comes with their joins, and when a partial state is completed.
 */
export class ReceivedGrowth {
  #bytes = 0;
  #members = 0;

  /** Counts changes that are about to be carried out. */
  count(
    { members, state }: ResolvedChanges,
    before: { readonly state: ReadonlyMap<string, StateSlot>; readonly members: ReadonlyMap<string, Member> },
  ): void {
    for (const [key, slot] of state)
      this.#bytes += (slot?.event.json.length ?? 0) - (before.state.get(key)?.event.json.length ?? 0);
    for (const { userId } of members) if (!before.members.has(userId)) this.#members += 1;
  }

  /** By how much it has grown since this was called last: the bytes may be fewer than none. */
  take(): { readonly bytes: number; readonly members: number } {
    const taken = { bytes: this.#bytes, members: this.#members };
    this.#bytes = 0;
    this.#members = 0;
    return taken;
  }
}
