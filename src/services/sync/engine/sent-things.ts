import type { PositionVector } from '#src/protocol/wire/position.ts';

/** Answers of which it is not known yet whether they arrived. */
const MAX_ANSWERS = 4;

interface Answer<V> {
  readonly upTo: PositionVector;
  readonly sent: Map<string, V>;
}

/**
 * What one client was sent, by key: only what was in answers that the client acknowledged by coming with the positions at their ends. An
 * answer can get lost, and what is sent in place of it need not be the same. Bounded, the oldest being forgotten first; takes no room until
 * there is something to remember.
 */
export class SentThings<V> {
  readonly #most: number;
  readonly #sent = new Map<string, V>();
  #answers: Answer<V>[] | undefined;

  /** @param most how many are remembered */
  constructor(most: number) {
    this.#most = most;
  }

  /** The client came with a position: it has the answers that ended there. */
  acknowledge(since: PositionVector): void {
    if (this.#answers === undefined) return;
    const others = this.#answers.filter(({ upTo }) => !isSame(upTo, since));
    if (others.length === this.#answers.length) return;
    for (const { sent, upTo } of this.#answers)
      if (isSame(upTo, since)) for (const [key, value] of sent) put(this.#sent, key, value, this.#most);
    this.#answers = others.length === 0 ? undefined : others;
  }

  /** Whether the client has this. */
  has(key: string, value: V): boolean {
    return this.#sent.get(key) === value;
  }

  /** What the client has, by key. */
  get keys(): Iterable<string> {
    return this.#sent.keys();
  }

  /** Notes what the answer that ends at `upTo` has, unless the client has it already. @returns whether it does */
  add(key: string, value: V, upTo: PositionVector): boolean {
    if (this.has(key, value)) return true;
    const answers = (this.#answers ??= []);
    let answer = answers.at(-1);
    if (answer?.upTo !== upTo) {
      if (answers.length === MAX_ANSWERS) answers.shift();
      answers.push((answer = { upTo, sent: new Map() }));
    }
    put(answer.sent, key, value, this.#most);
    return false;
  }

  /** Forgets what the client is to throw away. */
  delete(key: string): void {
    this.#sent.delete(key);
    for (const { sent } of this.#answers ?? []) sent.delete(key);
  }
}

const isSame = (one: PositionVector, other: PositionVector): boolean =>
  one === other || one.every((position, shard) => position === other[shard]);

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
