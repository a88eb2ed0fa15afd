import type { Subscribable } from '#src/kernel/signal.ts';
import { covers } from '#src/protocol/wire/position.ts';
import type { Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';

export interface PresenceSource {
  /** The content of `m.presence` for a user; undefined when nothing is known. */
  presenceOf(userId: string): { readonly content: object } | undefined;
  /** Users whose presence changed after this ephemeral count. */
  changedSince(count: number): readonly string[];
  readonly changed: Subscribable<{ readonly userId: string }>;
}

/** Presence of the users with whom the reader shares rooms. Client-Server API, "Presence". */
export class PresenceSection implements Section {
  readonly name = 'presence';
  readonly tellsOfRooms = false;
  readonly isQuietUntilWoken = true;
  readonly #source: PresenceSource;

  constructor(source: PresenceSource) {
    this.#source = source;
  }

  listen(waker: Waker): void {
    this.#source.changed.subscribe(({ userId }) => waker.companions(userId));
  }

  open(request: SectionRequest): SectionView {
    return {
      general: () => {
        const events = this.#events(request);
        return events.length === 0 ? undefined : { list: 'presence', events, isNews: true };
      },
    };
  }

  #events({ user, since, sinceCount, isInitial, filter, ignored }: SectionRequest): string[] {
    const source = this.#source;
    const subjects = new Set<string>();
    const rooms = [...user.joined.values()];
    for (const userId of source.changedSince(isInitial ? 0 : sinceCount)) {
      if (user.shares(userId)) subjects.add(userId);
    }
    // Users who have just come together in a room learn of each other.
    if (!isInitial) {
      for (const room of rooms) {
        if (covers(since, room.lastPosition)) continue;
        const own = room.member(user.userId);
        const isNewHere = own !== undefined && !covers(since, own.since);
        for (const event of room.ring.between(since[room.shard] ?? 0, Infinity) ?? []) {
          if (event.type !== 'm.room.member' || event.stateKey === undefined) continue;
          const member = room.member(event.stateKey);
          if (member?.membership === 'join' && !covers(since, member.since)) subjects.add(member.userId);
        }
        if (!isNewHere) continue;
        for (const member of room.members.values()) if (member.membership === 'join') subjects.add(member.userId);
      }
    }
    const events: string[] = [];
    const unheard = ignored();
    for (const userId of subjects) {
      if (unheard.has(userId)) continue;
      const known = source.presenceOf(userId);
      if (known === undefined || filter.presence?.({ type: 'm.presence', sender: userId, content: {} }) === false)
        continue;
      events.push(
        `{"type":"m.presence","sender":${JSON.stringify(userId)},"content":${JSON.stringify(known.content)}}`,
      );
    }
    return events;
  }
}
