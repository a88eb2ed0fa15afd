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

/** The month of a time in UTC, as `2026-01`: days counted from the 1st of March of the year 0 have the leap day at the end. */
export const monthOf = (ts: number): string => {
  const days = Math.floor(ts / DAY_MS) + 719_468;
  const era = Math.floor(days / 146_097);
  const dayOfEra = days - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1_460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const marchMonth = Math.floor((5 * dayOfYear + 2) / 153);
  const month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  return `${String(year).padStart(4, '0')}-${String(month).padStart(2, '0')}`;
};
