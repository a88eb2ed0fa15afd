/**
 * The partial state of a room: everything but memberships, until these have been fetched.
 * Server-Server API, `PUT /send_join`, `omit_members`.
 */
export interface PartialState {
  /** Id of the state before the join, as far as it is known. */
  readonly state: number;
  /** Position of the join. */
  readonly join: number;
  /** The server that the room was joined through. */
  readonly via: string;
  /** The servers in the room before the join. */
  readonly servers: ReadonlySet<string>;
  /** Ids of the events that the join comes after: the state after them is the one before it. */
  readonly before: ReadonlySet<string>;
  /** Why the server that was asked last for the rest did not tell it; undefined before one was. */
  failure?: { readonly server: string; readonly error: string };
}
