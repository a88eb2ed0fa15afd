import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isServerAllowed, parseServerAcl, type ServerAcl } from '#src/protocol/acl/server-acl.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** Servers whose verdict is remembered: more than take part in nearly any room. */
const MAX_REMEMBERED = 2_000;
const MAX_NAME_LENGTH = 255;

/** A room's `m.room.server_acl`, compiled again only when the state has another one, or when it was redacted. */
export class CompiledAcl {
  #from: StoredEvent | undefined;
  #json = '';
  #acl: ServerAcl | undefined;
  /** By server name: a list of thousands of patterns is gone through once for a server, not once for each of its events. */
  readonly #verdicts = new Map<string, boolean>();

  /**
   * Whether a server may take part, by what is the room's ACL now.
   *
   * @param from the state event; undefined where there is none: then every server may
   */
  allows(from: StoredEvent | undefined, serverName: string): boolean {
    if (from !== this.#from || (from?.json ?? '') !== this.#json) {
      this.#from = from;
      this.#json = from?.json ?? '';
      this.#acl = from === undefined ? undefined : parseServerAcl(from.content);
      this.#verdicts.clear();
    }
    if (this.#acl === undefined) return true;
    if (serverName.length > MAX_NAME_LENGTH) return isServerAllowed(this.#acl, serverName);
    let verdict = this.#verdicts.get(serverName);
    if (verdict === undefined) {
      verdict = isServerAllowed(this.#acl, serverName);
      if (this.#verdicts.size >= MAX_REMEMBERED) this.#verdicts.clear();
      this.#verdicts.set(serverName, verdict);
    }
    return verdict;
  }
}

/** Why a server may not take part in a room, in a sentence. */
export const aclDenial = (serverName: string): string => `The server ACL of the room denies ${serverName}.`;

/** @throws MatrixError M_FORBIDDEN for a server that the room's ACL denies. Server-Server API, "Server Access Control Lists" */
export const assertAllowsServer = (room: { allowsServer(serverName: string): boolean }, serverName: string): void => {
  if (!room.allowsServer(serverName)) throw new MatrixError('M_FORBIDDEN', aclDenial(serverName));
};
