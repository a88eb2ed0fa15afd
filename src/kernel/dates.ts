export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** A time as it stands in the headers of mails: `Sun, 29 Nov 2026 19:17:00 +0000`. RFC 5322, 3.3. */
export const internetDate = (ts: number): string => new Date(ts).toUTCString().replace('GMT', '+0000');

/** A time as logs and lists show it: `2026-11-29T19:17:00.000Z`. RFC 3339. */
export const isoDate = (ts: number): string => new Date(ts).toISOString();

/** Milliseconds since the epoch of a date in a header of HTTP; undefined for what is none. RFC 9110, 5.6.7. */
export const timeOfHttpDate = (text: string): number | undefined => {
  const time = /^[A-Za-z]+,? /.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
};
