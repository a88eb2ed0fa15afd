import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** The result of receiving a remote event. */
export type Reception =
  | { readonly outcome: 'accepted'; readonly event: StoredEvent }
  | { readonly outcome: 'soft-failed' | 'rejected'; readonly event: StoredEvent; readonly reason: string }
  | { readonly outcome: 'known' }
  /** The room's server ACL denies the server that sent it. Nothing was stored. */
  | { readonly outcome: 'denied'; readonly reason: string }
  /**
   * Events that it names are not here, or the state at one that it comes after is not: they have to be fetched first. None: what the room's
   * policy server says of it is not. Nothing was stored.
   */
  | { readonly outcome: 'missing'; readonly ids: readonly string[] };
