/** A time as it stands in the headers of mails: `Sun, 29 Nov 2026 19:17:00 +0000`. RFC 5322, 3.3. */
export const internetDate = (ts: number): string => new Date(ts).toUTCString().replace('GMT', '+0000');
