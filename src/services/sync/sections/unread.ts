import type { Room } from '#src/services/room-model/room/room.ts';
import type { Section, SectionRequest, SectionView } from '../engine/section.ts';

interface UnreadTally {
  readonly notification: number;
  readonly highlight: number;
}

export interface UnreadSource {
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

  open({ userId, filter }: SectionRequest): SectionView {
    const source = this.#source;
    return {
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
            isNews: false,
          };
        }
        for (const tally of counts.threads.values()) {
          notification += tally.notification;
          highlight += tally.highlight;
        }
        return { members: { unread_notifications: countsJson({ notification, highlight }) }, isNews: false };
      },
    };
  }
}

const countsJson = ({ notification, highlight }: UnreadTally): string =>
  `{"notification_count":${notification},"highlight_count":${highlight}}`;
