import { isServerAllowed, parseServerAcl, type ServerAcl } from '#src/protocol/acl/server-acl.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** A room's `m.room.server_acl`, read anew only when another one stands in the state, or when it was redacted. */
export class CompiledAcl {
  #from: StoredEvent | undefined;
  #json = '';
  #acl: ServerAcl | undefined;

  /**
   * Whether a server may take part, by what is the room's ACL now.
   *
   * @param from the state event; undefined where there is none: then everybody may
   */
  allows(from: StoredEvent | undefined, serverName: string): boolean {
    if (from !== this.#from || (from?.json ?? '') !== this.#json) {
      this.#from = from;
      this.#json = from?.json ?? '';
      this.#acl = from === undefined ? undefined : parseServerAcl(from.content);
    }
    return isServerAllowed(this.#acl, serverName);
  }
}
