/** Work over all that is stored, in small steps. A step may be done twice. */
export interface BackgroundUpdate {
  /** As administrators ask for it. */
  readonly name: string;
  /**
   * Does a step.
   *
   * @param after what the step before it returned; the empty text at first
   * @returns how many items it processed, and where the next begins: undefined at the end
   */
  step(after: string): Promise<{ readonly items: number; readonly after: string | undefined }>;
}
