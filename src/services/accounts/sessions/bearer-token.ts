const BEARER = /^Bearer +(\S+) *$/i;

/** The token of an `Authorization` header; undefined where there is none. Client-Server API, "Using access tokens". */
export const bearerToken = (authorization: string | undefined): string | undefined =>
  authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
