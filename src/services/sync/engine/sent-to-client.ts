import { isSamePosition, type SyncPosition } from '#src/protocol/wire/position.ts';

/** Responses that are not acknowledged yet. */
const MAX_ANSWERS = 4;

/** An answer to one request of a client. */
export interface Answer {
  /** Its end position, once complete: the client acknowledges it with this position. */
  end: SyncPosition | undefined;
}

interface Pending<V> {
  readonly answer: Answer;
  readonly sent: Map<string, V>;
}

/**
 * What one client was sent, by key: only what was in answers that the client acknowledged by coming with the positions at their ends. An
 * response can get lost, and its replacement may differ. Bounded, the oldest are dropped first; allocates nothing until
 * there is something to remember.
 */
export class SentToClient<V> {
  readonly #most: number;
  readonly #sent = new Map<string, V>();
  #pending: Pending<V>[] | undefined;

  /** @param most how many are remembered */
  constructor(most: number) {
    this.#most = most;
  }

  /** The client came with a position: it has the answers that ended there. */
  acknowledge(since: SyncPosition): void {
    if (this.#pending === undefined) return;
    const isMeant = ({ answer: { end } }: Pending<V>): boolean => end !== undefined && isSamePosition(end, since);
    const others = this.#pending.filter((one) => !isMeant(one));
    if (others.length === this.#pending.length) return;
    for (const one of this.#pending)
      if (isMeant(one)) for (const [key, value] of one.sent) put(this.#sent, key, value, this.#most);
    this.#pending = others.length === 0 ? undefined : others;
  }

  /** Whether the client has this. */
  has(key: string, value: V): boolean {
    return this.#sent.get(key) === value;
  }

  /** What the client has, by key. */
  get keys(): Iterable<string> {
    return this.#sent.keys();
  }

  /** Notes what an answer has, unless the client has it already. @returns whether it does */
  add(key: string, value: V, answer: Answer): boolean {
    if (this.has(key, value)) return true;
    const pending = (this.#pending ??= []);
    let last = pending.at(-1);
    if (last?.answer !== answer) {
      if (pending.length === MAX_ANSWERS) pending.shift();
      pending.push((last = { answer, sent: new Map() }));
    }
    put(last.sent, key, value, this.#most);
    return false;
  }

  /** Forgets everything: the client starts anew. */
  delete(key: string): void {
    this.#sent.delete(key);
    for (const { sent } of this.#pending ?? []) sent.delete(key);
  }
}

/** The newest last. */
const put = <V>(map: Map<string, V>, key: string, value: V, most: number): void => {
  map.delete(key);
  map.set(key, value);
  if (map.size <= most) return;
  for (const oldest of map.keys()) {
    map.delete(oldest);
    break;
  }
};
