import type { V3Sync } from '#src/services/sync/v3/v3-sync.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { type ClientEvent, type RoomBody, type SyncBody, syncRequest } from './sync-world.ts';

export interface ModelOptions {
  readonly userId: string;
  readonly deviceId: string;
  readonly stateAfter: boolean;
  readonly lazy: boolean;
  readonly includeLeave: boolean;
  /** The room's history forks: resolution may end a membership or take state out without an event that says so. */
  readonly forks?: boolean;
}

/** What one response told of a room's timeline. */
interface Stretch {
  readonly ids: readonly string[];
  readonly limited: boolean;
}

interface KnownRoom {
  section: 'join' | 'leave';
  readonly state: Map<string, string>;
  readonly stretches: Stretch[];
  readonly seen: Set<string>;
  /** The room came to a client that had begun before. */
  readonly isNew: boolean;
}

const keyOf = (event: ClientEvent): string => `${event.type}\0${event.state_key}`;

/** A client that believes what the specification says of sync responses, and complains when they cannot be true. */
export class ModelClient {
  readonly options: ModelOptions;
  readonly #sync: () => V3Sync;
  readonly rooms = new Map<string, KnownRoom>();
  readonly invites = new Set<string>();
  readonly #leavesShown = new Set<string>();
  #since: string | undefined;
  isCaughtUp = false;

  constructor(sync: () => V3Sync, options: ModelOptions) {
    this.#sync = sync;
    this.options = options;
  }

