import { IGNORED_USER_LIST } from '#src/services/user-data/account-data/ignored-users.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Section, SectionRequest, SectionView } from '../engine/section.ts';

/** Account data by which it is decided what counts as unread. */
const CRITERIA = [IGNORED_USER_LIST, 'm.push_rules'] as const;

interface UnreadTally {
  readonly notification: number;
  readonly highlight: number;
}

export interface UnreadSource {
  /** Whether something came to a room after what the user has read there. */
  mayHaveUnread(userId: string, room: Room): boolean;
  /** Makes the counts of several rooms known, in a handful of statements for all of them. */
  load(userId: string, rooms: readonly Room[]): Promise<void>;
  counts(
    userId: string,
    room: Room,
    upTo: number,
  ): Promise<UnreadTally & { readonly threads: ReadonlyMap<string, UnreadTally> }>;
}

/** How much of a room has not been read. Client-Server API, "Receiving notifications". */
export class UnreadSection implements Section {
  readonly name = 'unread';
  readonly #source: UnreadSource;

  constructor(source: UnreadSource) {
    this.#source = source;
  }

  open({ user, userId, filter, hasChanged }: SectionRequest): SectionView {
    const source = this.#source;
    // What they mean by unread is another thing now, wherever there may be something that they have not read.
    const countsAnew = CRITERIA.some(hasChanged);
    const isNewsIn = (room: Room): boolean => countsAnew && source.mayHaveUnread(userId, room);
    return {
      *changedRooms() {
        if (!countsAnew) return;
        for (const [nid, room] of user.joined) if (isNewsIn(room)) yield nid;
      },
      async prepare(plans) {
        const joined = plans.filter(({ section }) => section === 'join');
        if (joined.length > 1)
          await source.load(
            userId,
            joined.map(({ room }) => room),
          );
      },
      async room({ room, section, upTo }) {
        if (section !== 'join') return undefined;
        const counts = await source.counts(userId, room, upTo);
        let { notification, highlight } = counts;
        if (filter.threadCounts) {
          const threads = [...counts.threads]
            .filter(([, tally]) => tally.notification > 0 || tally.highlight > 0)
            .map(([root, tally]) => `${JSON.stringify(root)}:${countsJson(tally)}`);
          return {
            members: {
              unread_notifications: countsJson({ notification, highlight }),
              ...(threads.length === 0 ? {} : { unread_thread_notifications: `{${threads.join(',')}}` }),
            },
            isNews: isNewsIn(room),
          };
        }
        for (const tally of counts.threads.values()) {
          notification += tally.notification;
          highlight += tally.highlight;
        }
        return { members: { unread_notifications: countsJson({ notification, highlight }) }, isNews: isNewsIn(room) };
      },
    };
  }
}

const countsJson = ({ notification, highlight }: UnreadTally): string =>
  `{"notification_count":${notification},"highlight_count":${highlight}}`;
