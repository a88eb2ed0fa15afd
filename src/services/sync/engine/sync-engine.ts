import { Gate } from '#src/kernel/gate.ts';
import type { Timers } from '#src/kernel/timers.ts';
import {
  covers,
  encodeSyncToken,
  ORIGIN,
  type PositionVector,
  type SyncPosition,
} from '#src/protocol/wire/position.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import { type PersonalAccount, type PersonalSource, PersonalSections } from './personal-sections.ts';
import { resumedRooms } from './resumed-rooms.ts';
import type { RoomPlan } from './room-plan.ts';
import type { RoomSections } from './room-sections.ts';
import type { StateReader } from './state-window.ts';
import type { SyncFilter, SyncFilters } from './sync-filter.ts';
import type { SyncRequest, SyncResult } from './sync-request.ts';
import type { StrippedStateSource } from './sync-sources.ts';
import type { SyncUser } from './sync-user.ts';
import type { SyncUsers } from './sync-users.ts';

/**
 * First syncs computed at once. When everybody comes back together after an outage, more of them would only wait for each other's
 * database connections and hold all of it in memory.
 */
const LARGE_AT_ONCE = 8;

export interface SyncEngineOptions {
  readonly users: SyncUsers;
  readonly rooms: RoomRegistry;
  readonly events: EventService;
  readonly writer: Writer;
  readonly timers: Timers;
  readonly filters: SyncFilters;
  readonly sections: RoomSections;
  readonly states: StateReader;
  readonly personal: PersonalSource;
  readonly stripped: StrippedStateSource;
}

/** What is to be told, fixed in one turn of the event loop: everything up to one position, whatever happens while it is read. */
interface SyncPlan {
  readonly position: SyncPosition;
  readonly since: PositionVector;
  readonly isInitial: boolean;
  readonly joined: readonly RoomPlan[];
  readonly left: ReadonlyMap<number, Member>;
  readonly invited: readonly number[];
  readonly knocked: readonly number[];
}

/**
 * The engine behind /sync and the WebSocket API: given a position, everything that a user is to be told since then, and the
 * position up to which that is. Client-Server API, "Syncing".
 */
export class SyncEngine {
  readonly #options: SyncEngineOptions;
  readonly #personal: PersonalSections;
  readonly #large = new Gate(LARGE_AT_ONCE);

  constructor(options: SyncEngineOptions) {
    this.#options = options;
    this.#personal = new PersonalSections(options.personal);
  }

