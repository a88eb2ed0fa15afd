import { AddressGuard } from '#src/remote/address-guard.ts';
import { PageFetcher } from '#src/services/media/previews/page-fetcher.ts';
import { PreviewImages } from '#src/services/media/previews/preview-images.ts';
import { RobotsRules } from '#src/services/media/previews/robots-rules.ts';
import { UrlPreviews } from '#src/services/media/previews/url-previews.ts';
import { UrlRules } from '#src/services/media/previews/url-rules.ts';
import type { Platform } from '../ground/platform.ts';
import type { ServerFiles } from '../ground/server-files.ts';
import type { Slice } from '../ground/slice.ts';
import type { Media } from './media.ts';
import type { Outbound } from './outbound.ts';

/** URL previews. */
export interface Previews {
  readonly urlPreviews: UrlPreviews;
}

export function composePreviews(below: Platform & ServerFiles & Outbound & Media): Slice<Previews> {
  const { clock, config, contents, imageScaler: scaler, logger, metrics, random, rateLimiter, version } = below;
  const {
    acceptLanguage,
    allow,
    deny,
    enabled,
    lifetimeMs,
    maxImageBytes,
    maxRedirects,
    respectRobots,
    timeoutMs,
    ...limits
  } = config.previews;
  // Addresses that operators allow for their services are not allowed for links of users.
  const guard = new AddressGuard({ deny: config.federation.denyIpRanges, allow: config.previews.allowIpRanges });
  const outbound = below.outbound.guardedBy(guard);
  const userAgent = config.previews.userAgent ?? `Tsudoi/${version} (preview bot)`;
  const rules = new UrlRules({ allow, deny });
  const robots = respectRobots
    ? new RobotsRules({ outbound, rules, clock, userAgent: 'Tsudoi', timeoutMs, lifetimeMs })
    : undefined;
  const fetcher = new PageFetcher({ outbound, rules, robots, userAgent, acceptLanguage, maxRedirects, timeoutMs });
  const { serverName } = config;
  const images = new PreviewImages({
    fetcher,
    contents,
    scaler,
    clock,
    random,
    rateLimiter,
    serverName,
    maxBytes: maxImageBytes,
  });
  const urlPreviews = new UrlPreviews({
    ...limits,
    isEnabled: enabled,
    rules,
    fetcher,
    images,
    clock,
    logger,
    maxImageBytes,
    lifetimeMs,
  });
  metrics.gaugeOf('tsudoi_url_previews_waiting', 'URL previews that wait for a slot', () => urlPreviews.waiting);
  return { name: 'previews', services: { urlPreviews } };
}
