import { isPromise } from '#src/kernel/concurrency/steps.ts';
import { type PositionVector, shardOfName, type SyncPosition } from '#src/protocol/wire/position.ts';
import type { Section, SectionRequest, SectionView } from './section.ts';
import type { EphemeralSource } from './sync-sources.ts';
import type { SyncUsers } from './sync-users.ts';

/** The views of sections, in their order; undefined for one that is not open, and so has no changes. */
export type Views = (SectionView | undefined)[];

/** Opens the sections of a response, each from where the client knows it. */
export class SectionOpener {
  readonly #sections: readonly Section[];
  readonly #users: Pick<SyncUsers, 'mayHaveNews'>;
  readonly #ephemeral: EphemeralSource;

  constructor(sections: readonly Section[], users: Pick<SyncUsers, 'mayHaveNews'>, ephemeral: EphemeralSource) {
    this.#sections = sections;
    this.#users = users;
    this.#ephemeral = ephemeral;
  }

  /**
   * Opens the sections that are not open yet, but for those of which it is known that they have nothing to tell; those that have
   * something to read do so at the same time.
   *
   * @param known the version of the user that the client knows, if that is remembered
   * @param isMeant which sections to open; all when left out
   * @returns what is to be waited for; undefined when all are open
   */
  open(
    views: Views,
    common: SectionRequest,
    since: SyncPosition | undefined,
    known: number | undefined,
    isMeant?: (section: Section) => boolean,
  ): Promise<unknown> | undefined {
    let reading: Promise<unknown>[] | undefined;
    for (let index = 0; index < this.#sections.length; index++) {
      const section = this.#sections[index];
      if (section === undefined || views[index] !== undefined || isMeant?.(section) === false) continue;
      const isQuiet = section.opensOnlyWhenWoken === true && known !== undefined;
      if (isQuiet && !this.#users.mayHaveNews(common.user, index, known)) continue;
      const behind = section.cursor === undefined ? undefined : since?.behind?.[section.cursor];
      const view = section.open(behind === undefined ? common : this.#behind(common, section, since, behind));
      if (isPromise(view)) (reading ??= []).push(view.then((opened) => (views[index] = opened)));
      else views[index] = view;
    }
    return reading === undefined ? undefined : Promise.all(reading);
  }

  /** The request for a section that is behind the others. */
  #behind(
    common: SectionRequest,
    { keepsRemainder }: Section,
    since: SyncPosition | undefined,
    behind: number,
  ): SectionRequest {
    if (keepsRemainder === true) return { ...common, rest: since?.ephemeral.run === this.#ephemeral.run ? behind : 0 };
    return { ...common, since: lowered(common.since, shardOfName(common.userId), behind) };
  }
}

const lowered = (vector: PositionVector, shard: number, position: number): PositionVector =>
  vector.with(shard, Math.min(vector[shard] ?? 0, position));
