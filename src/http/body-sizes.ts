/**
 * Bytes that bodies may have, for `maxBodyBytes`. An endpoint takes the smallest into which everything fits that it can use; what takes lists
 * or account data of any length has no bound of its own: `http.max_body_bytes`.
 */
export const BODY_BYTES = {
  /** Ids, numbers, flags, and texts of up to about 2,000 characters; a step of a user-interactive authentication. */
  small: 16 * 1024,
  /** One record with texts or lists of its own: a push rule, a pusher, a reason, an account. */
  record: 64 * 1024,
  /**
   * What may have 64 KiB where it is stored: the content of an event, a field of a profile, keys. Escaped (`\u00e9`), it is up to three times
   * as long.
   */
  content: 256 * 1024,
} as const;
