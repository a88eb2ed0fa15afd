import {
  cleanMedia,
  cleanUnjoinedRooms,
  cleanStreams,
  findDigests,
  findDueRooms,
  findExpiring,
  JOBS,
} from '#src/jobs/definitions.ts';
import type { JobDefinition, JobHandler } from '#src/jobs/job-definition.ts';
import { JobQueues } from '#src/jobs/job-queues.ts';
import type { FollowUp } from '#src/services/events/building/follow-ups.ts';
import { devicesFollowUp } from '#src/services/federation/edus/device-list-publisher.ts';
import { mediaFollowUp } from '#src/services/media/media-references.ts';
import { guestsFollowUp } from '#src/services/rooms/membership/guest-access.ts';
import { successionFollowUp } from '#src/services/rooms/succession/room-succession.ts';
import { invitesByAddressFollowUp } from '#src/services/rooms/third-party-invites/invite-redemption.ts';
import { OutboxRelay } from '#src/services/delivery/outbox/outbox-relay.ts';
import { carryProfileHandler } from '#src/workers/carry-profile.ts';
import { cleanMediaHandler } from '#src/workers/clean-media.ts';
import { cleanUnjoinedRoomsHandler } from '#src/workers/clean-unjoined-rooms.ts';
import { cleanStreamsHandler } from '#src/workers/clean-streams.ts';
import { copyRoomRulesHandler } from '#src/workers/copy-room-rules.ts';
import { findDueRoomsHandler } from '#src/workers/find-due-rooms.ts';
import { finishDeactivationHandler } from '#src/workers/finish-deactivation.ts';
import { finishUpgradeHandler } from '#src/workers/finish-upgrade.ts';
import { forgetDeviceSettingsHandler } from '#src/workers/forget-device-settings.ts';
import { inviteByAddressRevokedHandler } from '#src/workers/invite-by-address-revoked.ts';
import { inviteByAddressSentHandler } from '#src/workers/invite-by-address-sent.ts';
import { listUserHandler } from '#src/workers/list-user.ts';
import { listRoomMembersHandler } from '#src/workers/list-room-members.ts';
import { moveToSuccessorHandler } from '#src/workers/move-to-successor.ts';
import { purgeRoomHandler } from '#src/workers/purge-room.ts';
import { redeemThirdPartyInviteHandler } from '#src/workers/redeem-third-party-invite.ts';
import { redactRelatedHandler } from '#src/workers/redact-related.ts';
import { settleCompletionHandler } from '#src/workers/settle-completion.ts';
import { settleArrivalsHandler } from '#src/workers/settle-arrivals.ts';
import { removeGuestsHandler } from '#src/workers/remove-guests.ts';
import { releaseMediaHandler } from '#src/workers/release-media.ts';
import { reclaimDiskSpaceHandler } from '#src/workers/reclaim-disk-space.ts';
import { reviewStickyEventsHandler } from '#src/workers/review-sticky-events.ts';
import { findExpiringHandler } from '#src/workers/find-expiring.ts';
import { sendExpiryNoticeHandler } from '#src/workers/send-expiry-notice.ts';
import { findDigestsHandler } from '#src/workers/find-digests.ts';
import { sendDigestHandler } from '#src/workers/send-digest.ts';
import { sendInvitationHandler } from '#src/workers/send-invitation.ts';
import { sendLeaveHandler } from '#src/workers/send-leave.ts';
import { sendLoginNoticeHandler } from '#src/workers/send-login-notice.ts';
import { runTaskHandler, runUpdateHandler } from '#src/workers/run-task.ts';
import { shareDevicesHandler } from '#src/workers/share-devices.ts';
import { sendValidationHandler } from '#src/workers/send-validation.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { TaskRunning } from './task-runner.ts';
import type { Deactivations } from './deactivation.ts';
import type { Events } from './events.ts';
import type { FederationJoins } from './federation-joins.ts';
import type { Outbound } from './federation-outbound.ts';
import type { Media } from './media.ts';
import type { Mails } from './mail.ts';
import type { Memberships } from './membership.ts';
import type { Retention } from './retention.ts';
import type { Search } from './search.ts';
import type { RoomModel } from './room-model.ts';
import type { Rooms } from './rooms.ts';
import type { ThirdPartyInviting } from './third-party-invites.ts';
import type { UserData } from './user-data.ts';
import type { People } from './user-directory.ts';

const CLEAN_EVERY_MS = 3_600_000;
const CLEAN_UNJOINED_EVERY_MS = DAY_MS;
const EXPIRING_EVERY_MS = 3_600_000;
/** One for each queue to listen on, the others for the state of jobs. Where no mail is sent, that queue is not opened. */
const QUEUE_CONNECTIONS = 7;

/** Jobs: work that outlives the request that caused it. */
export interface Jobs {
  readonly queues: JobQueues;
  readonly outboxRelay: OutboxRelay;
}

