import { readFile } from 'node:fs/promises';
import { getCACertificates } from 'node:tls';
import { AddressGuard } from '#src/remote/address-guard.ts';
import { OutboundHttp } from '#src/remote/outbound-http.ts';
import type { Platform } from './platform.ts';

/** What makes requests of our own. @throws when a file of federation.trusted_ca_files cannot be read */
export async function composeOutbound(
  { config, timers }: Pick<Platform, 'config' | 'timers'>,
  softwareVersion: string,
): Promise<OutboundHttp> {
  const { denyIpRanges, allowIpRanges, trustedCaFiles } = config.federation;
  const extra = await Promise.all(
    trustedCaFiles.map((path) =>
      readFile(path, 'utf8').catch((error: unknown) => {
        throw new Error(`${path} of federation.trusted_ca_files cannot be read`, { cause: error });
      }),
    ),
  );
  return new OutboundHttp({
    guard: new AddressGuard({ deny: denyIpRanges, allow: allowIpRanges }),
    timers,
    userAgent: `Tsudoi/${softwareVersion}`,
    certificateAuthorities: extra.length === 0 ? undefined : [...getCACertificates('default'), ...extra],
  });
}
