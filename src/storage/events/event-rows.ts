import type { Pdu } from '#src/protocol/events/pdu.ts';
import type { GuardedBatch } from '../commit/guarded-batch.ts';

// What a batch of events writes. Which columns it goes to is declared in `event-tables.ts`.

/** An event and its place in its room. Ids are integers, as given by the interner. */
export interface EventRow {
  readonly room: number;
  readonly nid: number;
  readonly topo: number;
  readonly eventId: Buffer;
  readonly pdu: Pdu;
  /** The stored PDU. */
  readonly json: string;
  readonly type: number;
  readonly skey: number | undefined;
  readonly sender: number;
  /** Id of the state before the event. */
  readonly state: number;
  readonly prev: readonly number[];
  readonly auth: readonly number[];
  /** Position of the event that it relates to, or that event's id where the position is not in memory. */
  readonly rel: number | Buffer | undefined;
  readonly relType: number | undefined;
  /** What an annotation says, as a number: two with the same one say the same. Below 2^48. */
  readonly annotation?: number | undefined;
  /** The state event whose place it takes. */
  readonly replaces: number | undefined;
  /** The room's state after the event was accepted, where the event is not all that changed it. */
  readonly currentState: number | undefined;
  readonly flags: number;
  /** The event that redacted it: only events that come out of an archive are stored redacted. */
  readonly redactedBy?: number | undefined;
  /** The id of the delayed event from which it was sent. */
  readonly delayId?: string | undefined;
  /** The device that sent it, and its transaction id, as `services/room-model/event/sent-by.ts` writes them. */
  readonly sentBy?: string | undefined;
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

export interface AliasRow {
  readonly alias: string;
  readonly room: number;
  readonly creator: string;
  readonly createdTs: number;
}

/** A sticky event: how it is delivered. */
export interface StickyRow {
  readonly room: number;
  readonly event: number;
  /** The position by which it is delivered; null for a soft-failed one. */
  readonly pos: number | null;
  /** Milliseconds since the epoch. */
  readonly expires: number;
}

/** A sticky event that was soft-failed and is valid now. */
export interface RevivalRow {
  readonly room: number;
  readonly event: number;
  readonly pos: number;
}

/** A backward extremity: an event that another one comes after, and that is not here. */
export interface MissingPrevRow {
  readonly room: number;
  readonly eventId: Buffer;
  /** Position of the event that names it. */
  readonly referrer: number;
}

/** A redaction of an event that is not here. */
export interface AwaitedRedactionRow {
  readonly room: number;
  readonly target: Buffer;
  /** Position of the redaction. */
  readonly redaction: number;
}

/** The partial state of a room (MSC3706: joined before the whole state was received). */
export interface PartialRoomRow {
  readonly room: number;
  /** Id of the state before the join, without memberships; null once all of it is here. */
  readonly state: number | null;
  readonly join: number;
  readonly via: string;
  /** Lists of texts, as JSON. */
  readonly servers: string;
  readonly before: string;
  /** Since when the room is whole; 0 while it is not, or always was. */
  readonly fullPos: number;
}

/** A row of a state that was written while the state was partial. */
export type RebasedDeltaRow = Pick<StateDeltaRow, 'nid' | 'others' | 'members'>;

/** An event that was accepted by the partial state and is not allowed by the full one. */
export interface RejectionRow {
  readonly room: number;
  readonly nid: number;
}

/** A state reset: the resolution of a fork removed entries of the room's state. */
export interface StateResetRow {
  readonly room: number;
  /** Position of the event with which the fork came. */
  readonly event: number;
  readonly ts: number;
  /** Members who are not joined any more, though no event of theirs or about them says so. */
  readonly members: number;
  /** The power levels are older ones again. */
  readonly power: boolean;
  /** One of the members. */
  readonly example: string | undefined;
}

/** A job that the events cause. */
export interface JobRow {
  readonly job: string;
  readonly payload: unknown;
  readonly createdTs: number;
}

/** Where an event was until now that has another position from now on. */
export interface ReplacedEventRow {
  readonly room: number;
  readonly nid: number;
}

/** An event that a follower is to process, although it has come further than that. */
export interface LateEventRow {
  readonly follower: string;
  readonly room: number;
  readonly event: number;
}

/** What is written together: the events of one request and everything that follows from them. */
export interface EventWrite {
  /** From another server: events that relate to them may be here already. */
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
  readonly aliases?: readonly AliasRow[];
  readonly stickies?: readonly StickyRow[];
  readonly revivals?: readonly RevivalRow[];
  readonly late?: readonly LateEventRow[];
  readonly jobs?: readonly JobRow[];
  readonly missing?: readonly MissingPrevRow[];
  readonly resets?: readonly StateResetRow[];
  readonly awaitedRedactions?: readonly AwaitedRedactionRow[];
  readonly partials?: readonly PartialRoomRow[];
  readonly rebased?: readonly RebasedDeltaRow[];
  readonly rejections?: readonly RejectionRow[];
  /** Outliers and refused events that come into the room's history under new positions, among `events`. */
  readonly replaced?: readonly ReplacedEventRow[];
}

/** Everything that is written in one statement. */
export interface EventBatch extends GuardedBatch {
  readonly writes: readonly EventWrite[];
}
