import type { JobRequest } from '#src/jobs/job-definition.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Membership } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { JobRow } from '#src/storage/events/event-rows.ts';

/** A membership that is about to change. */
export interface MembershipStep {
  readonly userId: string;
  /** Whether it is a user of this server. */
  readonly local: boolean;
  readonly before: Membership | undefined;
  readonly after: Membership;
}

/**
 * How a room's state is about to change, by an event that was made here, by one that was received, or by the resolution of a fork; and
 * which events are about to be redacted.
 */
export interface StateStep {
  readonly room: Room;
  /** Events that are the room's current state from now on, memberships among them. */
  readonly state: readonly StoredEvent[];
  readonly members: readonly MembershipStep[];
  /** As they are before. */
  readonly redacted: readonly StoredEvent[];
}

/** Computes the jobs that such a change makes necessary, from what is in memory. */
export type FollowUp = (step: StateStep) => readonly JobRequest[];

/**
 * Jobs that events make necessary, written in the statement that writes the events. So they exist if and only if the events do, whenever
 * the process ends. (What is derived from events follows them by a cursor instead; caches listen to the stream.)
 */
export class FollowUps {
  readonly #all: readonly FollowUp[];

  constructor(all: readonly FollowUp[]) {
    this.#all = all;
  }

  /**
   * The jobs that a change makes necessary.
   *
   * @param now milliseconds since the epoch
   * @param more jobs that its sender asked for
   */
  jobs(step: StateStep, now: number, more: readonly JobRequest[] = []): readonly JobRow[] {
    const isChange = step.state.length > 0 || step.members.length > 0 || step.redacted.length > 0;
    const following = isChange ? this.#all.flatMap((followUp) => followUp(step)) : [];
    return [...following, ...more].map(({ job, payload }) => ({ job, payload, createdTs: now }));
  }
}
