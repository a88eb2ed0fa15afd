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
  /** From where the client logged in, for the notice of it that goes to the user when the device is new. No notice when left out. */
  readonly noticed?: { readonly ip: string; readonly acceptLanguage?: string | undefined } | undefined;
}

export interface NewSession {
  readonly userId: string;
  readonly deviceId: string;
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  readonly expiresInMs: number | undefined;
}

export interface RefreshedTokens {
  readonly accessToken: string;
  readonly refreshToken: string;
  readonly expiresInMs: number;
}
