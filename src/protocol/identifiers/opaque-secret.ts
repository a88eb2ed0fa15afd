import { hash } from 'node:crypto';

const SECRET = /^[0-9a-zA-Z.=_-]{1,255}$/;

/**
 * Whether this may be the `client_secret` of a client, or the `token` of an identity server. "[0-9a-zA-Z.=_-] ... Its length must not exceed 255
 * characters and it must not be empty." Client-Server API, `POST /account/password/email/requestToken`.
 */
export const isOpaqueSecret = (text: string): boolean => SECRET.test(text);

/** What is kept of a secret or a token that is long and random: it is found by it, and nobody who reads it can use it. */
export const hashOfSecret = (secret: string): Buffer => hash('sha256', secret, 'buffer');
