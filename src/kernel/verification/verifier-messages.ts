/** A text with large JSON in it, whose signatures (and keys, as below) are verified as it came, or with the JSON in its canonical form. */
export interface LargeTextRequest {
  readonly id: number;
  readonly before: string;
  readonly json: Uint8Array;
  readonly after: string;
  readonly signatures: Uint8Array;
  readonly keys: Uint8Array;
}

/** Checks that are sent to a thread: signatures (64 bytes each) and keys (32 each) lie one behind the other. */
export interface VerifierRequest {
  readonly id: number;
  readonly texts: readonly string[];
  readonly signatures: Uint8Array;
  readonly keys: Uint8Array;
}

/** What it found: 1 for a good signature, 0 for a bad one. */
export interface VerifierReply {
  readonly id: number;
  readonly verdicts: Uint8Array;
}
