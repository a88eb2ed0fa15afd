/** What a step did: how many items it processed, and where the next begins: undefined at the end. */
export interface UpdateStep {
  readonly items: number;
  readonly after: string | undefined;
}

/** A step over what was read in order of its ids. @param most how many were asked for: fewer are the last */
export const stepOver = (ids: readonly (number | string)[], most: number): UpdateStep => ({
  items: ids.length,
  after: ids.length < most ? undefined : String(ids.at(-1)),
});

/** Work over all that is stored, in small steps. A step may be done twice. */
export interface BackgroundUpdate {
  /** As administrators ask for it. */
  readonly name: string;
  /**
   * Does a step.
   *
   * @param after what the step before it returned; the empty text at first
   */
  step(after: string): Promise<UpdateStep>;
}
