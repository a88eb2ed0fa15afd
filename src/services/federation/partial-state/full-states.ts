import { setImmediate } from 'node:timers/promises';
import { Gate } from '#src/kernel/limits/gate.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { FederationStream } from '#src/remote/federation/federation-request.ts';
import type { HistoryApi } from '#src/remote/federation/history-api.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { PartialState } from '#src/services/room-model/room/partial-state.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { ServerPolicy } from '#src/services/servers/server-policy.ts';
import type { Database } from '#src/storage/database.ts';
import { partialRooms } from '#src/storage/federation/partial-rooms.ts';
import type { JoinAnswer, JoinAnswerReader } from '#src/services/federation/room-import/join-answer-reader.ts';
import { TooLongAnswerError } from '#src/services/federation/room-import/join-answer-splitter.ts';
import type { RoomCompletion } from './room-completion.ts';

export interface FullStatesOptions {
  readonly database: Database;
  readonly rooms: Pick<RoomRegistry, 'byNid'>;
  readonly loader: EventLoader;
  readonly history: Pick<HistoryApi, 'event' | 'stateIds' | 'stateStream'>;
  readonly reader: JoinAnswerReader;
  readonly completion: RoomCompletion;
  readonly policy: Pick<ServerPolicy, 'allows'>;
  readonly stream: RoomEventStream;
  readonly timers: Timers;
  readonly logger: Logger;
  /** Bytes of an answer at most. */
  readonly maxBytes: number;
  /** Milliseconds for which a join waits for the first attempt. */
  readonly waitMs: number;
}

/** Rooms of which servers are asked at the same time. */
export const ASKED_AT_ONCE = 64;
/** Other servers that are asked in one attempt, after the server of the join. */
const MAX_OTHERS = 4;
/** Servers that are looked at to find so many: the ACL of a room may shut all of them out, and take long for each. */
const MAX_LOOKED_AT = 20;
const FIRST_PAUSE_MS = 5_000;
const MAX_PAUSE_MS = 3_600_000;

/** What is under way for a room. */
interface Task {
  /** The first attempt. */
  readonly first: Promise<void>;
  readonly stop: AbortController;
  /** The attempt that is under way; undefined between two. */
  attempt: Promise<void> | undefined;
  running: Promise<void>;
}

/**
 * Fetches the rest of the state of partially joined rooms: from one server after the other, again and again with growing pauses,
 * over restarts, until the state is complete or no local user is in the room any more. MSC3902.
 */
export class FullStates {
  readonly #options: FullStatesOptions;
  readonly #tasks = new Map<number, Task>();
  readonly #asking = new Gate(ASKED_AT_ONCE);
  /** Rooms whose oversized state was logged. */
  readonly #tooLong = new WeakSet<PartialState>();
  #isClosing = false;

  constructor(options: FullStatesOptions) {
    this.#options = options;
    options.stream.on('appended', ({ room }) => {
      if (room.partial === undefined || room.isResident) return;
      // A server that is not in the room gets no answer.
      this.#tasks.get(room.nid)?.stop.abort();
      room.endWaiting();
    });
  }

  /** Resumes what an earlier process left. */
  async start(): Promise<void> {
    const { database, rooms } = this.#options;
    for (const nid of await partialRooms(database)) {
      const room = await rooms.byNid(nid);
      if (room?.isResident === true) this.begin(room);
    }
  }

