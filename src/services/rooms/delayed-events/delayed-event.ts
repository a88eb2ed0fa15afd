import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { DelayedEventRecord } from '#src/storage/rooms/delayed-events.ts';

/** A delayed event as its user is shown it. MSC4140. */
export interface DelayedEvent extends Omit<DelayedEventRecord, 'content' | 'error'> {
  readonly content: JsonObject;
  /** The error for which it was not sent. */
  readonly error: JsonObject | null;
}

export const delayedEventOf = (record: DelayedEventRecord): DelayedEvent => ({
  ...record,
  content: JSON.parse(record.content) as JsonObject,
  error: record.error === null ? null : (JSON.parse(record.error) as JsonObject),
});
