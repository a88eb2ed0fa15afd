/** A session that is to be made: of a login or a registration. */
export interface SessionRequest {
  readonly userId: string;
  /** Of the password that the user gave: there is no session if the account has another one by now. Left out where there was none. */
  readonly passwordHash?: string | undefined;
  /** Made up when absent. The tokens that this device had are revoked. */
  readonly deviceId?: string | undefined;
  /** Ignored when the device exists. */
  readonly displayName?: string | undefined;
  /** Whether the client can refresh: its access tokens expire then. */
  readonly refreshable?: boolean | undefined;
  /** From where the client logs in: a new device counts as used there at once, before its token is. */
  readonly ip?: string | undefined;
  /** From where the client logged in, for the notice of it that goes to the user when the device is new. No notice when left out. */
  readonly noticed?: { readonly ip: string; readonly acceptLanguage?: string | undefined } | undefined;
}

/** A session that was made, with its tokens: the body of the answer to POST /login. */
export interface NewSession {
  readonly userId: string;
  readonly deviceId: string;
  readonly accessToken: string;
  /** Undefined when the client cannot refresh: the access token does not expire then. */
  readonly refreshToken: string | undefined;
  /** Milliseconds until the access token expires. */
  readonly expiresInMs: number | undefined;
}

/** The next tokens of a session: the body of the answer to POST /refresh. */
export interface RefreshedTokens {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly expiresInMs: number;
}
