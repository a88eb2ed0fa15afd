import type { PositionVector } from '#src/protocol/wire/position.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomPlan } from '../engine/room-plan.ts';
import type { UnreadSource } from '../sections/unread.ts';
import type { SentRoom } from './connection.ts';
import type { LeftRooms } from './left-rooms.ts';
import { StateWanted } from './required-state.ts';
import type { ListedRoom } from './room-lists.ts';

/** A room that an answer may hold. */
export interface WantedRoom {
  readonly listed: ListedRoom;
  readonly timelineLimit: number;
  readonly state: StateWanted;
  readonly lists: readonly string[];
  readonly sent: SentRoom | undefined;
}

/** The stretch of a room that is to be sent. */
export interface Span {
  readonly wanted: WantedRoom;
  readonly plan: RoomPlan;
  readonly isInitial: boolean;
  readonly isExpanded: boolean;
}

/** A user's unread counts of a room. */
export interface UnreadCounts {
  readonly notification: number;
  readonly highlight: number;
}

/** Finds the rooms with possible news, and where the answer continues in each. */
export class RoomSpans {
  readonly #left: Pick<LeftRooms, 'plan'>;
  readonly #unread: UnreadSource;

  constructor(options: { readonly left: Pick<LeftRooms, 'plan'>; readonly unread: UnreadSource }) {
    this.#left = options.left;
    this.#unread = options.unread;
  }

  /** The rooms with possible news, with the stretch of each that is to be sent. */
  async find(
    rooms: readonly WantedRoom[],
    userId: string,
    end: PositionVector,
    isDirect: (room: Room) => boolean,
  ): Promise<Span[]> {
    const spans: Span[] = [];
    for (const wanted of rooms) {
      const { listed, sent, state, timelineLimit } = wanted;
      const { room, member } = listed;
      const upTo = end[room.shard] ?? 0;
      const common = { room, member, isNew: false, upTo, end: room.stateChain, onlyLeave: false };
      if (member.membership !== 'join') {
        if (sent?.membership === member.membership) continue;
        const section = member.membership === 'invite' || member.membership === 'knock' ? member.membership : 'leave';
        if (section === 'leave') {
          const plan = await this.#left.plan(listed, sent);
          spans.push({ wanted, plan, isInitial: sent === undefined, isExpanded: false });
          continue;
        }
        const plan = { ...common, section, isFull: true, after: 0 };
        spans.push({ wanted, plan, isInitial: true, isExpanded: false });
        continue;
      }
      const isInitial = sent === undefined || sent.membership !== 'join';
      const isExpanded = !isInitial && sent.timelineLimit < timelineLimit;
      const after = isInitial || isExpanded ? 0 : (sent.vector[room.shard] ?? 0);
      const hasNews =
        isInitial ||
        isExpanded ||
        room.lastPosition > after ||
        sent.isDm !== isDirect(room) ||
        !StateWanted.from(sent.wanted).covers(state);
      if (!hasNews && !(await this.#hasOtherCounts(wanted, userId, upTo))) continue;
      spans.push({ wanted, plan: { ...common, section: 'join', isFull: isInitial, after }, isInitial, isExpanded });
    }
    return spans;
  }

  async #hasOtherCounts({ listed: { room }, sent }: WantedRoom, userId: string, upTo: number): Promise<boolean> {
    const counts = totals(await this.#unread.counts(userId, room, upTo));
    return sent !== undefined && (counts.notification !== sent.notification || counts.highlight !== sent.highlight);
  }
}

/** A room's counts with those of its threads. */
export const totals = (
  counts: UnreadCounts & { readonly threads: ReadonlyMap<string, UnreadCounts> },
): UnreadCounts => {
  let { notification, highlight } = counts;
  for (const thread of counts.threads.values()) {
    notification += thread.notification;
    highlight += thread.highlight;
  }
  return { notification, highlight };
};
