import type { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { PositionVector } from '#src/protocol/wire/position.ts';
import { isPending } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { RoomStub } from '#src/services/room-model/room/room-stub.ts';
import type { PastStates } from '../engine/past-states.ts';
import type { RoomPlan } from '../engine/room-plan.ts';
import type { UnreadSource } from '../sections/unread.ts';
import type { SentRoom } from './connection.ts';
import type { LeftRooms } from './left-rooms.ts';
import { StateWanted } from './required-state.ts';
import { CHARACTERS_OF_LOOK, type ListedRoom } from './room-lists.ts';

/** A room that an answer may hold. */
export interface WantedRoom<R extends RoomStub | Room = RoomStub> {
  readonly listed: ListedRoom<R>;
  readonly timelineLimit: number;
  readonly state: StateWanted;
  readonly lists: readonly string[];
  readonly sent: SentRoom | undefined;
}

/** The stretch of a room that is to be sent. */
export interface Span {
  readonly wanted: WantedRoom<Room>;
  readonly plan: RoomPlan;
  readonly isInitial: boolean;
  readonly isExpanded: boolean;
}

/** A user's unread counts of a room. */
export interface UnreadCounts {
  readonly notification: number;
  readonly highlight: number;
}

/** Of the memory for rooms, what one answer may read. */
const SHARE_OF_MEMORY = 1 / 2;

/** A room with possible news. */
export interface Candidate {
  readonly wanted: WantedRoom;
  readonly isInitial: boolean;
  readonly isExpanded: boolean;
  /** There is news only if the unread counts are others than the client was told. */
  readonly byCounts: boolean;
}

export interface RoomSpansOptions {
  readonly left: Pick<LeftRooms, 'plan'>;
  readonly unread: UnreadSource;
  readonly rooms: Pick<RoomRegistry, 'loadSome'>;
  readonly states: Pick<PastStates, 'at'>;
}

/** Finds the rooms with possible news, and where the answer continues in each. */
export class RoomSpans {
  readonly #options: RoomSpansOptions;

  constructor(options: RoomSpansOptions) {
    this.#options = options;
  }

  /** The rooms with possible news; nothing is read. @param loopYield is told how much was looked at */
  async candidates(
    rooms: readonly WantedRoom[],
    userId: string,
    end: PositionVector,
    isDirect: (room: Pick<Room, 'roomId'>) => boolean,
    loopYield: LoopYield,
  ): Promise<readonly Candidate[]> {
    const found: Candidate[] = [];
    const known = new KnownCovers();
    for (const wanted of rooms) {
      const candidate = this.#candidate(wanted, userId, end, isDirect, known);
      if (candidate !== undefined) found.push(candidate);
      const turn = loopYield.after(CHARACTERS_OF_LOOK + known.takeCharacters());
      if (turn !== undefined) await turn;
    }
    return found;
  }

  /**
   * The first ones of these rooms, with the stretch of each that is to be sent: no more are read than may be in memory together.
   *
   * @returns them, and how many of the candidates were looked at
   */
  async read(
    candidates: readonly Candidate[],
    userId: string,
    end: PositionVector,
  ): Promise<{ readonly spans: readonly Span[]; readonly looked: number }> {
    const nids = candidates.map(({ wanted }) => wanted.listed.room.nid);
    const { looked, rooms } = await this.#options.rooms.loadSome(nids, SHARE_OF_MEMORY);
    return { spans: await this.#spans(candidates.slice(0, looked), rooms, userId, end), looked };
  }

  #candidate(
    wanted: WantedRoom,
    userId: string,
    end: PositionVector,
    isDirect: (room: Pick<Room, 'roomId'>) => boolean,
    known: KnownCovers,
  ): Candidate | undefined {
    const { listed, sent, state, timelineLimit } = wanted;
    const { room, member } = listed;
    if (member.membership !== 'join') {
      if (sent?.membership === member.membership) return undefined;
      const isOutside = isPending(member.membership);
      return { wanted, isInitial: isOutside || sent === undefined, isExpanded: false, byCounts: false };
    }
    const isInitial = sent === undefined || sent.membership !== 'join';
    const isExpanded = !isInitial && sent.timelineLimit < timelineLimit;
    const after = isInitial || isExpanded ? 0 : (sent.vector[room.shard] ?? 0);
    const hasNews =
      isInitial ||
      isExpanded ||
      room.lastPosition > after ||
      sent.isDm !== isDirect(room) ||
      !known.covers(sent.wanted, state);
    if (hasNews) return { wanted, isInitial, isExpanded, byCounts: false };
    // Most rooms have no changes, and need not be in memory.
    const upTo = Math.min(end[room.shard] ?? 0, room.lastPosition);
    const counts = this.#options.unread.peekCounted(userId, room, member.since, upTo);
    if (counts !== undefined && !areOthers(totals(counts), sent)) return undefined;
    return { wanted, isInitial, isExpanded, byCounts: true };
  }

  async #spans(
    candidates: readonly Candidate[],
    loaded: ReadonlyMap<number, Room>,
    userId: string,
    end: PositionVector,
  ): Promise<Span[]> {
    const { left, states, unread } = this.#options;
    // Events that arrive while rooms are read are not part of the response.
    const chains = new Map([...loaded.values()].map((room) => [room.nid, room.stateChain]));
    const moved = candidates.filter(
      ({ wanted: { listed } }) =>
        listed.member.membership === 'join' && listed.room.lastPosition > (end[listed.room.shard] ?? 0),
    );
    const ends = await states.at(
      moved.map(({ wanted: { listed } }) => ({ room: listed.room.nid, upTo: end[listed.room.shard] ?? 0 })),
    );
    const spans: Span[] = [];
    for (const { byCounts, isExpanded, isInitial, wanted: of } of candidates) {
      const { nid } = of.listed.room;
      const room = loaded.get(nid);
      const stateAtEnd = ends.get(nid) ?? chains.get(nid);
      if (room === undefined || stateAtEnd === undefined) continue;
      const wanted = { ...of, listed: { ...of.listed, room } };
      const { member } = wanted.listed;
      const upTo = end[room.shard] ?? 0;
      const common = { room, member, isNew: false, upTo, end: stateAtEnd, onlyLeave: false };
      if (isPending(member.membership)) {
        const plan = { ...common, section: member.membership, isFull: true, after: 0 };
        spans.push({ wanted, plan, isInitial, isExpanded });
      } else if (member.membership !== 'join') {
        spans.push({ wanted, plan: await left.plan(wanted.listed, of.sent), isInitial, isExpanded });
      } else {
        if (byCounts && !areOthers(totals(await unread.counts(userId, room, upTo)), of.sent)) continue;
        const after = isInitial || isExpanded ? 0 : (of.sent?.vector[room.shard] ?? 0);
        spans.push({ wanted, plan: { ...common, section: 'join', isFull: isInitial, after }, isInitial, isExpanded });
      }
    }
    return spans;
  }
}

/** Whether what clients were told of covers what they ask for: compared once for all rooms of an answer of which both are the same. */
class KnownCovers {
  readonly #known = new Map<string, Map<StateWanted, boolean>>();
  #pairs = 0;

  /** @param told `StateWanted.key` of what the client was told of */
  covers(told: string, state: StateWanted): boolean {
    if (told === state.key) return true;
    let byState = this.#known.get(told);
    if (byState === undefined) this.#known.set(told, (byState = new Map()));
    let covers = byState.get(state);
    if (covers === undefined) {
      const before = StateWanted.from(told);
      this.#pairs += before.pairs + state.pairs;
      byState.set(state, (covers = before.covers(state)));
    }
    return covers;
  }

  /** What the comparisons since the last call took, as characters that are written in that time. */
  takeCharacters(): number {
    const pairs = this.#pairs;
    this.#pairs = 0;
    return CHARACTERS_OF_LOOK * pairs;
  }
}

const areOthers = ({ highlight, notification }: UnreadCounts, sent: SentRoom | undefined): boolean =>
  sent !== undefined && (notification !== sent.notification || highlight !== sent.highlight);

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
