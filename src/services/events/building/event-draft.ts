import type { JobRequest } from '#src/jobs/job-definition.ts';
import type { BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** An event that a user of this server wants to send. */
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
  /**
   * Looks at the room's head in the turn of the event loop in which the event is built on it: what was allowed when the request was
   * checked may not be any more.
   *
   * @throws MatrixError when the event is not allowed by now
   */
  readonly recheck?: ((room: Room) => void) | undefined;
  /**
   * Called once before the event is written, with the event as it will be. The room is not locked meanwhile; when it changes too much the event
   * is built again afterwards, with another id.
   *
   * @throws MatrixError when it must not be written
   */
  readonly check?: ((event: BuiltPdu, roomId: string) => Promise<void>) | undefined;
  /** Jobs that this event makes necessary beside those that follow from any event like it: written in the same statement. */
  readonly jobs?: readonly JobRequest[];
}

/** The transaction id under which a device sent an event. */
export interface Transaction {
  readonly userId: string;
  readonly deviceId: string | undefined;
  /** The sender that has no device (an application service's user); undefined for devices, and for what the server itself sends. */
  readonly client?: string | undefined;
  /** The endpoint with its path parameters but the transaction id. */
  readonly scope: string;
  readonly txnId: string;
}
