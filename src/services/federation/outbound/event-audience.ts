import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { covers, type PositionVector, shardOfPosition } from '#src/protocol/wire/position.ts';
import type { Appended, CommittedEvent, RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { isOurs } from './own-events.ts';
import type { PendingRooms } from './pending-rooms.ts';
import { serverChanges } from './server-changes.ts';

export interface EventAudienceOptions {
  readonly stream: RoomEventStream;
  readonly pending: PendingRooms;
  readonly isLocal: (userId: string) => boolean;
  /** Whether this server federates with that one. */
  readonly allows: (serverName: string) => boolean;
  /** Something waits for these servers. */
  readonly wake: (destinations: Iterable<string>) => void;
  /** The same of what must not wait for what comes soon after it. */
  readonly hurry: (destinations: Iterable<string>) => void;
  /** Events wait for their servers to be found: `spread` is to be called soon. */
  readonly wakeSoon: () => void;
  /** An event was heard of, whether it concerns other servers or not. */
  readonly heard: () => void;
  /** A server takes part in a room from an event on. */
  readonly joined: (room: Room, serverName: string) => void;
  /** Whether a room may have events that are sticky. */
  readonly maySticky: (room: Room) => boolean;
}

/** Memberships whose end is sent to the user's server, even if it is not in the room. */
const MEMBERSHIPS_TO_END: ReadonlySet<string> = new Set(['join', 'invite', 'knock']);

const NO_SERVERS: ReadonlyMap<string, number> = new Map();

/**
 * Decides which servers get an event: those in the room before or after it. A message costs one note for its room, however
 * many servers there are; servers are looked through later, for all messages until then.
 * Server-Server API, "Transactions"; "Room events ... sent to all servers in the room".
 */
export class EventAudience {
  readonly #options: EventAudienceOptions;
  /** Rooms with events whose servers have not been noted, with the first and the newest of these events. */
  readonly #unspread = new Map<Room, { readonly first: number; newest: number; isUrgent: boolean }>();
  /** The newest event heard of, in each shard. */
  #heard: number[] = [];

  constructor(options: EventAudienceOptions) {
    this.#options = options;
  }

  /** @param heard up to where the events are known already */
  resume(heard: PositionVector): void {
    this.#heard = [...heard];
  }

  /** @returns stops listening */
  listen(): () => void {
    const { pending, stream } = this.#options;
    const stops = [
      stream.on('appended', (appended) => this.#hear(appended)),
      stream.on('completed', ({ join, room, servers }) => {
        for (const server of servers) this.#join(room, server, join - 1);
        this.#add(room, servers, join - 1, room.lastPosition);
      }),
      stream.on('deleted', ({ room }) => {
        this.#unspread.delete(room);
        pending.forgetRoom(room.nid);
      }),
    ];
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** The newest event heard of, in each shard. */
  get heard(): PositionVector {
    return [...this.#heard];
  }

  /** Notes for each server what waits for it. */
  spread(): void {
    for (const [room, { first, isUrgent, newest }] of this.#unspread) {
      // Before it fails: the others are not to fail with it again and again.
      this.#unspread.delete(room);
      this.#add(room, room.remoteServers(), first - 1, newest, isUrgent);
    }
  }

  /**
   * Computes what is to be sent of a room's events after a position, some of which the process before may have sent already. A server
   * that has left meanwhile is sent its leave, and nothing else: what it may see of the rest is not known any more.
   */
  recall(room: Room, after: number): void {
    const since = new Map<string, number>();
    for (const member of room.members.values()) {
      if (member.local) continue;
      const server = domainOf(member.userId);
      if (server === undefined) continue;
      if (member.membership === 'join') since.set(server, Math.min(member.since, since.get(server) ?? Infinity));
    }
    const { partial } = room;
    for (const server of partial?.servers ?? []) since.set(server, partial?.join ?? 0);
    for (const [server, from] of since) {
      if (from > after) this.#join(room, server, from);
      this.#add(room, [server], Math.max(after, from), room.lastPosition);
    }
    for (const { userId, local, membership, event } of room.members.values()) {
      const server = domainOf(userId);
      if (local || server === undefined || event <= after || since.has(server)) continue;
      if (membership === 'leave' || membership === 'ban') this.#end(room, server, event, event - 1);
    }
  }

  #hear(appended: Appended): undefined {
    const { room, events } = appended;
    for (const { event } of events) {
      const shard = shardOfPosition(event.nid);
      if (!covers(this.#heard, event.nid)) this.#heard[shard] = event.nid;
    }
    this.#options.heard();
    const changes = serverChanges(appended);
    if (room.remoteServers().length === 0 && changes.left.size === 0) {
      this.#assignTargets(room, events);
      return undefined;
    }
    const ours = events.filter(({ event }) => isOurs(event, this.#options.isLocal));
    const [first] = ours;
    const last = ours.at(-1);
    // Other servers authorise events by the state of the room.
    const isUrgent = ours.some(({ event }) => event.isState);
    if (changes.joined.size > 0 || changes.left.size > 0) {
      this.#spreadBefore(room, changes.joined, changes.left.keys());
      for (const [server, nid] of changes.left) this.#leave(room, server, nid, ours);
      for (const [server, nid] of changes.joined) {
        this.#join(room, server, nid);
        if (last !== undefined && last.event.nid > nid) this.#add(room, [server], nid, last.event.nid);
      }
      if (first !== undefined && last !== undefined) {
        const others = room.remoteServers().filter((server) => !changes.joined.has(server));
        this.#add(room, others, first.event.nid - 1, last.event.nid, isUrgent);
      }
    } else if (first !== undefined && last !== undefined) {
      const known = this.#unspread.get(room);
      if (known === undefined) this.#unspread.set(room, { first: first.event.nid, newest: last.event.nid, isUrgent });
      else {
        known.newest = last.event.nid;
        known.isUrgent ||= isUrgent;
      }
      this.#options.wakeSoon();
    }
    this.#assignTargets(room, ours, changes.left);
    return undefined;
  }

  /** Notes what came before servers joined or left. */
  #spreadBefore(room: Room, joined: ReadonlyMap<string, number>, left: Iterable<string>): void {
    const unspread = this.#unspread.get(room);
    if (unspread === undefined) return;
    this.#unspread.delete(room);
    const before = [...room.remoteServers().filter((server) => !joined.has(server)), ...left];
    this.#add(room, before, unspread.first - 1, unspread.newest, unspread.isUrgent);
  }

  /** The last of a server's users left: their leave is the last event that it is sent. */
  #leave(room: Room, server: string, nid: number, ours: readonly CommittedEvent[]): void {
    const [first] = ours;
    if (first !== undefined && first.event.nid <= nid) this.#end(room, server, nid, first.event.nid - 1);
    else if (this.#options.pending.isOpen(server, room.nid)) this.#end(room, server, nid, nid);
  }

  /** "leave/kick/ban" of users who were not in the room, or no longer: their server gets that event, and nothing else. */
  #assignTargets(room: Room, events: readonly CommittedEvent[], left: ReadonlyMap<string, number> = NO_SERVERS): void {
    for (const { event, member } of events) {
      if (member === undefined || member.after.local || !isOurs(event, this.#options.isLocal)) continue;
      const server = domainOf(member.after.userId);
      if (server === undefined || left.has(server) || room.hasServer(server)) continue;
      const { before, after } = member;
      if (after.membership !== 'leave' && after.membership !== 'ban') continue;
      if (MEMBERSHIPS_TO_END.has(before?.membership ?? 'leave')) this.#end(room, server, event.nid, event.nid - 1);
    }
  }

  /** A server is in a room from a position on: of what came before, it is sent the sticky events. MSC4354. */
  #join(room: Room, server: string, at: number): void {
    const { allows, joined, maySticky, pending, wake } = this.#options;
    joined(room, server);
    if (!allows(server) || !maySticky(room)) return;
    pending.join(server, room.nid, at);
    wake([server]);
  }

  #add(room: Room, servers: readonly string[], after: number, newest: number, isUrgent = false): void {
    const { allows, hurry, pending, wake } = this.#options;
    const allowed = servers.filter((server) => allows(server));
    for (const server of allowed) pending.add(server, room.nid, after, newest);
    (isUrgent ? hurry : wake)(allowed);
  }

  #end(room: Room, server: string, upTo: number, after: number): void {
    const { allows, hurry, pending } = this.#options;
    if (!allows(server)) return;
    pending.end(server, room.nid, upTo, after);
    hurry([server]);
  }
}
