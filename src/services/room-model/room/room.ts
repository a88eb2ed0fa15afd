import { parsePowerLevels, type PowerLevels } from '#src/protocol/auth/power-levels.ts';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { EventRoom, EventStanding, StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { StateChain, type StateChange } from '#src/services/room-model/state/state-chain.ts';
import { BuildingHead, type RoomHead } from './building-head.ts';
import { CompiledAcl } from './compiled-acl.ts';
import { CurrentState, type StateSlot } from './current-state.ts';
import type { EventRing } from './event-ring.ts';
import { MemberTable } from './member-table.ts';
import { type Member, membershipIn } from './membership.ts';
import type { PartialState } from './partial-state.ts';
import { ReceivedGrowth } from './received-growth.ts';
import type { ResolvedChanges } from './resolved-changes.ts';
import { RoomStub } from './room-stub.ts';
import { RoomTurns } from './room-turns.ts';
import { RoomWeight } from './room-weight.ts';
import { StateCompleteness } from './state-completeness.ts';
import type { StickySet } from './sticky-set.ts';

const CREATE = stateMapKey('m.room.create', '');

/** Stands for the create event of a room that this server knows only by an invite or knock: it gives no user power. */
const UNKNOWN_CREATE: Pdu = {
  type: 'm.room.create',
  sender: '',
  content: {},
  origin_server_ts: 0,
  depth: 0,
  prev_events: [],
  auth_events: [],
  hashes: {},
  signatures: {},
};

/** What a room in memory is made of, as it was read. */
export interface RoomParts {
  readonly nid: number;
  readonly roomId: string;
  readonly version: RoomVersion;
  readonly shard: number;
  readonly roomType: string | undefined;
  readonly isPublic: boolean;
  readonly head: RoomHead;
  readonly depth: number;
  readonly lastPosition: number;
  readonly state: Map<string, StateSlot>;
  readonly members: Map<string, Member>;
  readonly ring: EventRing;
  readonly partial?: PartialState | undefined;
  /** The position at which a partial state became complete; 0 for most rooms. */
  readonly fullSince?: number;
  /** The stub of the room, where there is one from before it was evicted. */
  readonly stub?: RoomStub | undefined;
}

/**
 * A room in memory: what readers see (everything up to the last commit), and the head on which new events are built, which may be
 * ahead of it by what is being committed. There is at most one object for each room in a process.
 */
export class Room implements EventRoom {
  /** What stays of it when it is evicted. */
  readonly stub: RoomStub;
  readonly nid: number;
  readonly roomId: string;
  readonly shard: number;
  /** Listed in the room directory. */
  isPublic: boolean;
  readonly ring: EventRing;
  /** Its locks. */
  readonly turns = new RoomTurns();
  /** Its sticky events, once they were asked for. */
  sticky: StickySet | undefined;
  /** Committed: the current state but memberships. */
  readonly #state: CurrentState;
  readonly #members: MemberTable;
  #roomType: string | undefined;
  #committed: RoomHead;
  #depth: number;
  readonly #completeness: StateCompleteness;

  readonly #received = new ReceivedGrowth();
  readonly #weight = new RoomWeight();
  readonly #building: BuildingHead;
  readonly #acl = new CompiledAcl();
  #powerLevels: { readonly from: StoredEvent | undefined; readonly levels: PowerLevels } | undefined;

  constructor(parts: RoomParts) {
    this.nid = parts.nid;
    this.roomId = parts.roomId;
    const standing = {
      version: parts.version,
      lastPosition: parts.lastPosition,
      partial: parts.partial,
      fullSince: parts.fullSince ?? 0,
    };
    this.stub = parts.stub ?? new RoomStub(parts, standing);
    this.stub.update(standing);
    this.shard = parts.shard;
    this.#roomType = parts.roomType;
    this.isPublic = parts.isPublic;
    this.ring = parts.ring;
    this.#state = new CurrentState(parts.state);
    this.#members = new MemberTable(parts.members);
    this.#committed = parts.head;
    this.#building = new BuildingHead(parts.head, parts.depth);
    this.#depth = parts.depth;
    this.#completeness = new StateCompleteness(this.stub, this.#members);
  }

  // What readers see.

  get version(): RoomVersion {
    return this.stub.version;
  }
  get roomType(): string | undefined {
    return this.#roomType;
  }
  /** Whether this server has, or had, the room's state; otherwise it knows the room only by an invite or a knock. */
  get isHere(): boolean {
    return this.#state.slots.has(CREATE);
  }
  /** Whether it was deleted. */
  get isDeleted(): boolean {
    return this.turns.areOver;
  }
  /** Whether a local user is joined: only then do other servers send its events. */
  get isResident(): boolean {
    return this.#members.localJoined > 0;
  }
  /** Position of the newest committed event. */
  get lastPosition(): number {
    return this.stub.lastPosition;
  }
  /** Id of the current state. */
  get stateId(): number {
    return this.#committed.chain.nid;
  }
  get stateChain(): StateChain {
    return this.#committed.chain;
  }
  get joinedCount(): number {
    return this.#members.joined;
  }
  /** How many users of this server are in it. */
  get joinedLocalCount(): number {
    return this.#members.localJoined;
  }
  get invitedCount(): number {
    return this.#members.invited;
  }
  /** How many members of each server are joined, servers without any left out; as of the newest committed event. */
  joinedServers(): ReadonlyMap<string, number> {
    return this.#members.servers.counts;
  }
  /**
   * The servers other than this one that have joined members, or had when it joined, as long as the members are not known. The same array as
   * long as none of them comes or goes.
   */
  remoteServers(): readonly string[] {
    return this.#completeness.servers;
  }
  /** Whether a server takes part: by a joined member, or, as long as the members are not known, because it did when this server joined. */
  hasServer(serverName: string): boolean {
    return this.#completeness.hasServer(serverName);
  }
  /** The partial state; undefined for rooms whose full state is known. */
  get partial(): PartialState | undefined {
    return this.#completeness.partial;
  }
  /** The position at which a partial state became complete; 0 for most rooms. */
  get fullSince(): number {
    return this.#completeness.fullSince;
  }
  /** Resolves when the full state is known; undefined when it is, or when no local user is joined any more, so that it cannot be fetched. */
  whenFull(): Promise<void> | undefined {
    return this.partial === undefined || !this.isResident ? undefined : this.#completeness.whenFull();
  }
  /** How many members are joined; with a partial state how many at least: each server in the room has one. */
  get leastJoined(): number {
    return this.#completeness.leastJoined;
  }
  /** Whether a user's membership is known: always, except with a partial state. */
  knowsMember(userId: string): boolean {
    return this.#completeness.knows(userId);
  }
  /** Whether a user is joined, or may be by a partial state. */
  mayBeJoined(userId: string): boolean {
    return this.#completeness.mayBeJoined(userId);
  }
  /** Whether users of other servers are or were members. */
  get hasRemoteMembers(): boolean {
    return this.#members.remote > 0;
  }
  /** All present and past memberships. */
  get members(): ReadonlyMap<string, Member> {
    return this.#members.all;
  }
  /** Counts the changes of `members`. */
  get membersVersion(): number {
    return this.#members.version;
  }
  /** Users whose membership, name or avatar changed after a version; undefined when that is too long ago. */
  membersChangedSince(version: number): readonly string[] | undefined {
    return this.#members.changedSince(version);
  }
  member(userId: string): Member | undefined {
    return this.#members.get(userId);
  }
  isJoined(userId: string): boolean {
    return this.#members.get(userId)?.membership === 'join';
  }
  /** Current state but memberships: a member event is found through `members`. */
  get state(): ReadonlyMap<string, StateSlot> {
    return this.#state.slots;
  }
  /** About how many bytes the events of `state` have together, as JSON. Goes through all of them the first time, and after a redaction. */
  stateBytes(): number {
    return this.#state.bytes();
  }
  stateEvent(type: string, stateKey = ''): StoredEvent | undefined {
    return this.#state.event(type, stateKey);
  }
  /** A text that the content of a state event has under `member`; undefined for anything else. */
  stateText(type: string, member: string, stateKey = ''): string | undefined {
    const value = this.stateEvent(type, stateKey)?.content[member];
    return typeof value === 'string' ? value : undefined;
  }
  get isEncrypted(): boolean {
    return this.stateEvent('m.room.encryption') !== undefined;
  }
  /** Whether a server may take part, by `m.room.server_acl`. Client-Server API, "Server Access Control Lists". */
  allowsServer(serverName: string): boolean {
    return this.#acl.allows(this.stateEvent('m.room.server_acl'), serverName);
  }
  /** Power levels of the committed state. */
  powerLevels(): PowerLevels {
    const from = this.stateEvent('m.room.power_levels');
    if (this.#powerLevels?.from !== from || this.#powerLevels === undefined) {
      this.#powerLevels = { from, levels: this.parseLevels(from) };
    }
    return this.#powerLevels.levels;
  }
  parseLevels(from: StoredEvent | undefined): PowerLevels {
    const create = this.stateEvent('m.room.create') ?? this.#building.pending(CREATE);
    return parsePowerLevels(this.version, from?.content, create?.pdu ?? UNKNOWN_CREATE);
  }

  // What new events are built on.

  get head(): RoomHead {
    return this.#building.now;
  }
  get headDepth(): number {
    return this.#building.depth;
  }
  /** Changes whenever the head was dropped: what was built on it before is stale. */
  get generation(): number {
    return this.#building.generation;
  }
  /** A state event of the head; for memberships only what is on its way (others have to be loaded). */
  headState(
    type: string,
    stateKey: string,
  ): { readonly nid: number; readonly event: StoredEvent | undefined } | undefined {
    const key = stateMapKey(type, stateKey);
    const pending = this.#building.pending(key);
    if (pending !== undefined) return { nid: pending.nid, event: pending };
    const slot = this.state.get(key);
    if (slot !== undefined) return { nid: slot.event.nid, event: slot.event };
    const member = type === 'm.room.member' ? this.#members.get(stateKey) : undefined;
    return member === undefined || member.event === 0 ? undefined : { nid: member.event, event: undefined };
  }

  /** How many entries the state of the head has beside memberships, and about how many bytes: with what is on its way. */
  headStateSize(): { readonly entries: number; readonly bytes: number } {
    let entries = this.state.size;
    let bytes = this.stateBytes();
    for (const [key, event] of this.#building.allPending) {
      if (event.type === 'm.room.member') continue;
      const before = this.state.get(key)?.event;
      if (before === undefined) entries += 1;
      bytes += event.json.length - (before?.json.length ?? 0);
    }
    return { entries, bytes };
  }

  /** The membership that the head gives a user, if any. */
  headMembership(userId: string): string | undefined {
    const pending = this.#building.pending(stateMapKey('m.room.member', userId));
    return pending === undefined ? this.#members.get(userId)?.membership : membershipIn(pending.content);
  }

  /** Whether something is built on the head that is not committed yet. */
  get isAhead(): boolean {
    return this.#building.now !== this.#committed;
  }

  /** Moves the head on by an event that is about to be queued for writing. */
  advanceHead(event: StoredEvent, change: StateChange | undefined): void {
    this.#building.advance(event, change);
  }

  /** Moves the head to where an event leaves it that was not built on it, and is about to be queued for writing. */
  moveHead(head: RoomHead, depth: number): void {
    this.#building.moveTo(head, depth);
  }

  /** Remembers the head as it is now; what comes back restores it, as long as nothing was queued in between. */
  saveHead(): () => void {
    return this.#building.save();
  }

  /** Goes back to what is committed. Everything that was built on the head since then becomes stale. */
  dropHead(): void {
    this.#building.dropTo(this.#committed, this.#depth);
  }

  /** Makes a committed event visible to readers. */
  apply(
    event: StoredEvent,
    head: RoomHead,
    change: (StateChange & { readonly member: Member | undefined }) | undefined,
  ): void {
    this.#committed = head;
    this.#depth = Math.max(this.#depth, event.topo);
    this.stub.lastPosition = event.nid;
    this.#push(event);
    if (change === undefined || event.stateKey === undefined) return;
    const key = stateMapKey(event.type, event.stateKey);
    this.#building.committed(key, event);
    if (change.member === undefined) {
      this.#state.set(key, { skey: change.skey, event });
      return;
    }
    this.#members.set(change.member);
  }

  /**
   * Makes a committed event visible that was not built on the head: it may lie on a fork, and the state that the room has now may
   * differ from the one before in more than the event.
   *
   * @param isShown false for soft-failed and rejected events: they only move the room's position on
   */
  applyReceived(event: StoredEvent, head: RoomHead, depth: number, changes: ResolvedChanges, isShown: boolean): void {
    this.#committed = head;
    this.#depth = Math.max(this.#depth, depth);
    this.stub.lastPosition = event.nid;
    if (isShown) this.#push(event);
    this.#weight.addMembers(changes.members.length);
    const isOwnJoin = changes.members.some(
      ({ event: nid, local, userId }) => local && nid === event.nid && userId === event.sender,
    );
    if (!isOwnJoin) this.#received.count(changes, this);
    for (const [key, slot] of changes.state) this.#state.set(key, slot);
    for (const member of changes.members) this.#members.set(member);
  }

  /** By how much events of other servers have made the state larger since this was called last: the bytes may be fewer than none. */
  takeReceivedGrowth(): { readonly bytes: number; readonly members: number } {
    return this.#received.take();
  }

  /** Reveals an earlier event that was hidden as soft-failed. @param position the room's newest, at which sync shows it */
  show(event: StoredEvent, position: number): void {
    for (const held of this.#held()) if (held.nid === event.nid) held.accept();
    event.accept();
    this.ring.insert(event);
    this.stub.lastPosition = position;
  }

  /** Serves an event in its redacted form wherever this room holds a copy of it. */
  redacted(target: StoredEvent, json: string, because: StoredEvent): void {
    for (const event of this.#held()) {
      if (event.nid === target.nid && event !== target) event.redact(json, because);
    }
    this.#state.redacted();
    this.#powerLevels = undefined;
  }

  /**
   * Replaces the room's state by that of a `send_join` answer, with the join on top. What this server had of it before, from an earlier
   * membership, is not its state any more.
   *
   * @param members the memberships that change by it
   * @param partial what of the state is missing
   */
  applyImport(
    event: StoredEvent,
    head: RoomHead,
    state: ReadonlyMap<string, StateSlot>,
    members: readonly Member[],
    partial: PartialState | undefined,
  ): void {
    this.#completeness.begin(partial);
    this.#committed = head;
    this.#depth = event.topo;
    this.#building.moveTo(head, event.topo);
    this.stub.lastPosition = event.nid;
    this.#powerLevels = undefined;
    this.#state.replace(state);
    for (const member of members) this.#members.set(member);
    this.#push(event);
    this.#weight.forget();
  }

  #push(event: StoredEvent): void {
    this.ring.push(event);
    this.#weight.addEvent(event.size);
  }

  /** Adds memberships that were missing in the partial state. @param position the room's newest, at which sync shows them */
  applyMembers(position: number, members: readonly Member[]): void {
    this.stub.lastPosition = position;
    this.#weight.addMembers(members.length);
    for (const member of members) this.#members.set(member);
  }

  /**
   * Completes a partial state: requests that wait for it resume.
   *
   * @param head the same as before, with the full state
   * @param rejected positions of events that the full state does not allow
   */
  applyFull(position: number, head: RoomHead, changes: ResolvedChanges, rejected: ReadonlySet<number>): void {
    this.#completeness.complete(position);
    this.stub.lastPosition = position;
    this.#committed = head;
    this.#powerLevels = undefined;
    this.#building.moveTo(head, this.#building.depth);
    for (const event of this.#held()) if (rejected.has(event.nid)) event.reject();
    this.ring.remove(rejected);
    for (const [key, slot] of changes.state) this.#state.set(key, slot);
    for (const member of changes.members) this.#members.set(member);
    this.#weight.forget();
    this.#completeness.endWaiting();
  }

  /** Resumes requests that wait for the full state: it is here, or cannot be fetched any more. */
  endWaiting(): void {
    this.#completeness.endWaiting();
  }

  /** Sets version and type of a room, which were not fully known from an invite or knock. */
  identify(version: RoomVersion, roomType: string | undefined): void {
    this.stub.version = version;
    this.#roomType = roomType;
  }

  /** Sets an out-of-band membership: an invite, a knock, or the end of one, which is no part of the history that this server has. */
  applyOutOfBand(position: number, member: Member): void {
    this.stub.lastPosition = position;
    this.#members.set(member);
  }

  /** Advances the position by a write that does not change the room. */
  moved(position: number): void {
    this.stub.lastPosition = position;
  }

  setMember(member: Member): void {
    this.#members.set(member);
  }

  /** Removes purged events, and detaches others that are only kept for the state. */
  removePurged(gone: ReadonlySet<number>, detached: ReadonlySet<number>): void {
    for (const event of this.#held()) if (detached.has(event.nid)) event.detach();
    this.ring.remove(gone);
    this.ring.remove(detached);
    this.sticky?.remove(gone);
    this.sticky?.remove(detached);
  }

  /** Attaches restored events again, by their positions. */
  attachRestored(restored: ReadonlyMap<number, EventStanding>): void {
    for (const event of this.#held()) {
      const standing = restored.get(event.nid);
      if (standing !== undefined) event.attach(standing);
    }
    this.ring.readAgain(Math.max(...restored.keys()));
  }

  /** Removes the content of these purged events from `prev_content` of the events that replaced them. */
  forgetPrevious(gone: ReadonlySet<number>): void {
    for (const event of this.#held()) {
      if (event.previous !== undefined && gone.has(event.previous.nid)) event.previous = undefined;
    }
  }

  /** Empties the object of a deleted room: references that others still hold find nothing in it, and nothing can be built on it. */
  empty(): void {
    this.#committed = { extremities: [], chain: StateChain.EMPTY };
    this.#depth = 0;
    this.#building.dropTo(this.#committed, 0);
    this.#powerLevels = undefined;
    this.#state.replace(new Map());
    this.#members.clear();
    this.#completeness.clear();
    this.ring.readAgain(this.stub.lastPosition);
    this.sticky = undefined;
    this.isPublic = false;
    this.turns.close();
  }

  #held(): StoredEvent[] {
    const state = [...this.state.values()].map((slot) => slot.event);
    return [...this.ring.events, ...state, ...(this.sticky?.events ?? [])];
  }

  /** Whether it has grown by so much since it was weighed that it should be weighed again. */
  get hasGrown(): boolean {
    return this.#weight.hasGrown;
  }

  /** Rough size in memory, in bytes, as of when `hasGrown` was last so: it costs a look at all of its state. */
  get size(): number {
    if (this.hasGrown)
      this.stub.weight = this.#weight.weigh({
        state: this.state.values(),
        members: this.#members.all.size,
        sizes: [this.#committed.chain.size, this.ring.size, this.sticky?.size ?? 0],
      });
    return this.#weight.bytes;
  }
}
