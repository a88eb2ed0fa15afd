/** Typing and presence are counted, not stored: the count starts anew with every process. */
export interface EphemeralSource {
  readonly run: string;
  readonly current: number;
}
