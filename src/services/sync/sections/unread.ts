import { CountedCache } from '#src/kernel/caches/counted-cache.ts';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { IGNORED_USER_LIST } from '#src/services/user-data/account-data/ignored-users.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Part, Section, SectionRequest, SectionView } from '../engine/section.ts';

/** Account data by which it is decided what counts as unread. */
const CRITERIA = [IGNORED_USER_LIST, 'm.push_rules'] as const;

interface UnreadTally {
  readonly notification: number;
  readonly highlight: number;
}

export interface UnreadSource {
  /** Whether something came to a room, in which the user is since a position, after what they have read there. */
  mayHaveUnread(userId: string, room: Pick<Room, 'nid' | 'lastPosition'>, since: number): boolean;
  /** Makes the counts of several rooms known, in a handful of statements for all of them. */
  load(userId: string, rooms: readonly Room[]): Promise<void>;
  counts(userId: string, room: Room, upTo: number): Promise<RoomTally>;
  /** The same, if all that it takes is in memory. */
  peekCounts(userId: string, room: Room, upTo: number): RoomTally | undefined;
  /**
   * The same for a user who is in a room since a position, of a room that need not be in memory itself: undefined also where something came
   * that was not counted yet.
   */
  peekCounted(userId: string, room: Pick<Room, 'nid' | 'roomId'>, since: number, upTo: number): RoomTally | undefined;
}

interface RoomTally extends UnreadTally {
  readonly threads: ReadonlyMap<string, UnreadTally>;
}

/** Different counts that are remembered as they are told. */
const KEPT_PARTS = 1_000;

/** `unread_notifications` of rooms. Client-Server API, "Receiving notifications". */
export class UnreadSection implements Section {
  readonly name = 'unread';
  readonly #source: UnreadSource;
  /** Cached parts of unchanged counts, shared by all users with the same counts. */
  readonly #parts = new CountedCache<number, Part>('unread_parts', atMost(KEPT_PARTS));

  constructor(source: UnreadSource) {
    this.#source = source;
  }

  open({ user, userId, filter, hasChanged }: SectionRequest): SectionView {
    const source = this.#source;
    // What counts as unread has changed, in every room with unread events.
    const countsAnew = CRITERIA.some(hasChanged);
    const isNewsIn = (room: Pick<Room, 'nid' | 'lastPosition'>): boolean =>
      countsAnew && source.mayHaveUnread(userId, room, user.memberships.get(room.nid)?.since ?? 0);
    const tell = (counts: RoomTally, room: Room): Part => this.#tell(counts, filter.threadCounts, isNewsIn(room));
    const view: SectionView = {
      prepare(plans) {
        if (plans.length <= 1) return undefined;
        const joined = plans.filter(({ section }) => section === 'join');
        if (joined.length <= 1) return undefined;
        return source.load(
          userId,
          joined.map(({ room }) => room),
        );
      },
      room({ room, section, upTo }) {
        if (section !== 'join') return undefined;
        const counts = source.peekCounts(userId, room, upTo);
        if (counts !== undefined) return tell(counts, room);
        return source.counts(userId, room, upTo).then((read) => tell(read, room));
      },
    };
    if (!countsAnew) return view;
    return { ...view, changedRooms: () => [...user.joined].flatMap(([nid, room]) => (isNewsIn(room) ? [nid] : [])) };
  }

  #tell(counts: RoomTally, withThreads: boolean, isNews: boolean): Part {
    const { threads } = counts;
    if (withThreads && threads.size > 0) return withThreadCounts(counts, isNews);
    let { notification, highlight } = counts;
    for (const tally of threads.values()) {
      notification += tally.notification;
      highlight += tally.highlight;
    }
    if (isNews) return { members: { unread_notifications: countsJson({ notification, highlight }) }, isNews };
    const key = notification * KEPT_PARTS + highlight;
    const isKept = notification < KEPT_PARTS && highlight < KEPT_PARTS;
    let part = isKept ? this.#parts.get(key) : undefined;
    if (part === undefined) {
      part = { members: { unread_notifications: countsJson({ notification, highlight }) }, isNews };
      if (isKept) this.#parts.set(key, part);
    }
    return part;
  }
}

const withThreadCounts = ({ notification, highlight, threads }: RoomTally, isNews: boolean): Part => {
  const counted = [...threads]
    .filter(([, tally]) => tally.notification > 0 || tally.highlight > 0)
    .map(([root, tally]) => `${JSON.stringify(root)}:${countsJson(tally)}`);
  return {
    members: {
      unread_notifications: countsJson({ notification, highlight }),
      ...(counted.length === 0 ? {} : { unread_thread_notifications: `{${counted.join(',')}}` }),
    },
    isNews,
  };
};

const countsJson = ({ notification, highlight }: UnreadTally): string =>
  `{"notification_count":${notification},"highlight_count":${highlight}}`;
