import { Type } from 'typebox';
import { defineJob, type JobDefinition, PERSISTENT, UNTIL_STALE } from './job-definition.ts';

/** Looks for rooms that have events to purge, and makes a `retention.purge_room` of each. */
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

/** Media may be named by nothing any more, since an event that named them is redacted. */
export const releaseMedia = defineJob({
  name: 'media.release',
  queue: 'prompt',
  payload: Type.Object({
    /** Without `mxc://`. */
    uris: Type.Array(Type.String()),
    /** Whose event it was: of this user's own media alone. */
    sender: Type.String(),
  }),
  ...PERSISTENT,
});

/** Deletes media that nothing names any more or nobody asks for, and the bytes of what was deleted. */
export const cleanMedia = defineJob({
  name: 'media.clean',
  queue: 'maintenance',
  payload: Type.Object({}),
  attempts: 5,
  backoffMs: 1_000,
  uniqueBy: () => 'all',
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
  ...PERSISTENT,
});

/** A user has redacted an event, and what relates to it is redacted as well (MSC3912). */
export const redactRelated = defineJob({
  name: 'rooms.redact_related',
  queue: 'rounds',
  payload: Type.Object({
    /** The room's number. */
    room: Type.Integer(),
    userId: Type.String(),
    /** The id of the event that was redacted. */
    target: Type.String(),
    relTypes: Type.Array(Type.String()),
    reason: Type.Optional(Type.String()),
  }),
  ...PERSISTENT,
});

const ofUser = {
  payload: Type.Object({ userId: Type.String() }),
  uniqueBy: ({ userId }: { userId: string }) => userId,
};
const ofRoom = {
  payload: Type.Object({
    /** The room's number. */
    room: Type.Integer(),
  }),
  uniqueBy: ({ room }: { room: number }) => String(room),
};

/** An invitation of an address was published in its room: it stands from now on. */
export const inviteByAddressSent = defineJob({
  name: 'third_party_invites.sent',
  queue: 'prompt',
  payload: Type.Object({ token: Type.String(), roomId: Type.String() }),
  ...PERSISTENT,
});

/** An invitation of an address was revoked: it is kept no longer. */
export const inviteByAddressRevoked = defineJob({
  name: 'third_party_invites.revoked',
  queue: 'prompt',
  payload: Type.Object({ token: Type.String(), roomId: Type.String() }),
  ...PERSISTENT,
});

/** All that the deactivation of an account brings with it, in rooms and beside them. */
export const finishDeactivation = defineJob({
  name: 'accounts.finish_deactivation',
  queue: 'rounds',
  ...ofUser,
  ...PERSISTENT,
});

/** Carries a user's name and avatar into the rooms where the user is joined. */
export const carryProfile = defineJob({ name: 'profiles.carry', queue: 'rounds', ...ofUser, ...PERSISTENT });

/** Writes a user of this server into the user directory as account and profile say, or takes the user out. */
export const listUser = defineJob({ name: 'user_directory.list', queue: 'prompt', ...ofUser, ...PERSISTENT });

/** Events came into a room's past, or after what redacts them: they are made findable, and redacted. */
export const settleArrivals = defineJob({
  name: 'events.settle_arrivals',
  queue: 'prompt',
  payload: Type.Object({
    /** The room's number. */
    room: Type.Integer(),
    /** Positions of the events. */
    events: Type.Array(Type.Integer()),
  }),
  ...PERSISTENT,
});

/** Lists the members of a room of whom nothing was known when this server came into it. */
export const listRoomMembers = defineJob({
  name: 'user_directory.list_room',
  queue: 'rounds',
  ...ofRoom,
  ...PERSISTENT,
});

/** The state of a room is whole that was joined in part: what was judged, kept and told by less than that is put right. */
export const settleCompletion = defineJob({
  name: 'rooms.settle_completion',
  queue: 'prompt',
  payload: Type.Object({
    /** The room's number. */
    room: Type.Integer(),
    /** Position of the join. */
    after: Type.Integer(),
    /** Servers in the room that were told nothing since the join. */
    servers: Type.Array(Type.String()),
  }),
  ...PERSISTENT,
});

/** Empties what account data says of devices that are no more. */
export const forgetDeviceSettings = defineJob({
  name: 'devices.forget_settings',
  queue: 'prompt',
  payload: Type.Object({ userId: Type.String(), deviceIds: Type.Array(Type.String()) }),
  ...PERSISTENT,
});

/** Takes guests out of a room that does not let them in any more. */
export const removeGuests = defineJob({ name: 'rooms.remove_guests', queue: 'rounds', ...ofRoom, ...PERSISTENT });

/** Judges the soft-failed sticky events of a room anew, since its state has changed. */
export const reviewStickyEvents = defineJob({
  name: 'sticky_events.review',
  queue: 'prompt',
  ...ofRoom,
  ...PERSISTENT,
});

/** Does what is left of an upgrade once its tombstone is written: moves names, closes the old room, or takes a tombstone back. */
export const finishUpgrade = defineJob({
  name: 'upgrades.finish',
  queue: 'prompt',
  payload: Type.Object({
    /** The old room's number. */
    room: Type.Integer(),
    /** The new room's id. */
    successor: Type.String(),
    /** Who upgraded the room. */
    userId: Type.String(),
  }),
  ...PERSISTENT,
});

/** Copies the push rules that users made for a room to its successor. */
export const copyRoomRules = defineJob({
  name: 'succession.copy_rules',
  queue: 'rounds',
  payload: Type.Object({
    /** The old room's number. */
    room: Type.Integer(),
    /** The new room's id. */
    successor: Type.String(),
  }),
  ...PERSISTENT,
});

