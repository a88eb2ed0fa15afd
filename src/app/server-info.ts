import { BlockList, isIP } from 'node:net';
import { ROOM_VERSIONS } from '#src/protocol/room-versions/room-versions.ts';
import { retentionConfiguration } from '#src/services/retention/retention-policy.ts';
import { advertisedCapabilities, advertisedVersions } from '#src/services/server-info/advertised.ts';
import { ENCRYPTED_PRESETS } from './config/encrypted-presets.ts';
import type { EndpointServices } from './endpoints.ts';
import type { Health } from './ground/health.ts';
import type { Platform } from './ground/platform.ts';
import type { ServerFiles } from './ground/server-files.ts';
import type { Media } from './slices/media.ts';
import type { Outbound } from './slices/outbound.ts';
import type { Privacy } from './slices/privacy.ts';

/** MSC4143: for clients that do not know the endpoint. */
const RTC_FOCI = 'org.matrix.msc4143.rtc_foci';

/** What the server publishes about itself: well-known documents, versions, capabilities. */
export type ServerInfo = Pick<
  EndpointServices,
  | 'capabilities'
  | 'changePasswordPage'
  | 'degradedParts'
  | 'isReady'
  | 'mayReadMetrics'
  | 'metrics'
  | 'publicBaseUrl'
  | 'retentionConfiguration'
  | 'rtcTransports'
  | 'serverName'
  | 'softwareVersion'
  | 'support'
  | 'versions'
  | 'wellKnownClient'
  | 'wellKnownPolicyServer'
  | 'wellKnownServer'
>;

export function serverInfo(
  below: Platform & ServerFiles & Outbound & Pick<Media, 'contents'> & Pick<Privacy, 'exportFiles'>,
  drainSignal: AbortSignal,
  health: Health,
): ServerInfo {
  const { config, contents, exportFiles, metrics, publicAddress, version } = below;
  const { enabled, allowIpRanges } = config.metrics;
  return {
    serverName: config.serverName,
    softwareVersion: version,
    publicBaseUrl: () => publicAddress.url,
    versions: () =>
      advertisedVersions({
        encryptedEvents: config.push.encryptedEvents,
        encryptedPresets: ENCRYPTED_PRESETS[config.room.encryptionByDefault],
      }),
    retentionConfiguration: () => retentionConfiguration(config.retention.enabled ? config.retention : undefined),
    capabilities: ({ isAdmin }) =>
      advertisedCapabilities({
        canModerateAccounts: isAdmin,
        delayedEvents: config.delayedEvents,
        defaultRoomVersion: config.room.defaultVersion,
        stableRoomVersions: [...ROOM_VERSIONS.keys()],
        canChangePassword: true,
        canChangeThreepids: config.email.smtpUrl !== null,
        makesPreviews: config.previews.enabled,
      }),
    changePasswordPage: () => config.wellKnown.changePassword ?? undefined,
    rtcTransports: () => config.rtc.transports,
    wellKnownClient: () => ({
      ...(config.rtc.transports.length === 0 ? {} : { [RTC_FOCI]: config.rtc.transports }),
      ...config.wellKnown.client,
    }),
    wellKnownServer: () => {
      const { server, serverKeys } = config.wellKnown;
      return config.federation.enabled && server !== null ? { ...serverKeys, 'm.server': server } : undefined;
    },
    wellKnownPolicyServer: () => {
      const { policyServerKey, policyServerKeys } = config.wellKnown;
      return policyServerKey === null ? undefined : { ...policyServerKeys, public_keys: { ed25519: policyServerKey } };
    },
    support: () => {
      const { supportContacts, supportKeys, supportPage } = config.wellKnown;
      if (supportContacts.length === 0 && supportPage === null) return undefined;
      return { contacts: supportContacts, more: supportKeys, ...(supportPage === null ? {} : { supportPage }) };
    },
    isReady: async () => !drainSignal.aborted && (await health.isReady()),
    degradedParts: () => [
      ...(contents.condition.failure() === undefined ? [] : ['media']),
      ...(exportFiles.condition.failure() === undefined ? [] : ['exports']),
    ],
    metrics: oncePerTurn(() => metrics.render()),
    mayReadMetrics: addressFilter(enabled ? allowIpRanges : []),
  };
}

/** Shares one computation between all calls until the end of the turn of the event loop in which it finishes. */
function oncePerTurn<T>(make: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | undefined;
  return () =>
    (running ??= make().finally(() => {
      setImmediate(() => (running = undefined));
    }));
}

function addressFilter(ranges: readonly string[]): (ip: string) => boolean {
  const list = new BlockList();
  for (const range of ranges) {
    const [network = '', prefix] = range.split('/');
    const family = isIP(network) === 6 ? 'ipv6' : 'ipv4';
    if (prefix === undefined) list.addAddress(network, family);
    else list.addSubnet(network, Number(prefix), family);
  }
  return (ip) => isIP(ip) !== 0 && list.check(ip, isIP(ip) === 6 ? 'ipv6' : 'ipv4');
}
