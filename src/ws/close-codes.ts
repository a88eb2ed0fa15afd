/** Why a socket was closed, what it means and what a client does about it: the table in docs and spec is made from this one. */
export interface CloseReason {
  /** RFC 6455, 7.4: 1000-2999 are the protocol's own, 4000-4999 are for applications. */
  readonly code: number;
  /** Text of the close frame. */
  readonly reason: string;
  readonly meaning: string;
  readonly advice: string;
}

export const CLOSE_REASONS = {
  drain: {
    code: 1001,
    reason: 'restarting',
    meaning: 'The server is stopping or restarting.',
    advice: 'Connect again with the last next_batch, after a random pause of some seconds.',
  },
  binary: {
    code: 1003,
    reason: 'binary_frame',
    meaning: 'A binary frame was sent: frames are text.',
    advice: 'This is a mistake of the client: do not repeat it.',
  },
  notUtf8: {
    code: 1007,
    reason: 'not_utf8',
    meaning: 'A text frame was not valid UTF-8.',
    advice: 'This is a mistake of the client: do not repeat it.',
  },
  tooLarge: {
    code: 1009,
    reason: 'M_TOO_LARGE',
    meaning: 'A frame was larger than 128 KiB, or than 16 KiB before authentication had begun.',
    advice: 'This is a mistake of the client: do not repeat it.',
  },
  internal: {
    code: 1011,
    reason: 'M_UNKNOWN',
    meaning: 'The server failed unexpectedly; its log has the details.',
    advice: 'Connect again with the last next_batch, waiting longer after each failure.',
  },
  protocolError: {
    code: 4000,
    reason: 'M_BAD_JSON',
    meaning:
      'A frame was not a JSON object with an id (a string or an integer), or requests came before authentication had ended in too great a number.',
    advice: 'This is a mistake of the client: do not repeat it.',
  },
  badAuth: {
    code: 4001,
    reason: 'M_MISSING_TOKEN',
    meaning: 'No good access token came in the first frame, or none in time.',
    advice: 'Log in, or correct the since and filter that came along: the error frame before says what was wrong.',
  },
  tokenRevoked: {
    code: 4002,
    reason: 'M_UNKNOWN_TOKEN',
    meaning:
      'The session of the access token has ended: logged out, device deleted, password changed, account deactivated.',
    advice: 'Log in again; what is stored for the session is of no use any more.',
  },
  tokenExpired: {
    code: 4003,
    reason: 'M_UNKNOWN_TOKEN soft_logout',
    meaning: 'The access token has expired (soft logout).',
    advice: 'Refresh it and connect again with the last next_batch; or send auth with a new token before it expires.',
  },
  accountLocked: {
    code: 4004,
    reason: 'M_USER_LOCKED',
    meaning: 'The account has been locked by an administrator.',
    advice: 'Keep what is stored, and try again rarely: the account may be unlocked (M_USER_LOCKED).',
  },
  rateLimited: {
    code: 4005,
    reason: 'M_LIMIT_EXCEEDED',
    meaning:
      'The client went on sending although M_LIMIT_EXCEEDED told it to wait, or sent many requests that could not be understood.',
    advice: 'Connect again after a minute, and respect retry_after_ms.',
  },
  accountExpired: {
    code: 4006,
    reason: 'ORG_MATRIX_EXPIRED_ACCOUNT',
    meaning: 'The account has expired, and was not renewed.',
    advice: 'Keep what is stored, tell the user to renew the account, and try again rarely.',
  },
} as const satisfies Record<string, CloseReason>;

export type CloseName = keyof typeof CLOSE_REASONS;