/** Forgets rooms of other servers of which nothing is left but invites that were declined long ago. */
export const cleanOutsideRooms = defineJob({
  name: 'federation.clean_outside_rooms',
  queue: 'maintenance',
  payload: Type.Object({}),
  attempts: 5,
  backoffMs: 1_000,
});

/** Tells another server that a user rejected an invite, or took back a knock, while none could be reached. */
export const sendLeave = defineJob({
  name: 'federation.send_leave',
  queue: 'rounds',
  payload: Type.Object({
    /** The room's number. */
    room: Type.Integer(),
    userId: Type.String(),
  }),
  ...UNTIL_STALE,
  uniqueBy: ({ room, userId }) => `${room} ${userId}`,
});

/** Carries what a user said of a room over to its successor, which the user has joined. */
export const moveToSuccessor = defineJob({
  name: 'succession.move_user',
  queue: 'prompt',
  payload: Type.Object({
    /** The new room's number. */
    room: Type.Integer(),
    userId: Type.String(),
  }),
  ...PERSISTENT,
});

/** Tells the servers of a room which devices a user has who has joined it. */
export const shareDevices = defineJob({
  name: 'federation.share_devices',
  queue: 'prompt',
  payload: Type.Object({
    /** The room's number. */
    room: Type.Integer(),
    userId: Type.String(),
  }),
  ...PERSISTENT,
});

/** Sends the mail by which an address is validated. */
export const sendValidation = defineJob({
  name: 'mail.validation',
  queue: 'mail',
  payload: Type.Object({ sid: Type.String(), attempt: Type.Integer() }),
  ...UNTIL_STALE,
});

/** Tells the owner of an address by mail that they were invited by it. */
export const sendInvitation = defineJob({
  name: 'mail.invitation',
  queue: 'mail',
  payload: Type.Object({ token: Type.String() }),
  uniqueBy: ({ token }) => token,
  ...UNTIL_STALE,
});

/** Tells a user by mail of a login on a device that was not known before. */
export const sendLoginNotice = defineJob({
  name: 'mail.login_notice',
  queue: 'mail',
  payload: Type.Object({
    userId: Type.String(),
    deviceId: Type.String(),
    deviceName: Type.Optional(Type.String()),
    ip: Type.String(),
    acceptLanguage: Type.Optional(Type.String()),
    /** Milliseconds since the epoch. */
    ts: Type.Integer(),
  }),
  ...UNTIL_STALE,
});

/** Looks for users who may have to be told by mail of what they missed, and makes a `mail.digest` of each. */
export const findDigests = defineJob({
  name: 'mail.find_digests',
  queue: 'mail',
  payload: Type.Object({}),
  attempts: 3,
  backoffMs: 1_000,
});

/** Tells a user by mail of what they missed. What fails is looked for again by the next `mail.find_digests`. */
export const sendDigest = defineJob({
  name: 'mail.digest',
  queue: 'mail',
  payload: Type.Object({
    /** The pusher's id. */
    pusher: Type.Integer(),
  }),
  attempts: 5,
  backoffMs: 5_000,
  uniqueBy: ({ pusher }) => String(pusher),
});

/** Looks for accounts that are about to expire, and makes a `mail.expiry_notice` of each. */
export const findExpiring = defineJob({
  name: 'mail.find_expiring',
  queue: 'mail',
  payload: Type.Object({}),
  attempts: 3,
  backoffMs: 1_000,
});

/** Tells a user by mail that the account is about to expire. */
export const sendExpiryNotice = defineJob({
  name: 'mail.expiry_notice',
  queue: 'mail',
  payload: Type.Object({
    userId: Type.String(),
    /** Milliseconds since the epoch. */
    expiresTs: Type.Integer(),
  }),
  uniqueBy: ({ userId, expiresTs }) => `${userId} ${expiresTs}`,
  ...UNTIL_STALE,
});

/** Does what administrators asked for that takes long: the tasks of one lane, one after the other. */
export const runTask = defineJob({
  name: 'admin.run_task',
  queue: 'tasks',
  payload: Type.Object({ lane: Type.String() }),
  uniqueBy: ({ lane }) => lane,
  ...PERSISTENT,
});

/** The same for those that go through all that is stored, and stand still while work in the background is paused. */
export const runUpdate = defineJob({
  name: 'admin.run_update',
  queue: 'maintenance',
  payload: Type.Object({ lane: Type.String() }),
  uniqueBy: ({ lane }) => lane,
  ...PERSISTENT,
});

/** Every kind of job. */
export const JOBS: readonly JobDefinition[] = [
  findDueRooms,
  purgeRoom,
  cleanStreams,
  releaseMedia,
  cleanMedia,
  returnSpace,
  redeemThirdPartyInvite,
  redactRelated,
  inviteByAddressSent,
  inviteByAddressRevoked,
  finishDeactivation,
  carryProfile,
  listUser,
  listRoomMembers,
  settleCompletion,
  settleArrivals,
  forgetDeviceSettings,
  removeGuests,
  reviewStickyEvents,
  finishUpgrade,
  copyRoomRules,
  moveToSuccessor,
  shareDevices,
  cleanOutsideRooms,
  sendLeave,
  sendValidation,
  sendInvitation,
  sendLoginNotice,
  findDigests,
  sendDigest,
  findExpiring,
  sendExpiryNotice,
  runTask,
  runUpdate,
] as unknown as JobDefinition[];
