import { type Edu, type EduSource, NO_EDUS, type TakenEdus } from './edu-source.ts';

/** All EDUs for a destination, those of the first source first. */
export class EduSources implements EduSource {
  readonly #sources: readonly EduSource[];

  constructor(sources: readonly EduSource[]) {
    this.#sources = sources;
  }

  has(destination: string): boolean {
    return this.#sources.some((source) => source.has(destination));
  }

  async take(destination: string, limit: number): Promise<TakenEdus> {
    const taken: TakenEdus[] = [];
    const edus: Edu[] = [];
    for (const source of this.#sources) {
      if (edus.length >= limit) break;
      const some = await source.take(destination, limit - edus.length);
      if (some === NO_EDUS) continue;
      taken.push(some);
      edus.push(...some.edus);
    }
    if (taken.length === 0) return NO_EDUS;
    return {
      edus,
      identity: taken.flatMap(({ identity }) => identity),
      holdsEventsBack: taken.some(({ holdsEventsBack }) => holdsEventsBack),
      async delivered() {
        for (const some of taken) await some.delivered();
      },
    };
  }

  away(destination: string): void {
    for (const source of this.#sources) source.away(destination);
  }

  async kept(): Promise<readonly string[]> {
    const kept = await Promise.all(this.#sources.map((source) => source.kept?.() ?? Promise.resolve([])));
    return [...new Set(kept.flat())];
  }

  async forget(destination: string): Promise<void> {
    for (const source of this.#sources) await source.forget(destination);
  }
}
