/** What is remembered of an event beside its content: bits of `events.flags`. */
export const EVENT_FLAGS = {
  /** Has a state key and took part in the room's state. */
  state: 1,
  /** Failed authorization: never served, never an ancestor of state. */
  rejected: 2,
  /** Valid in its place in the DAG but not against the room's current state: not shown, still an ancestor. */
  softFailed: 4,
  /** Known without its ancestors. */
  outlier: 8,
  /** Notifies a user who has only the default push rules. */
  notifies: 16,
  /** Highlights for every such user (`@room`). */
  highlightsAll: 32,
  /** Part of a thread: `rel` is the thread's root. */
  threaded: 64,
  /** An event of a thread for which only the rules on threads decide: it notifies users who follow the thread. */
  notifiesFollowers: 128,
  /** Events before it did not come: what is told from before it does not join on to it. */
  afterGap: 256,
  /** A membership of a room that this server is not in: an outlier that is shown to the user whose membership it is. */
  outOfBand: 512,
  /** Of another server's user, and sent to the other servers by this one: it let them in, or out. */
  sentOn: 1024,
} as const;

/** Flags of events that no client is shown. */
export const HIDDEN_FLAGS = EVENT_FLAGS.rejected | EVENT_FLAGS.softFailed | EVENT_FLAGS.outlier;
