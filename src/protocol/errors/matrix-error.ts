/**
 * The one error class that reaches clients, and the one table that says which HTTP status goes with which errcode.
 * Client-Server API, "Standard error response".
 */

/** errcode -> HTTP status. An errcode that is not in this table cannot be thrown. */
export const ERRCODE_STATUS = {
  M_FORBIDDEN: 403,
  M_UNKNOWN_TOKEN: 401,
  M_MISSING_TOKEN: 401,
  M_USER_LOCKED: 401,
  M_USER_SUSPENDED: 403,
  M_BAD_JSON: 400,
  M_NOT_JSON: 400,
  M_NOT_FOUND: 404,
  M_LIMIT_EXCEEDED: 429,
  M_UNRECOGNIZED: 404,
  M_UNKNOWN: 400,
  M_UNAUTHORIZED: 401,
  M_USER_DEACTIVATED: 403,
  M_USER_IN_USE: 400,
  M_INVALID_USERNAME: 400,
  M_ROOM_IN_USE: 400,
  M_INVALID_ROOM_STATE: 400,
  M_THREEPID_IN_USE: 400,
  M_THREEPID_NOT_FOUND: 400,
  M_THREEPID_AUTH_FAILED: 403,
  M_THREEPID_DENIED: 403,
  M_THREEPID_MEDIUM_NOT_SUPPORTED: 400,
  M_TOKEN_INCORRECT: 400,
  M_SESSION_EXPIRED: 400,
  M_SERVER_NOT_TRUSTED: 400,
  M_UNSUPPORTED_ROOM_VERSION: 400,
  M_INCOMPATIBLE_ROOM_VERSION: 400,
  M_BAD_STATE: 403,
  M_GUEST_ACCESS_FORBIDDEN: 403,
  M_CAPTCHA_NEEDED: 400,
  M_CAPTCHA_INVALID: 400,
  M_MISSING_PARAM: 400,
  M_INVALID_PARAM: 400,
  M_TOO_LARGE: 413,
  M_EXCLUSIVE: 400,
  M_RESOURCE_LIMIT_EXCEEDED: 403,
  M_CANNOT_LEAVE_SERVER_NOTICE_ROOM: 403,
  M_BAD_ALIAS: 400,
  M_UNKNOWN_POS: 400,
  M_UNKNOWN_DEVICE: 400,
  M_WEAK_PASSWORD: 400,
  M_DUPLICATE_ANNOTATION: 400,
  M_UNABLE_TO_AUTHORISE_JOIN: 400,
  M_UNABLE_TO_GRANT_JOIN: 403,
  /** MSC3895. */
  'ORG.MATRIX.MSC3895_UNABLE_DUE_TO_PARTIAL_STATE': 404,
  M_BAD_PAGINATION: 400,
  M_NOT_JOINED: 403,
  M_INVITE_BLOCKED: 403,
  M_TERMS_NOT_SIGNED: 403,
  M_KEY_TOO_LARGE: 400,
  M_PROFILE_TOO_LARGE: 400,
  M_NOT_YET_UPLOADED: 504,
  M_CANNOT_OVERWRITE_MEDIA: 409,
  M_WRONG_ROOM_KEYS_VERSION: 403,
  M_INVALID_SIGNATURE: 400,
  M_URL_NOT_SET: 400,
  M_BAD_STATUS: 502,
  M_CONNECTION_FAILED: 502,
  M_CONNECTION_TIMEOUT: 504,
  M_APPSERVICE_LOGIN_UNSUPPORTED: 400,
  ORG_MATRIX_EXPIRED_ACCOUNT: 403,
  'IO.ELEMENT.MSC4306.M_NOT_IN_THREAD': 400,
  'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION': 409,
} as const satisfies Record<string, number>;

export type Errcode = keyof typeof ERRCODE_STATUS;

/** Extra members of the error body (`soft_logout`, `retry_after_ms`, ...), and a status that differs from the table's. */
export interface MatrixErrorFields {
  readonly [member: string]: unknown;
}

/**
 * An error that a client or another server is told about.
 *
 * @param errcode one of the table above; decides the HTTP status
 * @param message an English sentence that helps the client's developer
 * @param fields further members of the JSON body
 * @param status overrides the table where the specification asks for another status with this errcode (405 M_UNRECOGNIZED)
 */
export class MatrixError extends Error {
  readonly errcode: Errcode;
  readonly status: number;
  readonly fields: MatrixErrorFields;

  constructor(
    errcode: Errcode,
    message: string,
    fields: MatrixErrorFields = {},
    status: number = ERRCODE_STATUS[errcode],
  ) {
    super(message);
    this.name = 'MatrixError';
    this.errcode = errcode;
    this.status = status;
    this.fields = fields;
  }

  /** The JSON body of the response. */
  toBody(): Record<string, unknown> {
    return { errcode: this.errcode, error: this.message, ...this.fields };
  }
}

/** A parameter, or a member of the body, that has the right type and cannot be what it is. */
export const invalidParam = (message: string): MatrixError => new MatrixError('M_INVALID_PARAM', message);

/** A body of the wrong shape. */
export const badJson = (message: string): MatrixError => new MatrixError('M_BAD_JSON', message);
