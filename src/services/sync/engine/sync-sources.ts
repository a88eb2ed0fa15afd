import type { Subscribable } from '#src/kernel/signal.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Member, Membership } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** One entry of account data as sync shows it. */
export interface AccountDataEntry {
  /** 0 for global account data. */
  readonly roomNid: number;
  readonly type: string;
  /** Content, as JSON text. */
  readonly json: string;
  readonly pos: number;
}

/** A user's account data, in memory. */
export interface UserAccountData {
  entries(): Iterable<AccountDataEntry>;
  changedSince(pos: number): readonly AccountDataEntry[];
}

export interface AccountDataSource {
  load(userId: string): Promise<UserAccountData>;
  readonly changed: Subscribable<{ readonly userId: string }>;
}

export interface ReceiptEntry {
  readonly userId: string;
  readonly kind: 'm.read' | 'm.read.private';
  readonly thread: string | undefined;
  readonly eventId: string;
  readonly ts: number;
  readonly pos: number;
}

/** The receipts of a room, in memory. */
export interface RoomReceiptsView {
  all(): readonly ReceiptEntry[];
  changedSince(pos: number): readonly ReceiptEntry[];
  /** Position of the newest one. */
  readonly latest: number;
}

export interface ReceiptSource {
  /** A room's receipts if they are in memory. */
  peek(room: Room): RoomReceiptsView | undefined;
  /** The receipts of several rooms, in one statement at most. */
  forRooms(rooms: readonly Room[]): Promise<ReadonlyMap<number, RoomReceiptsView>>;
  readonly changed: Subscribable<{ readonly room: Room }>;
}

export interface TypingSource {
  /** Who types, and at which ephemeral count that last changed (0: never). */
  typingIn(roomNid: number): { readonly users: readonly string[]; readonly at: number };
  readonly changed: Subscribable<{ readonly roomNid: number }>;
}

export interface PresenceSource {
  /** The content of `m.presence` for a user, with the ephemeral count at which it last changed; undefined when nothing is known. */
  presenceOf(userId: string): { readonly content: object; readonly at: number } | undefined;
  /** Users whose presence changed after this ephemeral count. */
  changedSince(count: number): readonly string[];
  /** Tells that a user is there. */
  seen(userId: string, presence: 'online' | 'offline' | 'unavailable'): void;
  readonly changed: Subscribable<{ readonly userId: string }>;
}

export interface UnreadTally {
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

export interface VisibilitySource {
  visibleTo(
    room: Room,
    userId: string,
    events: readonly StoredEvent[],
  ): Promise<readonly { readonly event: StoredEvent; readonly membership: Membership }[]>;
  readonly past: {
    /** The position of the event with which somebody ceased to be joined; 0 when they never were. */
    joinedUntil(room: Room, member: Member): Promise<number>;
  };
}

/** What relates to events of timelines. Client-Server API, "Aggregations of child events". */
export interface RelationsSource {
  /** Who relates how to events, by their positions. */
  relationsOf(
    targets: readonly { readonly room: Room; readonly event: StoredEvent }[],
  ): Promise<ReadonlyMap<number, readonly { readonly sender: string; readonly relType: string }[]>>;
  /** Makes known what relates to events of several rooms, in one statement at most. */
  prepare(targets: readonly { readonly room: Room; readonly event: StoredEvent }[]): Promise<void>;
  /** JSON text of `m.relations` by position; the same map for everybody for whom it says the same. */
  bundle(
    room: Room,
    reader: { readonly userId: string; readonly deviceId: string | undefined },
    events: readonly StoredEvent[],
    form: { readonly withRoomId: boolean; readonly ignored: ReadonlySet<string> },
  ): Promise<ReadonlyMap<number, string>>;
}

/** Stripped state for somebody who is invited or knocks. Client-Server API, "Stripped state". */
export interface StrippedStateSource {
  strippedStateFor(room: Room, userId: string): Promise<readonly object[]>;
}

/** Typing and presence are counted, not stored: the count starts anew with every process. */
export interface EphemeralSource {
  readonly run: string;
  readonly current: number;
}
