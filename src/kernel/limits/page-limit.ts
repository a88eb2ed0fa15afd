/** How many entries a page of a list, or a timeline, has. */
export interface PageLimits {
  /** When it is not asked for a number. */
  readonly usual: number;
  /** At most, whatever is asked for. */
  readonly greatest: number;
}

/** The number of entries of a page, for which a caller may have asked for `wanted`. */
export const pageLimit = (wanted: number | undefined, { usual, greatest }: PageLimits): number =>
  Math.min(wanted ?? usual, greatest);
