import type { Argon2 } from '#src/services/accounts/credentials/password-hasher.ts';
import type { AnyTaskKind } from '#src/services/admin/tasks/task.ts';
import type { Platform } from './ground/platform.ts';
import type { ServerFiles } from './ground/server-files.ts';
import { Composition } from './ground/slice.ts';
import { composeAccounts } from './slices/accounts.ts';
import { composeAppservices } from './slices/appservices.ts';
import { composeAppserviceRegistry } from './slices/appservice-registry.ts';
import { composeClassification } from './slices/classification.ts';
import { composeAdminTasks } from './slices/admin-tasks.ts';
import { composeAdministration } from './slices/administration.ts';
import { composeAudit } from './slices/audit.ts';
import { composeBackgroundUpdates } from './slices/background-updates.ts';
import { composeClosedRooms } from './slices/closed-rooms.ts';
import { composeCommit } from './slices/commit.ts';
import { composeDeactivation } from './slices/deactivation.ts';
import { composeDelayedEvents } from './slices/delayed-events.ts';
import { composeEdge } from './edge.ts';
import { composeEncryption } from './slices/e2ee.ts';
import { composeEphemeral } from './slices/ephemeral.ts';
import { composeEventStream } from './slices/event-stream.ts';
import { composeEvents } from './slices/events.ts';
import { composeAnswers } from './slices/federation-answers.ts';
import { composeQueries } from './slices/federation-queries.ts';
import { composeFederationHistory } from './slices/federation-history.ts';
import { composeFederationInbound } from './slices/federation-inbound.ts';
import { composeFederationJoins } from './slices/federation-joins.ts';
import { composeFederationOutbound } from './slices/federation-outbound.ts';
import { composeFederationOutbox } from './slices/federation-outbox.ts';
import { composeJobs, FOLLOW_UPS } from './slices/jobs.ts';
import { composeListeners } from './slices/listeners.ts';
import { composeMail } from './slices/mail.ts';
import { composeMeasures } from './slices/measures.ts';
import { composeMediaAdministration } from './slices/media-administration.ts';
import { composeMedia } from './slices/media.ts';
import { composeMembership } from './slices/membership.ts';
import { composeOutbound } from './slices/outbound.ts';
import { composePolicy } from './slices/policy.ts';
import { composePolls } from './slices/polls.ts';
import { composePeeking } from './slices/peeking.ts';
import { composePreviews } from './slices/previews.ts';
import { composePrivacy } from './slices/privacy.ts';
import { composePush } from './slices/push.ts';
import { composePushDelivery } from './slices/push-delivery.ts';
import { composePushRules } from './slices/push-rules.ts';
import { composeReading } from './slices/reading.ts';
import { composeRetention } from './slices/retention.ts';
import { composeRoomModel } from './slices/room-model.ts';
import { composeRoomAdministration } from './slices/room-administration.ts';
import { composeRooms } from './slices/rooms.ts';
import { composeServers } from './slices/servers.ts';
import { composeSearch } from './slices/search.ts';
import { composeSlidingSync } from './slices/sliding-sync.ts';
import { composeSync, type MoreSections } from './slices/sync.ts';
import { composeTaskRunner } from './slices/task-runner.ts';
import { composeThirdPartyInvites } from './slices/third-party-invites.ts';
import { composeUserDirectory } from './slices/user-directory.ts';
import { composeUserData } from './slices/user-data.ts';
import { composeUserAdministration } from './slices/user-administration.ts';
import { composeUsers } from './slices/users.ts';
import { composeWatching } from './slices/watching.ts';

/** What all slices are composed on. */
export type Ground = Platform &
  ServerFiles & {
    readonly moreSections?: MoreSections | undefined;
    readonly argon2?: Argon2 | undefined;
    readonly jobLockMs?: number | undefined;
    readonly moreTaskKinds?: readonly AnyTaskKind[] | undefined;
  };

/** The server's services, from the lowest area up. */
export const composeServices = (ground: Ground) =>
  new Composition(ground)
    .add(composeWatching)
    .add(composeOutbound)
    .add(composeListeners)
    .add(composeAudit)
    .add(composeAdminTasks)
    .add(composeServers)
    .add(composeQueries)
    .add(composeCommit)
    .add(composeAppserviceRegistry)
    .add(composeUsers)
    .add(composePolicy)
    .add(composeAccounts)
    .add(composePushRules)
    .add(composeUserData)
    .add(composeRoomModel)
    .add(composeClassification)
    .add(composeEventStream)
    .add((below) => composeEvents(below, FOLLOW_UPS))
    .add(composeFederationHistory)
    .add(composeReading)
    .add(composeSearch)
    .add(composeUserDirectory)
    .add(composeClosedRooms)
    .add(composeFederationJoins)
    .add(composeMembership)
    .add(composeThirdPartyInvites)
    .add(composeRooms)
    .add(composeDelayedEvents)
    .add(composeRetention)
    .add(composeFederationOutbox)
    .add(composeEncryption)
    .add(composeMedia)
    .add(composeAnswers)
    .add(composePreviews)
    .add(composePush)
    .add(composePushDelivery)
    .add(composeMail)
    .add(composeEphemeral)
    .add(composeFederationOutbound)
    .add(composeAppservices)
    .add(composeDeactivation)
    .add(composeUserAdministration)
    .add(composeMediaAdministration)
    .add(composePrivacy)
    .add(composeSync)
    .add(composePeeking)
    .add(composeSlidingSync)
    .add(composePolls)
    .add(composeFederationInbound)
    .add(composeRoomAdministration)
    .add(composeAdministration)
    .add(composeTaskRunner);

/** The services and their callers: jobs, and requests from outside. */
export const composeServer = (ground: Ground) =>
  composeServices(ground).add(composeJobs).add(composeBackgroundUpdates).add(composeMeasures).add(composeEdge);

/** Everything that is composed, by name. */
export type ServerServices = ReturnType<typeof composeServer>['services'];
