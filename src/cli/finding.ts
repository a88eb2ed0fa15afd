/** What was found when one thing was looked at, in a sentence that says what to do where something is wrong. */
export interface Finding {
  readonly verdict: 'ok' | 'note' | 'bad';
  readonly text: string;
}

/** A finding, and of what it is. */
export interface Check extends Finding {
  readonly what: string;
}

export const ok = (text: string): Finding => ({ verdict: 'ok', text });
export const note = (text: string): Finding => ({ verdict: 'note', text });
export const bad = (text: string): Finding => ({ verdict: 'bad', text });
