const SECRET = /^[0-9a-zA-Z.=_-]{1,255}$/;

/**
 * Whether this may be the `client_secret` of a client, or the `token` of an identity server. "[0-9a-zA-Z.=_-] ... Its length must not exceed 255
 * characters and it must not be empty." Client-Server API, `POST /account/password/email/requestToken`.
 */
export const isOpaqueSecret = (text: string): boolean => SECRET.test(text);
