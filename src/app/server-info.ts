import { BlockList, isIP } from 'node:net';
import { ROOM_VERSIONS } from '#src/protocol/room-versions/room-versions.ts';
import { retentionConfiguration } from '#src/services/retention/retention-policy.ts';
import { advertisedCapabilities, advertisedVersions } from '#src/services/server-info/advertised.ts';
import type { EndpointServices } from './endpoints.ts';
import type { Health } from './ground/health.ts';
import type { Platform } from './ground/platform.ts';
import type { ServerFiles } from './ground/server-files.ts';
import type { Outside } from './slices/outside.ts';

/** What the server says of itself. */
export type ServerInfo = Pick<
  EndpointServices,
  | 'capabilities'
  | 'federationAddress'
  | 'isReady'
  | 'mayReadMetrics'
  | 'metrics'
  | 'publicBaseUrl'
  | 'retentionConfiguration'
  | 'serverName'
  | 'softwareVersion'
  | 'support'
  | 'versions'
>;

export function serverInfo(
  below: Platform & ServerFiles & Outside,
  drainSignal: AbortSignal,
  health: Health,
): ServerInfo {
  const { config, metrics, publicAddress, version } = below;
  const { enabled, allowIpRanges } = config.metrics;
  return {
    serverName: config.serverName,
    softwareVersion: version,
    publicBaseUrl: () => publicAddress.url,
    versions: advertisedVersions,
    retentionConfiguration: () => retentionConfiguration(config.retention.enabled ? config.retention : undefined),
    capabilities: ({ isAdmin }) =>
      advertisedCapabilities({
        canModerateAccounts: isAdmin,
        delayedEvents: config.delayedEvents,
        defaultRoomVersion: config.room.defaultVersion,
        stableRoomVersions: [...ROOM_VERSIONS.keys()],
        canChangePassword: true,
      }),
    federationAddress: () => (config.federation.enabled ? (config.wellKnown.server ?? undefined) : undefined),
    support: () => {
      const { supportContacts, supportPage } = config.wellKnown;
      if (supportContacts.length === 0 && supportPage === null) return undefined;
      return { contacts: supportContacts, ...(supportPage === null ? {} : { supportPage }) };
    },
    isReady: async () => !drainSignal.aborted && (await health.isReady()),
    metrics: () => metrics.render(),
    mayReadMetrics: addressFilter(enabled ? allowIpRanges : []),
  };
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