  async step({
    limit,
    fullState = false,
    timeout = 0,
  }: {
    limit: number;
    fullState?: boolean;
    timeout?: number;
  }): Promise<void> {
    const { userId, deviceId, stateAfter, lazy, includeLeave } = this.options;
    const room = { timeline: { limit }, state: { lazy_load_members: lazy }, include_leave: includeLeave };
    const isInitial = this.#since === undefined;
    const result = await this.#sync().sync(
      syncRequest(userId, this.#since, room, {
        deviceId,
        fullState,
        timeout,
        stateAfter: stateAfter ? 'state_after' : undefined,
      }),
    );
    const body = JSON.parse(result.body) as SyncBody;
    this.isCaughtUp = result.isEmpty;
    this.#since = body.next_batch;
    const { join = {}, leave = {}, invite = {} } = body.rooms ?? {};
    const told = [...Object.keys(join), ...Object.keys(leave), ...Object.keys(invite)];
    if (new Set(told).size !== told.length) this.#complain(`a room is in two sections: ${told.join(' ')}`);
    for (const [roomId, section] of Object.entries(join))
      this.#joined(roomId, section, fullState || isInitial, isInitial);
    for (const [roomId, section] of Object.entries(leave)) this.#left(roomId, section, fullState || isInitial);
    for (const roomId of Object.keys(invite)) {
      this.invites.add(roomId);
      this.rooms.delete(roomId);
    }
  }

  #complain(what: string): never {
    throw new Error(`${JSON.stringify(this.options)}: ${what}`);
  }

  #joined(roomId: string, body: RoomBody, isFull: boolean, isInitial: boolean): void {
    this.invites.delete(roomId);
    let room = this.rooms.get(roomId);
    if (room?.section !== 'join') {
      room = {
        section: 'join',
        state: new Map(),
        stretches: [],
        seen: new Set(),
        isNew: !isInitial,
      };
      if (!isInitial && !body.timeline.limited && this.options.forks !== true)
        this.#complain(`${roomId} is new and its timeline is not limited`);
      this.rooms.set(roomId, room);
    } else if (isFull) room.state.clear();
    this.#take(roomId, room, body);
    if (this.options.lazy) {
      for (const { sender } of body.timeline.events) {
        if (!room.state.has(`m.room.member\0${sender}`)) this.#complain(`nobody told who ${sender} is`);
      }
    }
  }

  #left(roomId: string, body: RoomBody, isFull: boolean): void {
    this.invites.delete(roomId);
    const known = this.rooms.get(roomId);
    const isOwn = (event: ClientEvent): boolean =>
      event.type === 'm.room.member' && event.state_key === this.options.userId;
    const inTimeline = body.timeline.events.findLast(isOwn);
    // A resolution ends a membership without an event, or by one that is older: that comes as state, if there is one.
    const isResolved = this.options.forks === true && inTimeline === undefined;
    const leave = isResolved ? (body.state_after ?? body.state)?.events.find(isOwn) : inTimeline;
    if (!isResolved && (leave === undefined || leave !== body.timeline.events.at(-1)))
      this.#complain(`the leave of ${roomId} does not end its timeline`);
    if (leave === undefined && known?.section !== 'join')
      this.#complain(`nothing was told of ${roomId}, which was left`);
    if (leave !== undefined && leave.content.membership !== 'leave' && leave.content.membership !== 'ban') {
      this.#complain(`${roomId} is among the rooms that were left, with membership ${leave.content.membership}`);
    }
    if (leave !== undefined && !isResolved) {
      if (this.#leavesShown.has(leave.event_id) && !isFull) this.#complain(`the leave of ${roomId} is shown twice`);
      this.#leavesShown.add(leave.event_id);
    }
    if (known?.section === 'join') {
      if (isFull) known.state.clear();
      this.#take(roomId, known, body);
      known.section = 'leave';
    }
  }

  #take(roomId: string, room: KnownRoom, body: RoomBody): void {
    const { events, limited } = body.timeline;
    const ids = events.map((event) => event.event_id);
    for (const id of ids) {
      if (room.seen.has(id)) this.#complain(`${id} of ${roomId} came twice`);
      room.seen.add(id);
    }
    room.stretches.push({ ids, limited });
    const field = this.options.stateAfter ? body.state_after : body.state;
    if (field === undefined) this.#complain(`${roomId} came without its state`);
    const told = this.options.stateAfter ? field.events : [...field.events, ...events];
    for (const event of told) if (event.state_key !== undefined) room.state.set(keyOf(event), event.event_id);
  }

  /**
   * Compares what the client knows with the room as it is.
   *
   * @param order ids of all the room's events, oldest first
   * @param state key -> id of the state event
   */
  compare(room: Room, order: readonly string[], state: ReadonlyMap<string, string>): void {
    const { userId, lazy } = this.options;
    const real = room.member(userId)?.membership;
    const known = this.rooms.get(room.roomId);
    if ((real === 'join') !== (known?.section === 'join'))
      this.#complain(`membership of ${room.roomId} is ${real}, not ${known?.section}`);
    if ((real === 'invite') !== this.invites.has(room.roomId))
      this.#complain(`membership of ${room.roomId} is ${real}; invites are wrong`);
    if (known === undefined) return;
    this.#compareTimeline(room, known, order);
    if (known.section !== 'join') return;
    // A state event that loses against another branch still comes in the timeline, and who takes state from there believes it: that is
    // why `state_after` was added to the specification (v1.16).
    if (this.options.forks === true && !this.options.stateAfter) return;
    for (const [key, id] of known.state) {
      if (this.options.forks === true && !state.has(key)) continue;
      if (state.get(key) !== id) this.#complain(`${key} of ${room.roomId} is ${state.get(key)}, not ${id}`);
    }
    for (const key of state.keys()) {
      if (!known.state.has(key) && !(lazy && key.startsWith('m.room.member\0')))
        this.#complain(`${key} of ${room.roomId} is unknown`);
    }
  }

  #compareTimeline(room: Room, known: KnownRoom, order: readonly string[]): void {
    let next = 0;
    let isGap = false;
    for (const { ids, limited } of known.stretches) {
      isGap ||= limited;
      if (ids.length === 0) continue;
      const begin = order.indexOf(ids[0]!);
      if (ids.some((id, index) => order[begin + index] !== id))
        this.#complain(`a timeline of ${room.roomId} has holes: ${ids.join(' ')}`);
      if (begin < next) this.#complain(`a timeline of ${room.roomId} goes back`);
      if (begin > next && !isGap) this.#complain(`${order.slice(next, begin).join(' ')} of ${room.roomId} never came`);
      // A client whose user joins a room has no timeline that this one continues.
      const beginsAnew = next === 0 && known.isNew;
      if (begin === next && limited && !beginsAnew)
        this.#complain(`a timeline of ${room.roomId} is limited although nothing is missing`);
      next = begin + ids.length;
      isGap = false;
    }
    if (known.section === 'join' && next !== order.length && !isGap) {
      this.#complain(`${order.slice(next).join(' ')} of ${room.roomId} never came`);
    }
  }
}