  /** Begins to fetch the state of a room that was just joined. */
  begin(room: Room): void {
    if (this.#isClosing || room.partial === undefined) return;
    const { promise: first, resolve } = Promise.withResolvers<void>();
    const before = this.#tasks.get(room.nid);
    before?.stop.abort();
    const task: Task = { first, stop: new AbortController(), attempt: undefined, running: Promise.resolve() };
    this.#tasks.set(room.nid, task);
    task.running = doing(new Work('fetch the state of a room'), () => this.#run(room, task, resolve)).finally(() => {
      resolve();
      if (this.#tasks.get(room.nid) === task) this.#tasks.delete(room.nid);
    });
  }

  /** Resolves when the state of a room is whole, when the first attempt at it has failed, or when it takes long. */
  async attempt(room: Room): Promise<void> {
    const { waitMs, timers } = this.#options;
    const task = this.#tasks.get(room.nid);
    if (room.partial === undefined || task === undefined || waitMs <= 0) return;
    const { promise: late, resolve } = Promise.withResolvers<void>();
    const timer = timers.after(waitMs, resolve);
    await Promise.race([task.first, late]);
    timer.cancel();
  }

  /** Resolves when nothing is being fetched. */
  async idle(): Promise<void> {
    const busy = (): Promise<void> | undefined =>
      [...this.#tasks.values()].find(({ attempt }) => attempt !== undefined)?.attempt;
    for (let attempt = busy(); attempt !== undefined; attempt = busy()) await attempt;
  }

  /** Leaves the rest to the next process. */
  async close(): Promise<void> {
    this.#isClosing = true;
    const tasks = [...this.#tasks.values()];
    for (const { stop } of tasks) stop.abort();
    await Promise.all(tasks.map(({ running }) => running));
  }

  async #run(room: Room, task: Task, attempted: () => void): Promise<void> {
    const { logger, timers } = this.#options;
    const { signal } = task.stop;
    for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, MAX_PAUSE_MS)) {
      task.attempt = this.#asking
        .run(() => this.#attempt(room, signal))
        .catch((err: unknown) => {
          if (!signal.aborted)
            logger.error('the full state of a partially joined room could not be fetched', {
              room_id: room.roomId,
              err,
            });
        });
      await task.attempt;
      task.attempt = undefined;
      attempted();
      if (signal.aborted || room.partial === undefined) return;
      await timers.sleep(pause, signal);
      if (signal.aborted) return;
    }
  }

  async #attempt(room: Room, signal: AbortSignal): Promise<void> {
    const { loader, logger } = this.#options;
    const { partial } = room;
    const join = partial === undefined ? undefined : await loader.one(room, partial.join);
    if (partial === undefined || join === undefined) return;
    for (const server of await this.#serversOf(room, partial.via)) {
      if (signal.aborted) return;
      try {
        if (await this.#askOne(room, join, server, signal)) return;
      } catch (error) {
        if (signal.aborted) return;
        partial.failure = { server, error: error instanceof Error ? error.message : String(error) };
        if (error instanceof TooLongAnswerError && !this.#tooLong.has(partial)) {
          this.#tooLong.add(partial);
          logger.error('the full state of a room exceeds federation.max_state_bytes', {
            room_id: room.roomId,
            server,
            err: error,
          });
          continue;
        }
        logger.info('another server did not return the full state of a room', {
          room_id: room.roomId,
          server,
          err: error,
        });
      }
    }
  }

  /** The server of the join first: others may have a different state of the room. */
  async #serversOf(room: Room, via: string): Promise<readonly string[]> {
    const { policy, reader } = this.#options;
    const others: string[] = [];
    for (const server of room.remoteServers().slice(0, MAX_LOOKED_AT)) {
      if (others.length >= MAX_OTHERS) break;
      if (server !== via && room.allowsServer(server)) others.push(server);
      await setImmediate();
    }
    const { roomId } = room;
    return [via, ...others].filter(
      (server) => policy.allows(server) && !reader.isPaused({ server, roomId, request: 'state' }),
    );
  }

  /** @returns whether the state is complete now (law: "full state" or "partial state", never "whole") */
  async #askOne(room: Room, join: StoredEvent, server: string, signal: AbortSignal): Promise<boolean> {
    const { completion, reader } = this.#options;
    const asked = (await this.#askAfter(room, server, signal)) ?? {
      answer: await this.#stream(room, join.eventId, server, signal),
      later: [],
    };
    const { body } = asked.answer;
    const complete = async (state: JoinAnswer): Promise<boolean> => {
      if (!signal.aborted) await completion.complete(room, join, state);
      return room.partial === undefined;
    };
    const answer = { server, roomId: room.roomId, request: 'state', body, signal } as const;
    return reader.read(room, answer, complete, asked.later);
  }

  /**
   * Asks for the state after the event that the join comes after, as most servers do: first by ids, since a server that cannot tell, or is not
   * whole itself, says so before it has read the state of a large room.
   *
   * @returns the state before that event, and the event; undefined where there are several, or the server does not tell
   */
  async #askAfter(
    room: Room,
    server: string,
    signal: AbortSignal,
  ): Promise<{ readonly answer: FederationStream; readonly later: readonly JsonObject[] } | undefined> {
    const { history } = this.#options;
    const [last, ...others] = room.partial?.before ?? [];
    if (last === undefined || others.length > 0) return undefined;
    const ids = await history.stateIds(server, room.roomId, last);
    // From a server that does not answer, or answers nonsense, nothing more can be had now. What is too long to be read as a whole may be read as a stream.
    if (!ids.ok && ids.kind !== 'refused' && ids.kind !== 'too_large') throw new Error(ids.error);
    if (!ids.ok || signal.aborted) return undefined;
    // Some tell the state after it.
    const event = ids.value.state.includes(last) ? undefined : await history.event(server, last);
    if (event?.ok === false || signal.aborted) return undefined;
    const answer = await this.#stream(room, last, server, signal).catch(() => undefined);
    const isState = event !== undefined && typeof event.value['state_key'] === 'string';
    return answer === undefined ? undefined : { answer, later: isState ? [event.value] : [] };
  }

  /** @throws Error that says why the server does not tell */
  async #stream(room: Room, eventId: string, server: string, signal: AbortSignal): Promise<FederationStream> {
    const { history, maxBytes } = this.#options;
    const answer = await history.stateStream(server, room.roomId, eventId, { maxBodyBytes: maxBytes, signal });
    if (!answer.ok) throw new Error(answer.error);
    return answer;
  }
}
