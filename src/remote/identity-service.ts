import { createHash } from 'node:crypto';
import { type Errcode, MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUserId } from '#src/protocol/identifiers/identifiers.ts';
import { thirdPartyId, type ThirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import { requestAuthorization } from '#src/protocol/signing/request-signature.ts';
import type { SigningKey } from '#src/protocol/signing/signing-key.ts';
import { isOpaqueSecret } from '#src/protocol/identifiers/opaque-secret.ts';
import type { OutboundHttp, OutboundTimeouts } from './outbound-http.ts';

/** An identity server, and the token with which a user may use it. */
export interface IdentityAccess {
  /** `host` or `host:port`. */
  readonly server: string;
  readonly accessToken: string;
}

/** The data of an invite for the identity server's mail. Identity Service API, `POST /store-invite`. */
export interface InviteToStore extends ThirdPartyId {
  readonly roomId: string;
  readonly sender: string;
  /** `room_name`, `sender_display_name` and so on; members that are undefined are left out. */
  readonly details: Readonly<Record<string, string | undefined>>;
}

export interface InviteKey {
  readonly publicKey: string;
  readonly keyValidityUrl: string;
}

/** A third-party invite as stored by an identity server. */
export interface StoredInvite {
  readonly token: string;
  readonly displayName: string;
  /** The long-term one first. */
  readonly publicKeys: readonly [InviteKey, ...InviteKey[]];
}

interface Answer {
  readonly status: number;
  readonly body: JsonObject;
}

const PREFIX = '/_matrix/identity/v2';
export const MAX_BODY_BYTES = 131_072;
const TIMEOUTS: Partial<OutboundTimeouts> = { headersMs: 10_000, bodyMs: 5_000, totalMs: 15_000 };

const strange = (server: string, what: string): MatrixError =>
  new MatrixError('M_CONNECTION_FAILED', `The identity server ${server} ${what}.`);

/** Signs requests to identity servers in the name of this server. */
export interface IdentitySigner {
  readonly serverName: string;
  readonly key: SigningKey;
}

/** Requests to identity servers. Identity Service API v2. */
export class IdentityService {
  readonly #http: Pick<OutboundHttp, 'request'>;
  readonly #timeouts: Partial<OutboundTimeouts>;

  constructor(http: Pick<OutboundHttp, 'request'>, timeouts: Partial<OutboundTimeouts> = {}) {
    this.#http = http;
    this.#timeouts = { ...TIMEOUTS, ...timeouts };
  }

  /**
   * Binds an address that was validated there to a user. `POST /3pid/bind`.
   *
   * @returns the address as the identity server normalised it
   * @throws MatrixError as `lookup`; the error of the identity server
   */
  async bind(
    access: IdentityAccess,
    session: { readonly sid: string; readonly clientSecret: string; readonly userId: string },
  ): Promise<ThirdPartyId> {
    const { server } = access;
    const body = { sid: session.sid, client_secret: session.clientSecret, mxid: session.userId };
    const response = await this.#ask(access, 'POST', '/3pid/bind', body);
    if (response.status !== 200) throw passedOn(response) ?? refusal(server, response);
    const { medium, address } = response.body;
    const id = typeof medium === 'string' && typeof address === 'string' ? thirdPartyId(medium, address) : undefined;
    if (id === undefined) throw strange(server, 'bound the address, but does not say which');
    return id;
  }

  /**
   * Removes a binding, in the name of this server. `POST /3pid/unbind`.
   *
   * @returns false when the identity server does not support it
   * @throws MatrixError M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT; the error of the identity server
   */
  async unbind(
    server: string,
    userId: string,
    { medium, address }: ThirdPartyId,
    signer: IdentitySigner,
  ): Promise<boolean> {
    const content = { mxid: userId, threepid: { medium, address } };
    const uri = `${PREFIX}/3pid/unbind`;
    const request = { method: 'POST', uri, origin: signer.serverName, destination: server, content };
    const authorization = requestAuthorization(request, signer.key);
    const response = await this.#send(server, authorization, 'POST', '/3pid/unbind', content);
    if (response.status === 200) return true;
    // "If the response body is not a JSON Matrix error, the identity server does not support unbinds."
    const refused = passedOn(response);
    if (refused === undefined) return false;
    throw refused;
  }

  /**
   * The user to whom an address is bound; undefined for none. The address is sent as a hash, unless the server supports none.
   *
   * @throws MatrixError M_CONNECTION_FAILED, M_CONNECTION_TIMEOUT, M_FORBIDDEN when it does not accept the token,
   *   M_TERMS_NOT_SIGNED, M_LIMIT_EXCEEDED
   */
  async lookup(access: IdentityAccess, id: ThirdPartyId): Promise<string | undefined> {
    // "Clients SHOULD make a call to /hash_details to get a new pepper in this scenario, being careful to avoid retry loops."
    const response = (await this.#lookupOnce(access, id)) ?? (await this.#lookupOnce(access, id));
    if (response === undefined) throw strange(access.server, 'changes its pepper all the time');
    return response.userId;
  }

  /** @returns undefined when the pepper has been changed meanwhile */
  async #lookupOnce(
    access: IdentityAccess,
    id: ThirdPartyId,
  ): Promise<{ readonly userId: string | undefined } | undefined> {
    const { server } = access;
    const details = await this.#ask(access, 'GET', '/hash_details');
    if (details.status !== 200) throw refusal(server, details);
    const { lookup_pepper: pepper, algorithms } = details.body;
    if (typeof pepper !== 'string' || !Array.isArray(algorithms)) throw strange(server, 'does not say how it hashes');
    const algorithm = ['sha256', 'none'].find((name) => algorithms.includes(name));
    if (algorithm === undefined) throw strange(server, 'uses no way of looking up that this server knows');
    const query = algorithm === 'sha256' ? hashed(id, pepper) : `${id.address} ${id.medium}`;
    const response = await this.#ask(access, 'POST', '/lookup', { algorithm, pepper, addresses: [query] });
    if (response.status === 400 && response.body['errcode'] === 'M_INVALID_PEPPER') return undefined;
    if (response.status !== 200) throw refusal(server, response);
    const { mappings } = response.body;
    if (!isJsonObject(mappings)) throw strange(server, 'answered a look-up with nothing that can be understood');
    // Some servers list unbound addresses with null.
    const userId = Object.hasOwn(mappings, query) ? (mappings[query] ?? undefined) : undefined;
    if (userId !== undefined && !isUserId(userId)) throw strange(server, 'names someone who is no Matrix user');
    return { userId };
  }

  /**
   * Has an invite stored until its address is bound, and the invitee notified.
   *
   * @returns the user id where the address has been bound already
   * @throws MatrixError as `lookup`, M_THREEPID_MEDIUM_NOT_SUPPORTED
   */
  async storeInvite(access: IdentityAccess, invite: InviteToStore): Promise<StoredInvite | string> {
    const { server } = access;
    const { medium, address, roomId, sender, details } = invite;
    const body = { ...details, medium, address, room_id: roomId, sender };
    const response = await this.#ask(access, 'POST', '/store-invite', body);
    const { errcode, mxid } = response.body;
    if (response.status === 400 && errcode === 'M_THREEPID_IN_USE' && isUserId(mxid)) return mxid;
    if (response.status === 400 && errcode === 'M_UNRECOGNIZED')
      throw new MatrixError('M_THREEPID_MEDIUM_NOT_SUPPORTED', `${server} does not support invites by ${medium}.`);
    if (response.status !== 200) throw refusal(server, response);
    const { token, display_name: displayName, public_keys: keys } = response.body;
    const [first, ...others] = Array.isArray(keys) ? keys.map(inviteKey) : [];
    if (typeof token !== 'string' || !isOpaqueSecret(token) || typeof displayName !== 'string' || first === undefined)
      throw strange(server, 'kept the invitation, but did not say how to redeem it');
    return { token, displayName, publicKeys: [first, ...others.filter((key) => key !== undefined)] };
  }

  #ask({ server, accessToken }: IdentityAccess, method: 'GET' | 'POST', path: string, body?: object): Promise<Answer> {
    return this.#send(server, `Bearer ${accessToken}`, method, path, body);
  }

  async #send(
    server: string,
    authorization: string,
    method: 'GET' | 'POST',
    path: string,
    body?: object,
  ): Promise<Answer> {
    const result = await this.#http.request({
      method,
      url: `https://${server}${PREFIX}${path}`,
      headers: {
        authorization,
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      maxBodyBytes: MAX_BODY_BYTES,
      timeouts: this.#timeouts,
    });
    if (!result.ok) {
      const errcode = result.kind === 'timeout' ? 'M_CONNECTION_TIMEOUT' : 'M_CONNECTION_FAILED';
      throw new MatrixError(errcode, `The identity server ${server} did not answer: ${result.reason}.`);
    }
    const json = parsed(result.body);
    if (json === undefined && result.status === 200) throw strange(server, 'did not answer with JSON');
    return { status: result.status, body: json ?? {} };
  }
}

