import { carryProfile } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { MemberProfiles } from '#src/services/rooms/membership/member-profiles.ts';

export const carryProfileHandler = (profiles: MemberProfiles): JobHandler =>
  jobHandler(carryProfile, async ({ userId }, signal) =>
    (await profiles.carry(userId, signal)) ? undefined : 'interrupted',
  );
