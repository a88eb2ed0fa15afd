import type { StickyWrite } from './sticky-writes.ts';

// What a batch of events writes, table by table.

export interface EventRow {
  readonly room: number;
  readonly nid: number;
  readonly topo: number;
  readonly eventId: Buffer;
  readonly type: number;
  readonly skey: number | null;
  readonly sender: number;
  readonly ts: number;
  /** Id of the state before the event. */
  readonly state: number;
  readonly prev: readonly number[];
  readonly auth: readonly number[];
  /** Position of the event that it relates to, or that event's id where the position is not in memory. */
  readonly rel: number | Buffer | null;
  readonly relType: number | null;
  /** The state event whose place it takes. */
  readonly replaces: number | null;
  /** The room's state after the event was taken in, where the event is not all that changed it. */
  readonly currentState: number | null;
  readonly flags: number;
  /** The delayed event that it was. */
  readonly delayId?: string | undefined;
  /** The device that sent it, and its transaction id, as `services/events/sent-by.ts` writes them. */
  readonly sentBy?: string | undefined;
  readonly json: string;
}

export interface StateDeltaRow {
  readonly nid: number;
  readonly room: number;
  /** How many changes lie between this state and the empty one at the root of its chain. */
  readonly seq: number;
  /** The rows before this one, its entries but memberships, and its memberships, as `protocol/wire/packed-state.ts` packs them. */
  readonly chain: Buffer;
  readonly others: Buffer;
  readonly members: Buffer;
}

export interface MemberRow {
  readonly room: number;
  readonly user: number;
  readonly membership: number;
  readonly event: number;
  readonly since: number;
  readonly local: boolean;
}

export interface RoomTailRow {
  readonly room: number;
  readonly extremities: readonly number[];
  readonly state: number;
  readonly depth: number;
  readonly lastPos: number;
}

export interface NewRoomRow {
  readonly nid: number;
  readonly roomId: string;
  readonly version: string;
  readonly shard: number;
  readonly creator: number;
  readonly roomType: string | null;
  readonly isPublic: boolean;
  readonly createdTs: number;
}

export interface TxnRow {
  readonly key: string;
  readonly eventId: string;
  readonly day: number;
}

export interface MentionRow {
  readonly user: number;
  readonly room: number;
  readonly pos: number;
  readonly thread: number | null;
  readonly kind: number;
}

/** A stored event whose JSON is replaced by its redacted form. */
export interface RedactionRow {
  readonly room: number;
  readonly nid: number;
  readonly redactedBy: number;
  readonly json: string;
}

/** A delayed event that has been sent. */
export interface SentDelayedRow {
  readonly delayId: string;
  readonly eventId: string;
  readonly sentTs: number;
}

/** What has to be written together: the events of one request and everything that follows from them. */
export interface EventWrite extends StickyWrite {
  /** Made elsewhere: events that relate to them may be here already. */
  readonly isReceived?: boolean;
  readonly rooms?: readonly NewRoomRow[];
  readonly events: readonly EventRow[];
  readonly deltas?: readonly StateDeltaRow[];
  readonly members?: readonly MemberRow[];
  readonly tails: readonly RoomTailRow[];
  readonly txns?: readonly TxnRow[];
  readonly mentions?: readonly MentionRow[];
  readonly redactions?: readonly RedactionRow[];
  readonly sentDelayed?: readonly SentDelayedRow[];
  readonly aliases?: readonly { alias: string; room: number; creator: string; createdTs: number }[];
}
