import { MAIN_THREAD, type ReadPositions } from './room-receipts.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

/** "a maximum of 3 hops is recommended to cover indirect relationships". Client-Server API, "Threaded read receipts". */
const MAX_HOPS = 3;

/** Finds events of a room by their ids. */
type Finder = Pick<EventService, 'find'>;

/** Id of the root of an event's thread, directly or through its relations; undefined for the main timeline. */
export const threadOf = async (events: Finder, room: Room, event: StoredEvent): Promise<string | undefined> =>
  (await relationsOf(events, room, event)).root;

/** The thread of an event, and the related events on the way to its root. */
const relationsOf = async (
  events: Finder,
  room: Room,
  event: StoredEvent,
): Promise<{ readonly root: string | undefined; readonly path: ReadonlySet<string> }> => {
  const path = new Set([event.eventId]);
  let at: StoredEvent | undefined = event;
  for (let hop = 0; hop < MAX_HOPS && at !== undefined; hop++) {
    const { relation }: StoredEvent = at;
    if (relation === undefined) break;
    path.add(relation.eventId);
    // A thread needs its root in the same room.
    if (relation.relType === 'm.thread')
      return { root: (at.flags & EVENT_FLAGS.threaded) === 0 ? undefined : relation.eventId, path };
    at = await events.find(room, relation.eventId);
  }
  return { root: undefined, path };
};

/** Knows which events are thread roots. */
export interface Threads {
  hasReplies(room: Room, root: StoredEvent): Promise<boolean>;
}

/**
 * Checks that a receipt for `event` may name this thread: `main` for the main timeline, else the root of the event's thread; a root and its relations may name
 * the thread, the root itself and what relates to it. An event that nobody replied to in a thread is no thread.
 *
 * @throws MatrixError M_INVALID_PARAM
 */
export const assertInThread = async (
  events: Finder,
  threads: Threads,
  room: Room,
  event: StoredEvent,
  thread: string,
): Promise<void> => {
  const { root, path } = await relationsOf(events, room, event);
  if (thread === MAIN_THREAD ? root === undefined : root === thread) return;
  if (root === undefined && path.has(thread)) {
    const itself = event.eventId === thread ? event : await events.find(room, thread);
    if (itself !== undefined && (await threads.hasReplies(room, itself))) return;
  }
  throw new MatrixError('M_INVALID_PARAM', `The event ${event.eventId} is not in the thread ${thread}.`);
};

/** Whether a receipt of the user covers an event, in its thread or without one. */
export const hasRead = (
  event: StoredEvent,
  root: string | undefined,
  positions: ReadPositions | undefined,
): boolean => {
  if (positions === undefined) return false;
  const { main = 0, threads, threadsFloor, unthreaded = 0 } = positions;
  const inThread = root === undefined ? main : Math.max(threadsFloor, threads.get(root) ?? 0);
  return event.nid <= Math.max(unthreaded, inThread);
};
