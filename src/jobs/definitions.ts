import { Type } from 'typebox';
import { defineJob, type JobDefinition } from './job-definition.ts';

/** Looks for rooms that have events to let go, and makes a `retention.purge_room` of each. */
export const findDueRooms = defineJob({
  name: 'retention.find_due_rooms',
  queue: 'maintenance',
  payload: Type.Object({}),
  attempts: 5,
  backoffMs: 1_000,
});

/** Deletes or archives a room's events from before a time, and state that nothing refers to any more. */
export const purgeRoom = defineJob({
  name: 'retention.purge_room',
  queue: 'maintenance',
  payload: Type.Object({
    /** The room's number. */
    room: Type.Integer(),
    /** Milliseconds since the epoch. */
    beforeTs: Type.Integer(),
  }),
  attempts: 10,
  backoffMs: 2_000,
  uniqueBy: ({ room }) => `room-${room}`,
});

/** Deletes what streams do not need any more: transaction ids, exceptions from notifications that have been read. */
export const cleanStreams = defineJob({
  name: 'streams.clean',
  queue: 'maintenance',
  payload: Type.Object({}),
  attempts: 5,
  backoffMs: 1_000,
});

/** Gives disk space that purges have left empty back to the operating system. */
export const returnSpace = defineJob({
  name: 'retention.return_space',
  queue: 'maintenance',
  payload: Type.Object({}),
  attempts: 3,
  backoffMs: 10_000,
  uniqueBy: () => 'all',
});

/** Turns an invitation of an address into one of the user who owns it now. One that is under way may have come too early: none is left out. */
export const redeemThirdPartyInvite = defineJob({
  name: 'third_party_invites.redeem',
  queue: 'prompt',
  payload: Type.Object({ token: Type.String() }),
  attempts: 12,
  backoffMs: 500,
});

/** Every kind of job. */
export const JOBS: readonly JobDefinition[] = [
  findDueRooms,
  purgeRoom,
  cleanStreams,
  returnSpace,
  redeemThirdPartyInvite,
] as unknown as JobDefinition[];