/** The services that do the jobs. */
type Workers = Pick<UserData, 'accountData'> &
  Deactivations &
  Events &
  FederationJoins &
  Pick<Outbound, 'completedRooms' | 'deviceLists'> &
  Media &
  Mails &
  Memberships &
  People &
  Retention &
  TaskRunning &
  Pick<RoomModel, 'loader' | 'rooms'> &
  Pick<Search, 'searchIndex'> &
  Pick<Rooms, 'relatedRedactions' | 'roomSuccession' | 'roomUpgrade'> &
  ThirdPartyInviting;

/** What computes the jobs that events make necessary, written with the events. */
export const FOLLOW_UPS: readonly FollowUp[] = [
  guestsFollowUp,
  invitesByAddressFollowUp,
  successionFollowUp,
  mediaFollowUp,
  devicesFollowUp,
];

/** The handler of each job, one per line. */
export const handlersOf = (below: Workers): readonly JobHandler[] => [
  findDueRoomsHandler(below.retention),
  purgeRoomHandler(below.retention),
  cleanStreamsHandler(below.streamCleaner),
  releaseMediaHandler(below.mediaReferences),
  cleanMediaHandler(below.mediaCleaner),
  reclaimDiskSpaceHandler(below.diskSpaceReclaimer),
  redeemThirdPartyInviteHandler(below.inviteRedemption),
  inviteByAddressSentHandler(below.inviteRedemption),
  inviteByAddressRevokedHandler(below.inviteRedemption),
  finishDeactivationHandler(below.deactivation),
  carryProfileHandler(below.memberProfiles),
  listUserHandler(below.directoryEntries),
  settleArrivalsHandler(below),
  listRoomMembersHandler(below.directoryEntries, below.rooms),
  settleCompletionHandler(below.completedRooms, below.rooms),
  forgetDeviceSettingsHandler(below.accountData),
  removeGuestsHandler(below.guestAccess),
  redactRelatedHandler(below.relatedRedactions),
  reviewStickyEventsHandler(below.stickyReview),
  finishUpgradeHandler(below.roomUpgrade),
  copyRoomRulesHandler(below.roomSuccession),
  moveToSuccessorHandler(below.roomSuccession),
  shareDevicesHandler(below.deviceLists),
  cleanUnjoinedRoomsHandler(below.unjoinedRoomCleaner),
  sendLeaveHandler(below.remoteLeaves),
  sendValidationHandler(below.validationMails),
  sendInvitationHandler(below.invitationMails),
  sendLoginNoticeHandler(below.loginNotices),
  findDigestsHandler(below.digests),
  sendDigestHandler(below.digests),
  findExpiringHandler(below.expiryNotices),
  sendExpiryNoticeHandler(below.expiryNotices),
  runTaskHandler(below.taskRunner),
  runUpdateHandler(below.taskRunner),
];

export function composeJobs(below: Platform & Workers & { readonly jobLockMs?: number | undefined }): Slice<Jobs> {
  const { config, database, jobLockMs: lockMs, logger, metrics, timers } = below;
  const sendsMail = config.email.smtpUrl !== null;
  const queues = new JobQueues({
    store:
      config.redis.url === null
        ? { kind: 'postgres', pool: database.queueConnections(sendsMail ? QUEUE_CONNECTIONS : QUEUE_CONNECTIONS - 1) }
        : { kind: 'redis', url: config.redis.url, prefix: `tsudoi-${config.serverName.replaceAll(':', '_')}` },
    definitions: sendsMail ? JOBS : JOBS.filter(({ queue }) => queue !== 'mail'),
    logger,
    timers,
    metrics,
    lockMs,
  });
  const outboxRelay = new OutboxRelay({ database, queues, timers, logger });
  return {
    name: 'jobs',
    services: { queues, outboxRelay },
    async start() {
      await queues.open();
      // A pause is temporary: it is not to be forgotten that nothing is cleaned up.
      await queues.resume('maintenance');
      await queues.work(handlersOf(below));
      const looking = findDueRooms as unknown as JobDefinition;
      if (config.retention.enabled) await queues.repeat(looking, config.retention.intervalMs);
      else await queues.forget(looking);
      await queues.repeat(cleanStreams as unknown as JobDefinition, CLEAN_EVERY_MS);
      await queues.repeat(cleanUnjoinedRooms as unknown as JobDefinition, CLEAN_UNJOINED_EVERY_MS);
      await queues.repeat(cleanMedia as unknown as JobDefinition, config.media.retention.intervalMs);
      if (sendsMail) await repeatIf(queues, findDigests, config.email.digests.enabled, config.email.digests.intervalMs);
      if (sendsMail) await repeatIf(queues, findExpiring, config.accountValidity.enabled, EXPIRING_EVERY_MS);
      outboxRelay.start();
    },
    async idle() {
      // A job may add another one.
      for (let before = -1; before !== queues.done;) {
        before = queues.done;
        await outboxRelay.idle();
        await queues.idle();
      }
    },
    async drain() {
      await outboxRelay.close();
      await queues.close();
    },
  };
}

/** Schedules a recurring job, or removes its schedule. */
const repeatIf = (queues: JobQueues, job: object, isWanted: boolean, everyMs: number): Promise<void> =>
  isWanted ? queues.repeat(job as JobDefinition, everyMs) : queues.forget(job as JobDefinition);
