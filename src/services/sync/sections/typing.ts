import type { Subscribable } from '#src/kernel/signal.ts';
import type { Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';

export interface TypingSource {
  /** Who types, and at which ephemeral count that last changed (0: never). */
  typingIn(roomNid: number): { readonly users: readonly string[]; readonly at: number };
  readonly changed: Subscribable<{ readonly roomNid: number }>;
}

/** Who is typing. Client-Server API, "Typing Notifications". */
export class TypingSection implements Section {
  readonly name = 'typing';
  readonly #source: TypingSource;

  constructor(source: TypingSource) {
    this.#source = source;
  }

  listen(waker: Waker): void {
    this.#source.changed.subscribe(({ roomNid }) => waker.room(roomNid));
  }

  open({ user, sinceCount, isInitial, filter }: SectionRequest): SectionView {
    const source = this.#source;
    return {
      *changedRooms({ ephemeral }) {
        if (isInitial || ephemeral.count <= sinceCount) return;
        for (const nid of user.joined.keys()) if (source.typingIn(nid).at > sinceCount) yield nid;
      },
      room({ room, section }) {
        if (section !== 'join' || !filter.ephemeralRoom(room.roomId)) return undefined;
        const { users, at } = source.typingIn(room.nid);
        // Whoever knows of nobody is not told that nobody types.
        const isNews = isInitial ? users.length > 0 : at > sinceCount && (users.length > 0 || sinceCount > 0);
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
