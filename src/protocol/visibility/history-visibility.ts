/** Who may see which events of a room's history (Client-Server API, "Room History Visibility"). */

export type HistoryVisibility = 'world_readable' | 'shared' | 'invited' | 'joined';

/** "If no `history_visibility` is set, or if the value is not understood, the visibility is assumed to be `shared`." */
const DEFAULT_HISTORY_VISIBILITY: HistoryVisibility = 'shared';

/** The visibility that the content of an m.room.history_visibility event sets; `undefined` where there is no such event. */
export function parseHistoryVisibility(content: Readonly<Record<string, unknown>> | undefined): HistoryVisibility {
  const value = content?.['history_visibility'];
  return value === 'world_readable' || value === 'shared' || value === 'invited' || value === 'joined'
    ? value
    : DEFAULT_HISTORY_VISIBILITY;
}

/** Whether members who join later see events from before they joined. */
export const isShared = (visibility: HistoryVisibility): boolean =>
  visibility === 'shared' || visibility === 'world_readable';

export interface VisibilityQuestion {
  /** In the room's state before the event. */
  readonly visibility: HistoryVisibility;
  /** Of the user, in the room's state before the event; `undefined` (or `leave`) if the user had nothing to do with the room. */
  readonly membership: string | undefined;
  /** Whether the user became a joined member at any point after the event. */
  readonly joinedLater: boolean;
  /** If the event is itself the m.room.history_visibility event: what it sets. */
  readonly visibilityAfter?: HistoryVisibility | undefined;
  /** If the event is an m.room.member event of the user: what it sets. */
  readonly membershipAfter?: string | undefined;
}

/** Whether a user may see an event. */
export function mayUserSee(question: VisibilityQuestion): boolean {
  const { visibility, membership, joinedLater, visibilityAfter, membershipAfter } = question;
  if (allows(visibility, membership, joinedLater)) return true;
  // "For m.room.history_visibility events themselves, the user should be allowed to see the event if the history_visibility
  // before or after the event would allow them to see it."
  if (visibilityAfter !== undefined && allows(visibilityAfter, membership, joinedLater)) return true;
  // "Likewise, for the user's own m.room.member events, the user should be allowed to see the event if their membership before
  // or after the event would allow them to see it."
  return membershipAfter !== undefined && allows(visibility, membershipAfter, joinedLater);
}

function allows(visibility: HistoryVisibility, membership: string | undefined, joinedLater: boolean): boolean {
  // 1. "If the history_visibility was set to world_readable, allow."
  if (visibility === 'world_readable') return true;
  // 2. "If the user's membership was join, allow."
  if (membership === 'join') return true;
  // 3. "If history_visibility was set to shared, and the user joined the room at any point after the event was sent, allow."
  if (visibility === 'shared') return joinedLater;
  // 4. "If the user's membership was invite, and the history_visibility was set to invited, allow."
  // 5. "Otherwise, deny."
  return visibility === 'invited' && membership === 'invite';
}

export interface ServerVisibilityQuestion {
  /** In the room's state at the event, and before it where the event changes it. */
  readonly visibilities: readonly HistoryVisibility[];
  /** Memberships of all of the server's users in the room's state at the event. */
  readonly memberships: Iterable<string>;
}

/**
 * Whether another server may be sent an event in full. A server is shown what any of its users was entitled to when the event was
 * sent; under `shared` that is everything, because any of its users may join later and is then entitled to it.
 * What a server may not see, it gets redacted. Whether the server may ask about the room at all (it has a joined user now, and the
 * server ACL allows it) is for the caller to settle first.
 */
export function mayServerSee({ visibilities, memberships }: ServerVisibilityQuestion): boolean {
  if (visibilities.some(isShared)) return true;
  const invitedSuffices = visibilities.includes('invited');
  for (const membership of memberships) {
    if (membership === 'join' || (invitedSuffices && membership === 'invite')) return true;
  }
  return false;
}
