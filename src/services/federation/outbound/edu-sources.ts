import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { isOfDatabase } from '#src/storage/failures.ts';
import { type Edu, type EduSource, NO_EDUS, type TakenEdus } from './edu-source.ts';

/** All EDUs for a destination, those of the first source first. */
export class EduSources {
  readonly #sources: readonly EduSource[];

  constructor(sources: readonly EduSource[]) {
    this.#sources = sources;
  }

  has(destination: string): boolean {
    return this.#sources.some((source) => source.has(destination));
  }

  /** @param characters of all together, about */
  async take(destination: string, limit: number, characters: number): Promise<TakenEdus> {
    const taken: TakenEdus[] = [];
    const edus: Edu[] = [];
    let left = characters;
    for (const source of this.#sources) {
      if (edus.length >= limit || left <= 0) break;
      const some = await source.take(destination, limit - edus.length, left);
      if (some === NO_EDUS) continue;
      taken.push(some);
      edus.push(...some.edus);
      for (const { content } of some.edus) left -= JSON.stringify(content).length;
    }
    if (taken.length === 0) return NO_EDUS;
    // Not what was taken: this is kept until it has arrived, and the content is not.
    const deliveries = taken.map(({ delivered }) => delivered);
    return {
      edus,
      identity: taken.flatMap(({ identity }) => identity),
      holdsEventsBack: taken.some(({ holdsEventsBack }) => holdsEventsBack),
      async delivered() {
        for (const delivered of deliveries) await delivered();
      },
    };
  }

  /**
   * The first EDU that can be read and written. Those before it are given up.
   *
   * @param characters about so many, unless it has more
   * @param givenUp is told why
   * @throws what the database throws when the fault is its own
   */
  async takeFirst(destination: string, characters: number, givenUp: (err: unknown) => void): Promise<TakenEdus> {
    for (const source of this.#sources)
      while (source.has(destination))
        try {
          const taken = await source.take(destination, 1, characters);
          if (taken.edus.length === 0) break;
          for (const { content } of taken.edus) canonicalJson(content, 'lenient');
          return taken;
        } catch (err) {
          if (isOfDatabase(err)) throw err;
          await source.skip(destination);
          givenUp(err);
        }
    return NO_EDUS;
  }

  away(destination: string): void {
    for (const source of this.#sources) source.away(destination);
  }

  /** Destinations of which something was kept by earlier processes. */
  async kept(): Promise<readonly string[]> {
    const kept = await Promise.all(this.#sources.map((source) => source.kept?.() ?? Promise.resolve([])));
    return [...new Set(kept.flat())];
  }

  async forget(destination: string): Promise<void> {
    for (const source of this.#sources) await source.forget(destination);
  }
}
