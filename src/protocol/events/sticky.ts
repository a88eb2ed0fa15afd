import { isJsonObject, type JsonObject } from '#src/protocol/json/json-value.ts';

/** The member of an event that makes it sticky, under its unstable name. MSC4354, "Unstable Prefix". */
export const STICKY = 'msc4354_sticky';

/** In `unsigned`: for how many more milliseconds the event is sticky. */
export const STICKY_TTL = 'msc4354_sticky_duration_ttl_ms';

/** The longest time for which an event sticks, in milliseconds: one hour. */
export const MAX_STICKY_MS = 3_600_000;

/**
 * For how many milliseconds an event wants to stick; undefined for an event that is not sticky, or says it in a way that does not count.
 * More than an hour is an hour. MSC4354: `min(sticky_duration_ms, 3600000)`.
 */
export function stickyDurationOf(event: JsonObject): number | undefined {
  const sticky = event[STICKY];
  if (!isJsonObject(sticky)) return undefined;
  const { duration_ms: duration } = sticky;
  if (typeof duration !== 'number' || !Number.isSafeInteger(duration) || duration < 0) return undefined;
  return Math.min(duration, MAX_STICKY_MS);
}

/**
 * When an event stops being sticky, in milliseconds since the epoch. "The start time is min(received_ts, origin_server_ts)": nobody makes
 * an event stick longer by a date in the future. MSC4354.
 *
 * @param received when it came to this server
 */
export function stickyUntil(
  event: JsonObject & { readonly origin_server_ts: number },
  received: number,
): number | undefined {
  const duration = stickyDurationOf(event);
  return duration === undefined ? undefined : Math.min(received, event.origin_server_ts) + duration;
}
