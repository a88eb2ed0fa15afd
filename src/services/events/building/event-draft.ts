import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { MentionRow } from '#src/storage/events/event-rows.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';

/** An event that somebody on this server wants to send. */
export interface EventDraft {
  readonly type: string;
  readonly sender: string;
  readonly content: JsonObject;
  readonly stateKey?: string;
  /** Id of the event to redact; only with type `m.room.redaction`. */
  readonly redacts?: string;
  /** Milliseconds since the epoch; now, when left out. Application services may choose it. */
  readonly originServerTs?: number;
  /** The delayed event that is sent: written as sent in the same commit. */
  readonly delayId?: string;
  /** The device that sends it, and its transaction id, as `sent-by.ts` writes them. */
  readonly sentBy?: string;
  /** Milliseconds, 0 to 3 600 000, for which it is to be a sticky event (MSC4354). */
  readonly stickyDurationMs?: number;
}

/** The transaction id under which a device sent an event. */
export interface Transaction {
  readonly userId: string;
  readonly deviceId: string | undefined;
  /** The endpoint with its path parameters but the transaction id. */
  readonly scope: string;
  readonly txnId: string;
}

/** An event that has just been committed, with the change of membership that it made. */
export interface CommittedEvent {
  readonly event: StoredEvent;
  readonly member: { readonly before: Member | undefined; readonly after: Member } | undefined;
  /** Those for whom it notifies otherwise than its class says. */
  readonly mentions: readonly Pick<MentionRow, 'user' | 'kind'>[];
  /** Events that came before it relate to it. */
  readonly wasAwaited?: boolean;
}

/** What listeners to the stream of room events are told, once for each commit and room, in order. */
export interface CommittedEvents {
  readonly room: Room;
  readonly events: readonly CommittedEvent[];
  /** Memberships that changed because branches of the room's history were resolved, not by an event of this commit. */
  readonly resolvedMembers?: readonly { readonly before: Member | undefined; readonly after: Member }[];
}