  /** Answers at once when there is news, else waits for some until the timeout. */
  async sync(request: SyncRequest): Promise<SyncResult> {
    const user = await this.#options.users.open(request.userId);
    const filter = this.#options.filters.of(request.filter);
    if (request.since === undefined || request.fullState) user.forgetSentMembers(request.deviceId ?? '');
    const release = user.hold();
    const isLarge = request.since === undefined || request.fullState;
    let over = request.timeout <= 0 || request.since === undefined || request.fullState;
    const timer = over
      ? undefined
      : this.#options.timers.after(request.timeout, () => {
          over = true;
          user.wake();
        });
    try {
      for (;;) {
        const { version } = user;
        const result = await (isLarge
          ? this.#large.run(() => this.#compute(user, request, filter))
          : this.#compute(user, request, filter));
        if (!result.isEmpty || over || request.signal.aborted) return result;
        // What came while we computed was not in the answer: no waiting then.
        if (user.version === version) await this.#news(user, request.signal, () => over);
      }
    } finally {
      timer?.cancel();
      release();
    }
  }

  #news(user: SyncUser, signal: AbortSignal, isOver: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted || isOver()) {
        resolve();
        return;
      }
      const { version } = user;
      const done = (): void => {
        stop();
        signal.removeEventListener('abort', done);
        resolve();
      };
      // The timeout of another request of the same user wakes everybody, too.
      const stop = user.addWaiter(() => {
        if (user.version !== version || isOver()) done();
      });
      signal.addEventListener('abort', done, { once: true });
    });
  }

  async #compute(user: SyncUser, request: SyncRequest, filter: SyncFilter): Promise<SyncResult> {
    const account = await this.#personal.open(user, request.userId);
    const plan = this.#plan(user, request, filter, account);
    const ignored = account.ignoredUsers();
    const left = plan.left.size === 0 ? [] : await this.#leftRooms(user, request, plan, filter);
    const { personal, states } = this.#options;
    const joined = plan.isInitial
      ? plan.joined
      : await resumedRooms(user.userId, plan, { loader: personal.loader, personal: this.#personal, states });
    const sections = await this.#options.sections.build([...joined, ...left], user, request, filter, ignored);
    await this.#personal.prepare(user.userId, plan.joined);
    const parts: string[] = [];
    let isEmpty = true;

    const join: string[] = [];
    const leave: string[] = [];
    for (const section of sections) {
      const { room } = section.plan;
      if (section.plan.section === 'leave') {
        // A resolution ended what was no stay, without an event.
        if (section.plan.onlyLeave && section.isEmpty) continue;
        leave.push(`${JSON.stringify(room.roomId)}:{${section.json},"account_data":{"events":[]}}`);
        continue;
      }
      const personal = await this.#personal.ofRoom(
        account,
        section.plan,
        plan.position,
        plan.since,
        plan.isInitial,
        request,
        filter,
      );
      if (section.isEmpty && personal.isEmpty) continue;
      join.push(`${JSON.stringify(room.roomId)}:{${section.json},${personal.json}}`);
    }
    const invited = plan.invited.length === 0 || account.blocksInvites() ? [] : plan.invited;
    const invite = await this.#stripped(user, invited, 'invite_state', ignored);
    const knock = await this.#stripped(user, plan.knocked, 'knock_state', new Set());
    const rooms = [
      ['join', join],
      ['invite', invite],
      ['knock', knock],
      ['leave', leave],
    ] as const;
    const roomsJson = rooms
      .filter(([, entries]) => entries.length > 0)
      .map(([name, entries]) => `"${name}":{${entries.join(',')}}`);
    if (roomsJson.length > 0) {
      isEmpty = false;
      parts.push(`"rooms":{${roomsJson.join(',')}}`);
    }
    const global = this.#personal.global(account, plan.position, plan.since, plan.isInitial, request, filter);
    if (global !== '') {
      isEmpty = false;
      parts.push(global);
    }
    const body = `{"next_batch":"${encodeSyncToken(plan.position)}"${parts.map((part) => `,${part}`).join('')}}`;
    return { body, next: plan.position, isEmpty: isEmpty && !plan.isInitial };
  }

  /** Runs in one turn of the event loop. */
  #plan(user: SyncUser, request: SyncRequest, filter: SyncFilter, account: PersonalAccount): SyncPlan {
    const { writer } = this.#options;
    const vector = writer.committed();
    const position: SyncPosition = { vector, ephemeral: this.#personal.ephemeralNow() };
    const isInitial = request.since === undefined;
    const since = request.since?.vector ?? ORIGIN;
    const joined: RoomPlan[] = [];
    const left = new Map<number, Member>();
    const invited: number[] = [];
    const knocked: number[] = [];
    const personal = this.#personal.changedRooms(account, position, request);
    for (const [nid, member] of user.memberships) {
      if (member.membership === 'join') {
        const room = user.joined.get(nid);
        if (room === undefined || !filter.room(room.roomId)) continue;
        const isNew = isInitial || !covers(since, member.since);
        const news =
          isNew ||
          request.fullState ||
          !covers(since, room.lastPosition) ||
          personal.has(nid) ||
          !covers(since, account.receiptsOf(room)?.latest ?? 0);
        if (!news) continue;
        joined.push({
          room,
          member,
          section: 'join',
          isFull: isNew || request.fullState,
          isReturned: false,
          after: isNew ? 0 : (since[room.shard] ?? 0),
          upTo: vector[room.shard] ?? 0,
          end: room.stateChain,
          onlyLeave: false,
        });
        continue;
      }
      const isNews = isInitial ? !member.forgotten : !covers(since, member.since);
      if (member.membership === 'invite') {
        if (isNews) invited.push(nid);
      } else if (member.membership === 'knock') {
        if (isNews) knocked.push(nid);
      } else if (isNews && (!isInitial || filter.includeLeave)) left.set(nid, member);
      else if (request.fullState && filter.includeLeave && !member.forgotten) left.set(nid, member);
    }
    return { position, since, isInitial, joined, left, invited, knocked };
  }

  /**
   * Rooms that the user left: they are shown as they were at the leave, whatever became of the user there afterwards. Of a room in
   * which they never were, only that they were turned away, or turned away from it.
   */
  async #leftRooms(user: SyncUser, request: SyncRequest, plan: SyncPlan, filter: SyncFilter): Promise<RoomPlan[]> {
    const { rooms, sections, states } = this.#options;
    const loaded = [...(await rooms.load([...plan.left.keys()])).values()].filter((room) => {
      // Only the room knows that it was forgotten just now. The leave is still told to who has not seen it.
      const member = room.member(user.userId);
      const isForgotten = member?.forgotten === true && (plan.isInitial || covers(plan.since, member.since));
      return filter.room(room.roomId) && !isForgotten;
    });
    const known = plan.isInitial
      ? new Map()
      : await states.statesAt(loaded.map((room) => ({ room: room.nid, upTo: plan.since[room.shard] ?? 0 })));
    const wereThere: { readonly room: Room; readonly member: Member }[] = [];
    for (const room of loaded) {
      const member = plan.left.get(room.nid);
      if (member === undefined) continue;
      if (plan.isInitial || (await this.#personal.wasJoined(room, user.userId, known.get(room.nid))))
        wereThere.push({ room, member });
    }
    const seenUntil = await sections.seenUntil(wereThere);
    const ends = await states.statesAt(
      loaded.map((room) => ({ room: room.nid, upTo: seenUntil.get(room.nid) ?? leftAt(plan.left.get(room.nid)) })),
    );
    const plans: RoomPlan[] = [];
    for (const room of loaded) {
      const member = plan.left.get(room.nid);
      const end = ends.get(room.nid);
      if (member === undefined || end === undefined) continue;
      const until = seenUntil.get(room.nid);
      plans.push({
        room,
        member,
        section: 'leave',
        isFull: plan.isInitial || request.fullState,
        isReturned: false,
        after: until === undefined ? leftAt(member) - 1 : plan.isInitial ? 0 : (plan.since[room.shard] ?? 0),
        upTo: until ?? leftAt(member),
        end,
        onlyLeave: until === undefined,
      });
    }
    return plans;
  }

  async #stripped(
    user: SyncUser,
    nids: readonly number[],
    member: 'invite_state' | 'knock_state',
    ignored: ReadonlySet<string>,
  ): Promise<string[]> {
    if (nids.length === 0) return [];
    const rooms = await this.#options.rooms.load(nids);
    const entries: string[] = [];
    for (const room of rooms.values()) {
      const own = await this.#personal.memberEvent(room, user.userId);
      if (own !== undefined && ignored.has(own.sender)) continue;
      const events = await this.#options.stripped.strippedStateFor(room, user.userId);
      entries.push(`${JSON.stringify(room.roomId)}:{"${member}":{"events":${JSON.stringify(events)}}}`);
    }
    return entries;
  }
}

/** Up to where somebody who left sees the room. Where the resolution of a fork ended a membership its event came before that. */
const leftAt = (member: Member | undefined): number => Math.max(member?.event ?? 0, member?.since ?? 0);
