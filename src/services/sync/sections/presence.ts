import type { Subscribable } from '#src/kernel/signal.ts';
import { isPromise, perform, type Steps } from '#src/kernel/concurrency/steps.ts';
import { covers, type PositionVector } from '#src/protocol/wire/position.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { changedSince } from '../engine/changed-rooms.ts';
import type { SharedRoomCheck } from '../engine/shared-room-check.ts';
import type { Part, Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';

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
  readonly hasRoomParts = false;
  readonly opensOnlyWhenWoken = true;
  readonly #source: PresenceSource;
  readonly #companions: SharedRoomCheck;
  readonly #rooms: Pick<RoomRegistry, 'visit'>;

  constructor(source: PresenceSource, companions: SharedRoomCheck, rooms: Pick<RoomRegistry, 'visit'>) {
    this.#source = source;
    this.#companions = companions;
    this.#rooms = rooms;
  }

  listen(waker: Waker): void {
    this.#source.changed.subscribe(({ userId }) => waker.companions(userId));
  }

  open(request: SectionRequest): SectionView {
    return { general: () => perform(this.#general(request)) };
  }

  *#general(request: SectionRequest): Steps<Part | undefined> {
    const { user, since, sinceCount, isInitial } = request;
    const sharing = this.#companions.among(user, this.#source.changedSince(isInitial ? 0 : sinceCount));
    const subjects = new Set(isPromise(sharing) ? ((yield sharing) as ReadonlySet<string>) : sharing);
    // Users who have just come to share a room get each other's presence.
    if (!isInitial) {
      const visiting = this.#rooms.visit(changedSince(user, since), (room) =>
        addThoseWhoMet(subjects, room, user.userId, since),
      );
      if (visiting !== undefined) yield visiting;
    }
    const events = this.#events(request, subjects);
    return events.length === 0 ? undefined : { list: 'presence', events, isNews: true };
  }

  #events({ filter, ignored }: SectionRequest, subjects: ReadonlySet<string>): string[] {
    const source = this.#source;
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

const addThoseWhoMet = (met: Set<string>, room: Room, reader: string, since: PositionVector): void => {
  const own = room.member(reader);
  const isNewHere = own !== undefined && !covers(since, own.since);
  for (const event of room.ring.between(since[room.shard] ?? 0, Infinity) ?? []) {
    if (event.type !== 'm.room.member' || event.stateKey === undefined) continue;
    const member = room.member(event.stateKey);
    if (member?.membership === 'join' && !covers(since, member.since)) met.add(member.userId);
  }
  if (!isNewHere) return;
  for (const member of room.members.values()) if (member.membership === 'join') met.add(member.userId);
};
