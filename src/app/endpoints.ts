import { accountDataEndpoints } from '#src/http/client-server/account-data.ts';
import { accountDeactivationEndpoints } from '#src/http/client-server/account_deactivation.ts';
import { adminEndpoints } from '#src/http/client-server/admin.ts';
import { administrativeContactEndpoints } from '#src/http/client-server/administrative_contact.ts';
import { loginTokenEndpoints } from '#src/http/client-server/login_token.ts';
import { openidEndpoints } from '#src/http/client-server/openid.ts';
import { pusherEndpoints } from '#src/http/client-server/pusher.ts';
import { thirdPartyLookupEndpoints } from '#src/http/client-server/third_party_lookup.ts';
import { voipEndpoints } from '#src/http/client-server/voip.ts';
import { peekingEventsEndpoints } from '#src/http/client-server/peeking_events.ts';
import { roomInitialSyncEndpoints } from '#src/http/client-server/room_initial_sync.ts';
import { oldSyncEndpoints } from '#src/http/client-server/old_sync.ts';
import { notificationsEndpoints } from '#src/http/client-server/notifications.ts';
import { capabilitiesEndpoints } from '#src/http/client-server/capabilities.ts';
import { delayedEventsEndpoints } from '#src/http/client-server/delayed_events.ts';
import { deviceManagementEndpoints } from '#src/http/client-server/device_management.ts';
import { filterEndpoints } from '#src/http/client-server/filter.ts';
import { loginEndpoints } from '#src/http/client-server/login.ts';
import { logoutEndpoints } from '#src/http/client-server/logout.ts';
import { passwordManagementEndpoints } from '#src/http/client-server/password_management.ts';
import { presenceEndpoints } from '#src/http/client-server/presence.ts';
import { profileEndpoints } from '#src/http/client-server/profile.ts';
import { pushRulesEndpoints } from '#src/http/client-server/pushrules.ts';
import { readMarkersEndpoints } from '#src/http/client-server/read_markers.ts';
import { receiptsEndpoints } from '#src/http/client-server/receipts.ts';
import { refreshEndpoints } from '#src/http/client-server/refresh.ts';
import { registrationEndpoints } from '#src/http/client-server/registration.ts';
import { registrationTokenEndpoints } from '#src/http/client-server/registration_tokens.ts';
import { reportContentEndpoints } from '#src/http/client-server/report_content.ts';
import { retentionConfigurationEndpoints } from '#src/http/client-server/retention_configuration.ts';
import { roomEndpoints } from '#src/http/client-server/room-endpoints.ts';
import { roomUpgradesEndpoints } from '#src/http/client-server/room_upgrades.ts';
import { searchEndpoints } from '#src/http/client-server/search.ts';
import { syncEndpoints } from '#src/http/client-server/sync.ts';
import { tagsEndpoints } from '#src/http/client-server/tags.ts';
import { typingEndpoints } from '#src/http/client-server/typing.ts';
import { usersEndpoints } from '#src/http/client-server/users.ts';
import { versionsEndpoints } from '#src/http/client-server/versions.ts';
import { wellKnownClientEndpoints } from '#src/http/client-server/wellknown.ts';
import { whoamiEndpoints } from '#src/http/client-server/whoami.ts';
import type { Endpoint } from '#src/http/endpoint.ts';
import { healthEndpoints } from '#src/http/health.ts';
import { identityKeyEndpoints } from '#src/http/identity/v2_pubkey.ts';
import { landingEndpoints } from '#src/http/landing.ts';
import { setupEndpoints } from '#src/http/setup.ts';
import { sharedSecretRegisterEndpoints } from '#src/http/synapse-admin/register.ts';
import { threepidEndpoints } from '#src/http/threepids.ts';
import { wellKnownServerEndpoints } from '#src/http/well-known/server.ts';
import { supportEndpoints } from '#src/http/well-known/support.ts';

/** Every group of endpoints that is served. */
const GROUPS = [
  notificationsEndpoints,
  oldSyncEndpoints,
  roomInitialSyncEndpoints,
  peekingEventsEndpoints,
  voipEndpoints,
  thirdPartyLookupEndpoints,
  pusherEndpoints,
  openidEndpoints,
  loginTokenEndpoints,
  administrativeContactEndpoints,
  adminEndpoints,
  accountDataEndpoints,
  accountDeactivationEndpoints,
  capabilitiesEndpoints,
  delayedEventsEndpoints,
  deviceManagementEndpoints,
  filterEndpoints,
  healthEndpoints,
  identityKeyEndpoints,
  landingEndpoints,
  loginEndpoints,
  logoutEndpoints,
  passwordManagementEndpoints,
  presenceEndpoints,
  profileEndpoints,
  pushRulesEndpoints,
  readMarkersEndpoints,
  receiptsEndpoints,
  refreshEndpoints,
  retentionConfigurationEndpoints,
  registrationEndpoints,
  registrationTokenEndpoints,
  reportContentEndpoints,
  roomEndpoints,
  roomUpgradesEndpoints,
  searchEndpoints,
  setupEndpoints,
  sharedSecretRegisterEndpoints,
  supportEndpoints,
  syncEndpoints,
  tagsEndpoints,
  threepidEndpoints,
  typingEndpoints,
  usersEndpoints,
  versionsEndpoints,
  wellKnownClientEndpoints,
  wellKnownServerEndpoints,
  whoamiEndpoints,
] as const;

type Intersection<Union> = (Union extends unknown ? (part: Union) => void : never) extends (all: infer All) => void
  ? All
  : never;

/** What the groups together call. */
export type EndpointServices = Intersection<NonNullable<Parameters<(typeof GROUPS)[number]>[0]>>;

/** Every endpoint, bound to services. */
export const declareEndpoints = (services: EndpointServices): readonly Endpoint[] =>
  GROUPS.flatMap((group): readonly Endpoint[] => group(services));

/** Stands for any service: endpoints can be declared with it, but not called. */
const nobody: object = new Proxy(() => undefined, { get: () => nobody });

/** Every endpoint as it is declared, for whoever documents them. None can be called. */
export const declaredEndpoints = (): readonly Endpoint[] => declareEndpoints(nobody as EndpointServices);
