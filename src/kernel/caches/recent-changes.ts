/** Recent changes, for caches of derived values that are updated by what changed since. */
export class RecentChanges<T> {
  readonly #most: number;
  #changed: T[] = [];
  #version = 0;

  /** @param most changes that are remembered at least */
  constructor(most: number) {
    this.#most = most;
  }

  /** Counts the changes. */
  get version(): number {
    return this.#version;
  }

  note(changed: T): void {
    this.#version += 1;
    this.#changed.push(changed);
    if (this.#changed.length >= 2 * this.#most) this.#changed = this.#changed.slice(-this.#most);
  }

  /** What changed after a version, the latest last; undefined when that is too long ago to say. */
  since(version: number): readonly T[] | undefined {
    const count = this.#version - version;
    if (count > this.#changed.length) return undefined;
    return count === 0 ? [] : this.#changed.slice(-count);
  }
}
