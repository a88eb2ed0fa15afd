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

/** Media may have no reference any more, since an event that referred to them was redacted. */
export const releaseMedia = defineJob({
  name: 'media.release',
  queue: 'prompt',
  payload: Type.Object({
    /** Without `mxc://`. */
    uris: Type.Array(Type.String()),
    /** The sender of the event: only their own media are released. */
    sender: Type.String(),
  }),
  ...PERSISTENT,
});

/** Deletes media without references or requests, and the bytes of what was deleted. */
export const cleanMedia = defineJob({
  name: 'media.clean',
  queue: 'maintenance',
  payload: Type.Object({}),
  attempts: 5,
  backoffMs: 1_000,
  uniqueBy: () => 'all',
});

/** Returns disk space that purges have freed to the operating system. */
export const reclaimDiskSpace = defineJob({
  name: 'retention.return_space',
  queue: 'maintenance',
  payload: Type.Object({}),
  attempts: 3,
  backoffMs: 10_000,
  uniqueBy: () => 'all',
});

/** Turns an invitation of an address into an invite of the user who has bound it. A job that is running may have come too early, so each is done. */
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

/** An invitation of an address was sent into its room. */
export const inviteByAddressSent = defineJob({
  name: 'third_party_invites.sent',
  queue: 'prompt',
  payload: Type.Object({ token: Type.String(), roomId: Type.String() }),
  ...PERSISTENT,
});

/** An invitation of an address was revoked, and is deleted. */
export const inviteByAddressRevoked = defineJob({
  name: 'third_party_invites.revoked',
  queue: 'prompt',
  payload: Type.Object({ token: Type.String(), roomId: Type.String() }),
  ...PERSISTENT,
});

/** What follows from the deactivation of an account, in rooms and beyond them. */
export const finishDeactivation = defineJob({
  name: 'accounts.finish_deactivation',
  queue: 'rounds',
  ...ofUser,
  ...PERSISTENT,
});

/** Carries a user's name and avatar into the rooms where the user is joined. */
export const carryProfile = defineJob({ name: 'profiles.carry', queue: 'rounds', ...ofUser, ...PERSISTENT });

/** Writes the entry of a local user in the user directory from account and profile, or removes it. */
export const listUser = defineJob({ name: 'user_directory.list', queue: 'prompt', ...ofUser, ...PERSISTENT });

/** Events were backfilled, or arrived after their redaction: they are indexed for search, and redacted. */
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

/** Lists in the user directory the members of a room that were not known when this server joined it. */
export const listRoomMembers = defineJob({
  name: 'user_directory.list_room',
  queue: 'rounds',
  ...ofRoom,
  ...PERSISTENT,
});

/** The full state of a partially joined room is known: events, device lists and what other servers were sent are corrected. */
export const settleCompletion = defineJob({
  name: 'rooms.settle_completion',
  queue: 'prompt',
  payload: Type.Object({
    /** The room's number. */
    room: Type.Integer(),
    /** Position of the join. */
    after: Type.Integer(),
    /** Servers in the room that were sent nothing since the join. */
    servers: Type.Array(Type.String()),
  }),
  ...PERSISTENT,
});

/** Empties the account data of deleted devices. */
export const forgetDeviceSettings = defineJob({
  name: 'devices.forget_settings',
  queue: 'prompt',
  payload: Type.Object({ userId: Type.String(), deviceIds: Type.Array(Type.String()) }),
  ...PERSISTENT,
});

/** Removes guests from a room that no longer allows them. */
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
    /** The user who upgraded the room. */
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

/** Deletes remote rooms of which only invites are left that were rejected long ago. */
export const cleanUnjoinedRooms = defineJob({
  name: 'federation.clean_outside_rooms',
  queue: 'maintenance',
  payload: Type.Object({}),
  attempts: 5,
  backoffMs: 1_000,
});

/** Sends another server the rejection of an invite, or the end of a knock, that was made while none could be reached. */
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

/** Carries a user's settings for a room over to its successor, which the user has joined. */
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

/** Sends the devices of a user to the servers of a room that they have joined. */
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

/** Mails the owner of an address that they were invited. */
export const sendInvitation = defineJob({
  name: 'mail.invitation',
  queue: 'mail',
  payload: Type.Object({ token: Type.String() }),
  uniqueBy: ({ token }) => token,
  ...UNTIL_STALE,
});

/** Mails a user about a login on a new device. */
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

/** Looks for users with unread messages to be mailed, and enqueues a `mail.digest` for each. */
export const findDigests = defineJob({
  name: 'mail.find_digests',
  queue: 'mail',
  payload: Type.Object({}),
  attempts: 3,
  backoffMs: 1_000,
});

/** Mails a user their unread messages. What fails is found again by the next `mail.find_digests`. */
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

/** Looks for accounts that are about to expire, and enqueues a `mail.expiry_notice` for each. */
export const findExpiring = defineJob({
  name: 'mail.find_expiring',
  queue: 'mail',
  payload: Type.Object({}),
  attempts: 3,
  backoffMs: 1_000,
});

/** Mails a user that the account is about to expire. */
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

/** Runs the tasks of administrators in one lane, one after the other. */
export const runTask = defineJob({
  name: 'admin.run_task',
  queue: 'tasks',
  payload: Type.Object({ lane: Type.String() }),
  uniqueBy: ({ lane }) => lane,
  ...PERSISTENT,
});

/** The same for tasks that go through everything stored, which are paused with other background work. */
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
  reclaimDiskSpace,
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
  cleanUnjoinedRooms,
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
