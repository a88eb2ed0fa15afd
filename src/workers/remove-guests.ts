import { removeGuests } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { GuestAccess } from '#src/services/rooms/membership/guest-access.ts';

export const removeGuestsHandler = (guests: GuestAccess): JobHandler =>
  jobHandler(removeGuests, async ({ room }, signal) =>
    (await guests.removeGuests(room, signal)) ? undefined : 'interrupted',
  );
