import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Receipt } from './room-receipts.ts';

/**
 * The content of an `m.receipt` event that carries these receipts.
 *
 * It has one place for each event, kind and user: where a user has a threaded and an unthreaded receipt at the same event, the
 * unthreaded one is shown, since it says more (MSC4102).
 */
export const receiptContent = (receipts: Iterable<Receipt>): JsonObject => {
  const content: Record<string, Record<string, Record<string, { ts: number; thread_id?: string }>>> = {};
  for (const { eventId, kind, userId, thread, ts } of receipts) {
    const users = ((content[eventId] ??= {})[kind] ??= {});
    const shown = users[userId];
    if (shown !== undefined && shown.thread_id === undefined && thread !== undefined) continue;
    users[userId] = thread === undefined ? { ts } : { ts, thread_id: thread };
  }
  return content;
};