/** "strings separated by spaces in the format <address> <medium> <pepper>", SHA-256, URL-safe unpadded base64. */
const hashed = ({ address, medium }: ThirdPartyId, pepper: string): string =>
  createHash('sha256').update(`${address} ${medium} ${pepper}`).digest('base64url');

const parsed = (bytes: Buffer): JsonObject | undefined => {
  try {
    const value = JSON.parse(bytes.toString()) as JsonValue;
    return isJsonObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
};

const inviteKey = (entry: JsonValue): InviteKey | undefined => {
  if (!isJsonObject(entry)) return undefined;
  const { public_key: publicKey, key_validity_url: keyValidityUrl } = entry;
  return typeof publicKey === 'string' && typeof keyValidityUrl === 'string'
    ? { publicKey, keyValidityUrl }
    : undefined;
};

/** Maximum length of an identity server's error message that is passed on. */
const MAX_MESSAGE_LENGTH = 500;

/** "Homeservers should simply proxy any errors received by the identity server to the caller." Undefined for anything but a Matrix error. */
const passedOn = ({ status, body }: Answer): MatrixError | undefined => {
  const { errcode, error } = body;
  if (typeof errcode !== 'string' || !/^M_[A-Z_]{1,60}$/.test(errcode) || status < 400 || status >= 500)
    return undefined;
  const message = typeof error === 'string' ? error.slice(0, MAX_MESSAGE_LENGTH) : 'The identity server refuses.';
  // A 401 would end the user's session on this server.
  return new MatrixError(errcode as Errcode, message, {}, status === 401 ? 403 : status);
};

const refusal = (server: string, { status, body }: Answer): MatrixError => {
  if (body['errcode'] === 'M_TERMS_NOT_SIGNED')
    return new MatrixError('M_TERMS_NOT_SIGNED', `Accept the terms of the identity server ${server} first.`);
  if (status === 401 || status === 403)
    return new MatrixError('M_FORBIDDEN', `The identity server ${server} does not accept the id_access_token.`);
  if (status === 429) {
    const wait = body['retry_after_ms'];
    const fields = typeof wait === 'number' ? { retry_after_ms: wait } : {};
    return new MatrixError('M_LIMIT_EXCEEDED', `The identity server ${server} is asked too often.`, fields);
  }
  return strange(server, `answered with ${status}`);
};
