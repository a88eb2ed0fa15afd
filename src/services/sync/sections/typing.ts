import { IGNORED_USER_LIST } from '#src/services/user-data/account-data/ignored-users.ts';
import type { Subscribable } from '#src/kernel/signal.ts';
import type { Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';

export interface TypingSource {
  /** The users who type, and the ephemeral count of the last change (0: never). */
  typingIn(roomNid: number): { readonly users: readonly string[]; readonly at: number };
  /** Who began or stopped to type after an ephemeral count; undefined when that is too long ago to say. */
  changedSince(roomNid: number, count: number): readonly string[] | undefined;
  readonly changed: Subscribable<{ readonly roomNid: number }>;
}

/** `m.typing` of rooms. Client-Server API, "Typing Notifications". */
export class TypingSection implements Section {
  readonly name = 'typing';
  readonly opensOnlyWhenWoken = true;
  readonly #source: TypingSource;

  constructor(source: TypingSource) {
    this.#source = source;
  }

  listen(waker: Waker): void {
    this.#source.changed.subscribe(({ roomNid }) => waker.room(roomNid));
  }

  open({ user, sinceCount, isInitial, filter, ignored, hasChanged }: SectionRequest): SectionView {
    const source = this.#source;
    // When a reader ignores, or no longer ignores, a user, the list of typing users is sent again.
    const isHeardAnew = hasChanged(IGNORED_USER_LIST);
    const hasNews = (nid: number): boolean => {
      const { users, at } = source.typingIn(nid);
      if (isHeardAnew && users.length > 0) return true;
      if (at <= sinceCount) return false;
      const unheard = ignored();
      return unheard.size === 0 || source.changedSince(nid, sinceCount)?.every((one) => unheard.has(one)) !== true;
    };
    return {
      *changedRooms({ ephemeral }) {
        if (isInitial || (ephemeral.count <= sinceCount && !isHeardAnew)) return;
        for (const nid of user.joined.keys()) if (hasNews(nid)) yield nid;
      },
      room({ room, section }) {
        if (section !== 'join' || !filter.ephemeralRoom(room.roomId)) return undefined;
        const unheard = ignored();
        const users = source.typingIn(room.nid).users.filter((one) => !unheard.has(one));
        // A client without typing users is not sent an empty list.
        const isNews = isInitial ? users.length > 0 : hasNews(room.nid) && (users.length > 0 || sinceCount > 0);
        if (!isNews || filter.ephemeral?.({ type: 'm.typing', content: {} }) === false) return undefined;
        return {
          list: 'ephemeral',
          events: [`{"type":"m.typing","content":{"user_ids":${JSON.stringify(users)}}}`],
          isNews: true,
        };
      },
    };
  }
}
