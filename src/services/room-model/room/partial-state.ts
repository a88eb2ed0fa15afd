/**
 * What is known of a room whose state was not told as a whole when it was joined: everything but memberships, until these have come.
 * Server-Server API, `PUT /send_join`, `omit_members`.
 */
export interface PartialState {
  /** Id of the state before the join, as far as it was told. */
  readonly state: number;
  /** Position of the join. */
  readonly join: number;
  /** The server that told it. */
  readonly via: string;
  /** The servers in the room before the join. */
  readonly servers: ReadonlySet<string>;
  /** Ids of the events that the join comes after: the state after them is the one before it. */
  readonly before: ReadonlySet<string>;
}
