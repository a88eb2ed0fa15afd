export interface ReceiptEntry {
  readonly userId: string;
  readonly kind: 'm.read' | 'm.read.private';
  readonly thread: string | undefined;
  readonly eventId: string;
  readonly ts: number;
  readonly pos: number;
}

type ReceiptMap = Record<string, Record<string, Record<string, { ts: number; thread_id?: string }>>>;

/**
 * The content of `m.receipt`: event -> kind -> user -> receipt. Where one user has a threaded and an unthreaded receipt at the same
 * event, the unthreaded one is kept: it covers the thread as well. Client-Server API, "Receipts".
 *
 * @returns JSON text
 */
export const receiptContent = (receipts: readonly ReceiptEntry[]): string => {
  const content: ReceiptMap = {};
  for (const { eventId, kind, userId, ts, thread } of receipts) {
    const kinds = (content[eventId] ??= {});
    const users = (kinds[kind] ??= {});
    const before = users[userId];
    if (before !== undefined && before.thread_id === undefined) continue;
    users[userId] = thread === undefined ? { ts } : { ts, thread_id: thread };
  }
  return JSON.stringify(content);
};
