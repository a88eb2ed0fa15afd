import { accountDataEndpoints } from '#src/http/client-server/account-data.ts';
import { accountDeactivationEndpoints } from '#src/http/client-server/account_deactivation.ts';
import { adminEndpoints } from '#src/http/client-server/admin.ts';
import { administrativeContactEndpoints } from '#src/http/client-server/administrative_contact.ts';
import { appservicePingEndpoints } from '#src/http/client-server/appservice_ping.ts';
import { appserviceRoomDirectoryEndpoints } from '#src/http/client-server/appservice_room_directory.ts';
import { banningEndpoints } from '#src/http/client-server/banning.ts';
import { capabilitiesEndpoints } from '#src/http/client-server/capabilities.ts';
import { authedContentRepoEndpoints } from '#src/http/client-server/authed-content-repo.ts';
import { contentRepoEndpoints } from '#src/http/client-server/content-repo.ts';
import { createRoomEndpoints } from '#src/http/client-server/create_room.ts';
import { delayedEventsEndpoints } from '#src/http/client-server/delayed_events.ts';
import { deviceManagementEndpoints } from '#src/http/client-server/device_management.ts';
import { directoryEndpoints } from '#src/http/client-server/directory.ts';
import { eventContextEndpoints } from '#src/http/client-server/event_context.ts';
import { filterEndpoints } from '#src/http/client-server/filter.ts';
import { invitingEndpoints } from '#src/http/client-server/inviting.ts';
import { joiningEndpoints } from '#src/http/client-server/joining.ts';
import { kickingEndpoints } from '#src/http/client-server/kicking.ts';
import { knockingEndpoints } from '#src/http/client-server/knocking.ts';
import { leavingEndpoints } from '#src/http/client-server/leaving.ts';
import { listJoinedRoomsEndpoints } from '#src/http/client-server/list_joined_rooms.ts';
import { listPublicRoomsEndpoints } from '#src/http/client-server/list_public_rooms.ts';
import { loginEndpoints } from '#src/http/client-server/login.ts';
import { loginTokenEndpoints } from '#src/http/client-server/login_token.ts';
import { logoutEndpoints } from '#src/http/client-server/logout.ts';
import { messagePaginationEndpoints } from '#src/http/client-server/message_pagination.ts';
import { mutualRoomsEndpoints } from '#src/http/client-server/mutual_rooms.ts';
import { notificationsEndpoints } from '#src/http/client-server/notifications.ts';
import { oldSyncEndpoints } from '#src/http/client-server/old_sync.ts';
import { openidEndpoints } from '#src/http/client-server/openid.ts';
import { passwordManagementEndpoints } from '#src/http/client-server/password_management.ts';
import { passwordPolicyEndpoints } from '#src/http/client-server/password_policy.ts';
import { peekingEventsEndpoints } from '#src/http/client-server/peeking_events.ts';
import { policyServerEndpoints } from '#src/http/client-server/policy_server.ts';
import { presenceEndpoints } from '#src/http/client-server/presence.ts';
import { profileEndpoints } from '#src/http/client-server/profile.ts';
import { pusherEndpoints } from '#src/http/client-server/pusher.ts';
import { pushRulesEndpoints } from '#src/http/client-server/pushrules.ts';
import { readMarkersEndpoints } from '#src/http/client-server/read_markers.ts';
import { receiptsEndpoints } from '#src/http/client-server/receipts.ts';
import { redactionEndpoints } from '#src/http/client-server/redaction.ts';
import { refreshEndpoints } from '#src/http/client-server/refresh.ts';
import { registrationEndpoints } from '#src/http/client-server/registration.ts';
import { registrationTokenEndpoints } from '#src/http/client-server/registration_tokens.ts';
import { relationsEndpoints } from '#src/http/client-server/relations.ts';
import { reportContentEndpoints } from '#src/http/client-server/report_content.ts';
import { retentionConfigurationEndpoints } from '#src/http/client-server/retention_configuration.ts';
import { roomEventByTimestampEndpoints } from '#src/http/client-server/room_event_by_timestamp.ts';
import { roomInitialSyncEndpoints } from '#src/http/client-server/room_initial_sync.ts';
import { roomSendEndpoints } from '#src/http/client-server/room_send.ts';
import { roomStateEndpoints } from '#src/http/client-server/room_state.ts';
import { roomSummaryEndpoints } from '#src/http/client-server/room_summary.ts';
import { roomUpgradesEndpoints } from '#src/http/client-server/room_upgrades.ts';
import { roomsEndpoints } from '#src/http/client-server/rooms.ts';
import { rtcTransportEndpoints } from '#src/http/client-server/rtc_transports.ts';
import { searchEndpoints } from '#src/http/client-server/search.ts';
import { slidingSyncEndpoints } from '#src/http/client-server/sliding_sync.ts';
import { spaceHierarchyEndpoints } from '#src/http/client-server/space_hierarchy.ts';
import { syncEndpoints } from '#src/http/client-server/sync.ts';
import { tagsEndpoints } from '#src/http/client-server/tags.ts';
import { thirdPartyLookupEndpoints } from '#src/http/client-server/third_party_lookup.ts';
import { threadSubscriptionEndpoints } from '#src/http/client-server/thread_subscriptions.ts';
import { threadsListEndpoints } from '#src/http/client-server/threads_list.ts';
import { backfillEndpoints } from '#src/http/server-server/backfill.ts';
import { eventAuthEndpoints } from '#src/http/server-server/event_auth.ts';
import { federationEventsEndpoints } from '#src/http/server-server/events.ts';
import { stateResetsEndpoints } from '#src/http/tsudoi/state-resets.ts';
import { transactionsEndpoints } from '#src/http/server-server/transactions.ts';
import { typingEndpoints } from '#src/http/client-server/typing.ts';
import { usersEndpoints } from '#src/http/client-server/users.ts';
import { versionsEndpoints } from '#src/http/client-server/versions.ts';
import { voipEndpoints } from '#src/http/client-server/voip.ts';
import { wellKnownClientEndpoints } from '#src/http/client-server/wellknown.ts';
import { whoamiEndpoints } from '#src/http/client-server/whoami.ts';
import { identityKeyEndpoints } from '#src/http/identity/v2_pubkey.ts';
import { changePasswordEndpoints } from '#src/http/pages/change-password.ts';
import { loginPageEndpoints } from '#src/http/pages/login.ts';
import { renewAccountEndpoints } from '#src/http/pages/renew-account.ts';
import { stageFallbackEndpoints } from '#src/http/pages/stage-fallback.ts';
import { invitesV1Endpoints } from '#src/http/server-server/invites-v1.ts';
import { invitesV2Endpoints } from '#src/http/server-server/invites-v2.ts';
import { joinsV1Endpoints } from '#src/http/server-server/joins-v1.ts';
import { joinsV2Endpoints } from '#src/http/server-server/joins-v2.ts';
import { keysQueryEndpoints } from '#src/http/server-server/keys_query.ts';
import { keysServerEndpoints } from '#src/http/server-server/keys_server.ts';
import { knocksEndpoints } from '#src/http/server-server/knocks.ts';
import { leavingV1Endpoints } from '#src/http/server-server/leaving-v1.ts';
import { leavingV2Endpoints } from '#src/http/server-server/leaving-v2.ts';
import { federationOpenIdEndpoints } from '#src/http/server-server/openid.ts';
import { thirdPartyInviteEndpoints } from '#src/http/server-server/third_party_invite.ts';
import { federationUserDevicesEndpoints } from '#src/http/server-server/user_devices.ts';
import { federationVersionEndpoints } from '#src/http/server-server/version.ts';
import { federationContentRepositoryEndpoints } from '#src/http/server-server/content_repository.ts';
import { federationPublicRoomsEndpoints } from '#src/http/server-server/public_rooms.ts';
import { federationQueryEndpoints } from '#src/http/server-server/query.ts';
import { roomPolicyEndpoints } from '#src/http/server-server/room_policy.ts';
import { federationSpaceHierarchyEndpoints } from '#src/http/server-server/space_hierarchy.ts';
import { federationUserKeysEndpoints } from '#src/http/server-server/user_keys.ts';
import { eventAdminEndpoints } from '#src/http/synapse-admin/events.ts';
import { purgeHistoryEndpoints } from '#src/http/synapse-admin/purge_history.ts';
import { roomDeletionEndpoints } from '#src/http/synapse-admin/room_deletion.ts';
import { roomHistoryAdminEndpoints } from '#src/http/synapse-admin/room_history.ts';
import { roomMembershipAdminEndpoints } from '#src/http/synapse-admin/room_membership.ts';
import { roomAdminEndpoints } from '#src/http/synapse-admin/rooms.ts';
import { mediaAdminEndpoints } from '#src/http/synapse-admin/media.ts';
import { userRedactionAdminEndpoints } from '#src/http/synapse-admin/user_redactions.ts';
import { sharedSecretRegisterEndpoints } from '#src/http/synapse-admin/register.ts';
import { accountValidityAdminEndpoints } from '#src/http/synapse-admin/account_validity.ts';
import { experimentalFeaturesEndpoints } from '#src/http/synapse-admin/experimental_features.ts';
import { whoisAdminEndpoints } from '#src/http/synapse-admin/whois.ts';
import { deviceAdminEndpoints } from '#src/http/synapse-admin/devices.ts';
import { userModerationEndpoints } from '#src/http/synapse-admin/user_moderation.ts';
import { adminLoginEndpoints } from '#src/http/tsudoi/admin-logins.ts';
import { userDataAdminEndpoints } from '#src/http/synapse-admin/user_data.ts';
import { userLookupEndpoints } from '#src/http/synapse-admin/user_lookups.ts';
import { userAdminEndpoints } from '#src/http/synapse-admin/users.ts';
import { eventReportEndpoints } from '#src/http/synapse-admin/event_reports.ts';
import { federationAdminEndpoints } from '#src/http/synapse-admin/federation.ts';
import { serverNoticeEndpoints } from '#src/http/synapse-admin/server_notices.ts';
import { announcementEndpoints } from '#src/http/tsudoi/announcements.ts';
import { statisticsEndpoints } from '#src/http/synapse-admin/statistics.ts';
import { userReportEndpoints } from '#src/http/synapse-admin/user_reports.ts';
import { reportEndpoints } from '#src/http/tsudoi/reports.ts';
import { backgroundUpdateEndpoints } from '#src/http/synapse-admin/background_updates.ts';
import { scheduledTaskEndpoints } from '#src/http/synapse-admin/scheduled_tasks.ts';
import { serverVersionEndpoints } from '#src/http/synapse-admin/server_version.ts';
import { auditLogEndpoints } from '#src/http/tsudoi/audit-log.ts';
import { taskEndpoints } from '#src/http/tsudoi/tasks.ts';
import { appserviceAdminEndpoints } from '#src/http/tsudoi/appservices.ts';
import { userExportEndpoints } from '#src/http/tsudoi/user-exports.ts';
import { userErasureEndpoints } from '#src/http/tsudoi/user-erasure.ts';
import { healthEndpoints } from '#src/http/tsudoi/health.ts';
import { landingEndpoints } from '#src/http/tsudoi/landing.ts';
import { registrationTokenAdminEndpoints } from '#src/http/synapse-admin/registration_tokens.ts';
import { serverSummaryEndpoints } from '#src/http/tsudoi/server.ts';
import { logEndpoints } from '#src/http/tsudoi/logs.ts';
import { setupEndpoints } from '#src/http/tsudoi/setup.ts';
import { wellKnownServerEndpoints } from '#src/http/well-known/server.ts';
import { supportEndpoints } from '#src/http/well-known/support.ts';
import { crossSigningEndpoints } from '#src/http/client-server/cross_signing.ts';
import { dehydratedDeviceEndpoints } from '#src/http/client-server/dehydrated_device.ts';
import { keyBackupEndpoints } from '#src/http/client-server/key_backup.ts';
import { keysEndpoints } from '#src/http/client-server/keys.ts';
import { toDeviceEndpoints } from '#src/http/client-server/to_device.ts';
import { unsubscribeEndpoints } from '#src/http/pages/unsubscribe.ts';
import { confirmEmailEndpoints } from '#src/http/pages/confirm-email.ts';
import type { Endpoint } from '#src/http/endpoint.ts';

