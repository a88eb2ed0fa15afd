/** Who performs an administrative action, and from where. */
export interface Actor {
  /** Full user id; null: the operator at the command line, or the server itself. */
  readonly userId: string | null;
  readonly deviceId?: string | undefined;
  /** The client's address. */
  readonly ip?: string | undefined;
  readonly via: 'http' | 'cli' | 'server';
}

/** The operator at the command line. */
export const OPERATOR: Actor = { userId: null, via: 'cli' };
