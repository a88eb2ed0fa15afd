import type { Timers } from '#src/kernel/timers.ts';
import type { Asked } from '#src/remote/federation/history-api.ts';

/** How long a server is waited for until the next one is asked as well. */
const NEXT_AFTER_MS = 3_000;

/** An answer of a server that can be used. */
export interface FirstAnswer<T> {
  readonly server: string;
  readonly value: T;
}

/**
 * Asks servers the same, one after the other, and yields good answers as they come: the next server is asked when the ones before have refused,
 * were of no use, or have said nothing for a while. What is under way when nothing more is wanted is aborted.
 *
 * @param signal ends all of it
 */
export async function* firstAnswers<T>(
  timers: Timers,
  servers: readonly string[],
  ask: (server: string, signal: AbortSignal) => Promise<Asked<T>>,
  signal: AbortSignal,
): AsyncGenerator<FirstAnswer<T>, void, undefined> {
  const giving = new AbortController();
  const stop = (): void => giving.abort();
  if (signal.aborted) return;
  signal.addEventListener('abort', stop);
  const asked = new Map<string, Promise<{ readonly server: string; readonly answer: Asked<T> }>>();
  const rest = servers.values();
  try {
    for (let next = rest.next(); next.done !== true || asked.size > 0; next = rest.next()) {
      if (next.done !== true) {
        const server = next.value;
        asked.set(
          server,
          ask(server, giving.signal).then((answer) => ({ server, answer })),
        );
      }
      // When the last one is asked, all that is left is to wait.
      const { promise: late, resolve } = Promise.withResolvers<undefined>();
      const timer = next.done === true ? undefined : timers.after(NEXT_AFTER_MS, () => resolve(undefined));
      const first = await Promise.race([...asked.values(), late]).finally(() => timer?.cancel());
      if (signal.aborted) return;
      if (first === undefined) continue;
      asked.delete(first.server);
      if (first.answer.ok) yield { server: first.server, value: first.answer.value };
    }
  } finally {
    signal.removeEventListener('abort', stop);
    giving.abort();
  }
}