/** Every endpoint that is served: a new group of them is listed here. */
const DECLARED = [
  ...accountDataEndpoints,
  ...accountDeactivationEndpoints,
  ...accountValidityAdminEndpoints,
  ...adminEndpoints,
  ...auditLogEndpoints,
  ...taskEndpoints,
  ...backgroundUpdateEndpoints,
  ...scheduledTaskEndpoints,
  ...eventReportEndpoints,
  ...federationAdminEndpoints,
  ...statisticsEndpoints,
  ...serverNoticeEndpoints,
  ...announcementEndpoints,
  ...userReportEndpoints,
  ...reportEndpoints,
  ...serverVersionEndpoints,
  ...administrativeContactEndpoints,
  ...appserviceAdminEndpoints,
  ...appservicePingEndpoints,
  ...appserviceRoomDirectoryEndpoints,
  ...banningEndpoints,
  ...capabilitiesEndpoints,
  ...changePasswordEndpoints,
  ...createRoomEndpoints,
  ...contentRepoEndpoints,
  ...authedContentRepoEndpoints,
  ...toDeviceEndpoints,
  ...keysEndpoints,
  ...invitesV1Endpoints,
  ...invitesV2Endpoints,
  ...joinsV1Endpoints,
  ...joinsV2Endpoints,
  ...keysQueryEndpoints,
  ...keysServerEndpoints,
  ...knocksEndpoints,
  ...leavingV1Endpoints,
  ...leavingV2Endpoints,
  ...thirdPartyInviteEndpoints,
  ...keyBackupEndpoints,
  ...dehydratedDeviceEndpoints,
  ...crossSigningEndpoints,
  ...delayedEventsEndpoints,
  ...deviceManagementEndpoints,
  ...directoryEndpoints,
  ...confirmEmailEndpoints,
  ...unsubscribeEndpoints,
  ...eventAdminEndpoints,
  ...eventContextEndpoints,
  ...federationContentRepositoryEndpoints,
  ...federationOpenIdEndpoints,
  ...federationUserDevicesEndpoints,
  ...federationVersionEndpoints,
  ...federationPublicRoomsEndpoints,
  ...federationQueryEndpoints,
  ...federationSpaceHierarchyEndpoints,
  ...federationUserKeysEndpoints,
  ...roomPolicyEndpoints,
  ...filterEndpoints,
  ...healthEndpoints,
  ...identityKeyEndpoints,
  ...invitingEndpoints,
  ...joiningEndpoints,
  ...kickingEndpoints,
  ...knockingEndpoints,
  ...landingEndpoints,
  ...leavingEndpoints,
  ...listJoinedRoomsEndpoints,
  ...listPublicRoomsEndpoints,
  ...logEndpoints,
  ...loginEndpoints,
  ...loginPageEndpoints,
  ...loginTokenEndpoints,
  ...logoutEndpoints,
  ...mediaAdminEndpoints,
  ...messagePaginationEndpoints,
  ...mutualRoomsEndpoints,
  ...notificationsEndpoints,
  ...oldSyncEndpoints,
  ...openidEndpoints,
  ...passwordManagementEndpoints,
  ...passwordPolicyEndpoints,
  ...peekingEventsEndpoints,
  ...policyServerEndpoints,
  ...presenceEndpoints,
  ...profileEndpoints,
  ...purgeHistoryEndpoints,
  ...pushRulesEndpoints,
  ...pusherEndpoints,
  ...readMarkersEndpoints,
  ...receiptsEndpoints,
  ...redactionEndpoints,
  ...refreshEndpoints,
  ...registrationEndpoints,
  ...renewAccountEndpoints,
  ...registrationTokenAdminEndpoints,
  ...registrationTokenEndpoints,
  ...relationsEndpoints,
  ...reportContentEndpoints,
  ...retentionConfigurationEndpoints,
  ...roomAdminEndpoints,
  ...roomEventByTimestampEndpoints,
  ...roomDeletionEndpoints,
  ...userRedactionAdminEndpoints,
  ...roomHistoryAdminEndpoints,
  ...roomMembershipAdminEndpoints,
  ...roomInitialSyncEndpoints,
  ...roomSendEndpoints,
  ...roomStateEndpoints,
  ...roomSummaryEndpoints,
  ...roomUpgradesEndpoints,
  ...roomsEndpoints,
  ...rtcTransportEndpoints,
  ...searchEndpoints,
  ...serverSummaryEndpoints,
  ...setupEndpoints,
  ...sharedSecretRegisterEndpoints,
  ...slidingSyncEndpoints,
  ...spaceHierarchyEndpoints,
  ...stageFallbackEndpoints,
  ...supportEndpoints,
  ...syncEndpoints,
  ...tagsEndpoints,
  ...thirdPartyLookupEndpoints,
  ...threadsListEndpoints,
  ...threadSubscriptionEndpoints,
  ...backfillEndpoints,
  ...eventAuthEndpoints,
  ...federationEventsEndpoints,
  ...stateResetsEndpoints,
  ...transactionsEndpoints,
  ...typingEndpoints,
  ...userExportEndpoints,
  ...userErasureEndpoints,
  ...adminLoginEndpoints,
  ...deviceAdminEndpoints,
  ...experimentalFeaturesEndpoints,
  ...whoisAdminEndpoints,
  ...userAdminEndpoints,
  ...userModerationEndpoints,
  ...userDataAdminEndpoints,
  ...userLookupEndpoints,
  ...usersEndpoints,
  ...versionsEndpoints,
  ...voipEndpoints,
  ...wellKnownClientEndpoints,
  ...wellKnownServerEndpoints,
  ...whoamiEndpoints,
];

type ServicesOf<Declared> = Declared extends Endpoint<infer Services> ? (services: Services) => void : never;

/** The services that the endpoints call, by name. */
export type EndpointServices =
  ServicesOf<(typeof DECLARED)[number]> extends (services: infer All) => void ? All : never;

/** Every endpoint that is served. */
export const ENDPOINTS: readonly Endpoint<EndpointServices>[] = DECLARED;
