import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Admitted } from './admission.ts';
import type { CloseName } from './close-codes.ts';
import type { WebSocketDependencies } from './dependencies.ts';
import { closeNameOf } from './failures.ts';
import type { Presence } from './services.ts';

/** The address and handshake of a client. */
export interface Peer {
  readonly ip: string;
  readonly userAgent: string | undefined;
  /** The handshake's query. */
  readonly query: string;
}

/** The authenticated client of a socket. As long as the socket is open it counts as active, and its token is looked at again. */
export class SocketClient {
  readonly #deps: WebSocketDependencies;
  readonly #peer: Peer;
  #requester: Requester;
  #token: string;

  constructor(deps: WebSocketDependencies, peer: Peer, { requester, token }: Admitted) {
    this.#deps = deps;
    this.#peer = peer;
    this.#requester = requester;
    this.#token = token;
  }

  get requester(): Requester {
    return this.#requester;
  }

  /** It continues with a fresh token of the same device. */
  renew({ requester, token }: Admitted): void {
    this.#requester = requester;
    this.#token = token;
  }

  /** Says that the user was suspended, or that this was lifted: for all requests from now on. */
  suspended(isSuspended: boolean): void {
    this.#requester = { ...this.#requester, isSuspended };
  }

  /** Says that the client is there: for the user's presence, and for when the device was seen last. */
  seen(presence: Presence): void {
    const { services, seen } = this.#deps;
    if (this.#requester.adminLogin !== undefined) return;
    services.presence.seen(this.#requester.userId, presence, this.#requester.deviceId);
    seen?.(this.#requester, this.#peer.ip, this.#peer.userAgent);
  }

  /** Looks at the token again. @returns how to close the socket when it is no longer good: expired, for one, which nobody tells */
  async recheck(): Promise<CloseName | undefined> {
    const token = this.#token;
    try {
      await this.#deps.services.sessions.authenticate(token, undefined, this.#requester);
    } catch (error) {
      // Whatever else went wrong says nothing about the token.
      if (token !== this.#token || !(error instanceof MatrixError)) return undefined;
      const name = closeNameOf(error);
      return name === 'badAuth' ? 'tokenRevoked' : name;
    }
    return undefined;
  }
}
