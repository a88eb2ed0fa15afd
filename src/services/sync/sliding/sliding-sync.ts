import type { Clock } from '#src/kernel/clock.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Random } from '#src/kernel/random.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import type { Timers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { decodeSlidingToken, encodeSlidingToken, type PositionVector } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import { ignoredBy } from '#src/services/user-data/account-data/ignored-users.ts';
import type { EphemeralSource } from '../engine/sync-sources.ts';
import type { LargeSyncs } from '../engine/large-syncs.ts';
import type { SyncUser } from '../engine/sync-user.ts';
import type { SyncUsers } from '../engine/sync-users.ts';
import { SyncWait } from '../engine/wait.ts';
import { Connection, type ConnectionChange, type ConnectionState, type SentRoom } from './connection.ts';
import { connectionKey, Connections } from './connections.ts';
import { ConnectionSaver } from './connection-saver.ts';
import type { ConnectionStore } from './connection-store.ts';
import type { NotJoinedRooms } from './not-joined-rooms.ts';
import { combined } from './required-state.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { ListContext, type RoomListings } from './room-lists.ts';
import type { ExtensionAnswers, ExtensionRoom, SlidingExtensions } from './sliding-extensions.ts';
import type { SlidingRequest } from './sliding-request.ts';
import type { RoomAnswer } from './room-answer.ts';
import type { WantedRoom } from './room-spans.ts';
import type { SlidingRooms } from './sliding-rooms.ts';
import { combineConfigs, type ListAnswer, wishesOf } from './wanted-rooms.ts';

/** An answer to a connection. An encoder writes its body. */
export interface SlidingAnswer {
  readonly pos: string;
  readonly txnId: string | undefined;
  readonly lists: readonly ListAnswer[];
  readonly rooms: readonly RoomAnswer[];
  readonly extensions: ExtensionAnswers;
}

export type SlidingEncoder = (answer: SlidingAnswer) => string;

export interface SlidingSyncOptions {
  /** Of memory for connections. */
  readonly cacheBytes: number;
  readonly users: SyncUsers;
  readonly writer: Pick<Writer, 'committed'>;
  readonly ephemeral: EphemeralSource;
  readonly clock: Clock;
  readonly listings: RoomListings;
  readonly rooms: Pick<RoomRegistry, 'visit'>;
  readonly notJoinedRooms: NotJoinedRooms;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly random: Random;
  readonly accountData: Pick<AccountDataService, 'peek' | 'load'>;
  readonly slidingRooms: SlidingRooms;
  readonly extensions: SlidingExtensions;
  readonly store: ConnectionStore;
  readonly largeSyncs: LargeSyncs;
}

/** Characters written in one turn of the event loop. */
const CHARACTERS_AT_ONCE = 100_000;
/** Most lists and subscriptions of a request that is not "large". */
const USUAL_WISHES = 20;

const isLarge = ({ lists, subscriptions }: SlidingRequest): boolean => lists.size + subscriptions.size > USUAL_WISHES;

interface Computed {
  readonly lists: readonly ListAnswer[];
  readonly rooms: readonly { readonly answer: RoomAnswer; readonly sent: SentRoom }[];
  readonly extensions: ExtensionAnswers;
  readonly known: Pick<ConnectionState, 'keys' | 'profiles'>;
  /** Rooms that the client knows and that have no news. */
  readonly quiet: readonly WantedRoom[];
  readonly end: { readonly vector: PositionVector; readonly count: number };
  readonly isEmpty: boolean;
}

/**
 * Simplified sliding sync: a client asks for windows on lists of its rooms and for single rooms, and gets what it does not know yet.
 * What each connection knows is kept here. MSC4186.
 */
export class SlidingSync {
  readonly #options: SlidingSyncOptions;
  readonly #connections: Connections;
  /** Requests of one connection wait for each other. */
  readonly #turns = new SerialByKey<string>();
  /** Ends the wait for news of the newest request of a connection. */
  readonly #newest = new Map<string, AbortController>();
  readonly #saver: ConnectionSaver;

  constructor(options: SlidingSyncOptions) {
    this.#options = options;
    this.#connections = new Connections(options.cacheBytes);
    this.#saver = new ConnectionSaver({
      ...options,
      find: (key) => this.#connections.peek(key),
      rest: (key) => this.#connections.rest(key),
    });
    options.extensions.listen(options.users);
  }

  /**
   * Answers at once when there is news, else waits for some until the timeout.
   *
   * @param encode writes the body
   * @throws MatrixError M_UNKNOWN_POS when the position is no longer, or was never, one of the connection's
   */
  async sync(request: SlidingRequest, encode: SlidingEncoder): Promise<string> {
    const key = connectionKey(request);
    // "Clients must only have a single active request in-flight at any time per connection": an earlier one is not waited for any more.
    this.#newest.get(key)?.abort();
    const superseded = new AbortController();
    this.#newest.set(key, superseded);
    try {
      return await this.#answer(
        key,
        { ...request, signal: AbortSignal.any([request.signal, superseded.signal]) },
        encode,
      );
    } finally {
      if (this.#newest.get(key) === superseded) this.#newest.delete(key);
    }
  }

  #answer(key: string, request: SlidingRequest, encode: SlidingEncoder): Promise<string> {
    return this.#turns.run(key, async () => {
      const connection = await this.#connection(request);
      const answered = connection.answered(request.digest);
      if (answered !== undefined) return answered;
      await this.#options.extensions.acknowledge(request);
      const { largeSyncs, users, timers } = this.#options;
      const user = await users.open(request.userId);
      user.hold();
      const isFirst = connection.state.vector === undefined;
      const wait = new SyncWait(timers, user, isFirst ? 0 : request.timeout, request.signal);
      try {
        for (;;) {
          const { version } = user;
          const mayBeLarge = isFirst || isLarge(request);
          const loopYield = mayBeLarge
            ? new LoopYield(CHARACTERS_AT_ONCE, () => largeSyncs.pause(request))
            : new LoopYield(CHARACTERS_AT_ONCE);
          const compute = (): Promise<Computed> => this.#compute(user, request, connection.state, loopYield);
          const computed = await (mayBeLarge ? largeSyncs.run(request, compute) : compute());
          if (computed.isEmpty && !wait.isOver) {
            await wait.since(version);
            continue;
          }
          const write = (number: number, settled?: number): string =>
            encode({
              pos: encodeSlidingToken(connection.run, number, computed.end.vector, settled),
              txnId: request.txnId,
              lists: computed.lists,
              rooms: computed.rooms.map(({ answer }) => answer),
              extensions: computed.extensions,
            });
          const change = changeOf(computed);
          if (computed.isEmpty) {
            // The client does not read the answer to an aborted request, and the next one may ask for more.
            const settled = request.signal.aborted ? undefined : connection.settle(change);
            this.#connections.keep(request, connection);
            return write(connection.number, settled);
          }
          const body = connection.answer(request.digest, change, write);
          this.#connections.keep(request, connection);
          this.#saver.note(key);
          return body;
        }
      } finally {
        wait.end();
        user.release();
      }
    });
  }

  /** Resolves when no connections are being saved. */
  idle(): Promise<void> {
    return this.#saver.idle();
  }

  /** Keeps what connections know for the next process. */
  async close(): Promise<void> {
    await this.#saver.close();
    await this.#options.store.save(this.#connections.entries().map(([key, connection]) => ({ key, connection })));
  }

  async #connection(request: SlidingRequest): Promise<Connection> {
    const key = connectionKey(request);
    if (request.pos === undefined || request.pos === '') {
      const connection = new Connection(this.#options.random.string(8));
      this.#connections.keep(request, connection);
      return connection;
    }
    const pos = decodeSlidingToken(request.pos);
    const known = this.#connections.get(request) ?? (await this.#options.store.restore(key));
    if (known === undefined || known.run !== pos?.run || !known.goTo(pos.number))
      throw new MatrixError('M_UNKNOWN_POS', 'Unknown position: start again without pos.');
    this.#connections.keep(request, known);
    return known;
  }

  async #compute(
    user: SyncUser,
    request: SlidingRequest,
    state: ConnectionState,
    loopYield: LoopYield,
  ): Promise<Computed> {
    const {
      accountData,
      ephemeral,
      extensions,
      listings,
      notJoinedRooms,
      rooms: roomRegistry,
      slidingRooms,
      writer,
    } = this.#options;
    const { userId, deviceId } = request;
    const data = accountData.peek(userId) ?? (await accountData.load(userId));
    const outside = await notJoinedRooms.find(user, data, request, state);
    const hidden = ignoredBy(data);
    const listed = [...(await listings.joined(user)), ...outside.listed].toSorted(
      (a, b) => b.activity - a.activity || b.room.nid - a.room.nid,
    );
    const context = await ListContext.of(data, listed, roomRegistry);
    const { lists, wanted } = await wishesOf(request, context, listed, outside.left, loopYield);
    const combinedOf = await combineConfigs(wanted, userId, loopYield);
    // Everything that is told lies before this end, whatever comes while rooms are read: each is told as it was then.
    const end = { vector: writer.committed(), count: ephemeral.current };
    // Joins and leaves during the computation of lists come with the next answer.
    const all = wanted.filter(({ listed: { member, room } }) => isSameMember(user.memberships.get(room.nid), member));
    const rooms = all.map((one): WantedRoom => {
      const { listed: of, lists: names } = one;
      const { timelineLimit, state: stateWanted } = combinedOf.get(one) ?? combined(one.wishes, userId);
      return { listed: of, timelineLimit, state: stateWanted, lists: names, sent: state.rooms.get(of.room.nid) };
    });
    const { answered, deferred } = await slidingRooms.read(
      rooms,
      { user, userId, deviceId, ignored: () => hidden },
      state.vector,
      end,
      (room) => context.isDirect(room),
      loopYield,
    );
    const metOf = new Map(answered.map(({ met, sent }) => [sent, met]));
    const sentOf = new Map(answered.map(({ answer, sent }) => [answer.listed.room.nid, sent]));
    const extensionRooms = all.map(({ listed: { room, member }, lists: names, isSubscribed }, index): ExtensionRoom => {
      const sent = state.rooms.get(room.nid);
      const now = sentOf.get(room.nid);
      return {
        room,
        isJoined: member.membership === 'join',
        lists: names,
        isSubscribed,
        isDeferred: deferred.has(room.nid),
        sent,
        met: now === undefined ? [] : metOf.get(now),
        seen: rooms[index]?.state.lazyMembers === true ? ((now ?? sent)?.lazy ?? NOBODY) : undefined,
      };
    });
    const extended = await extensions.read(
      request.extensions,
      request,
      user,
      data,
      extensionRooms,
      { since: state.vector, upTo: end.vector, keys: state.keys, profiles: state.profiles },
      hidden,
      loopYield,
    );
    const hasOtherCounts = lists.some(({ name, count }) => state.counts.get(name) !== count);
    return {
      lists,
      rooms: answered,
      extensions: extended.answers,
      known: { keys: extended.keys, profiles: extended.profiles },
      quiet: rooms.filter(
        ({ listed: { room }, sent }) => sent !== undefined && !sentOf.has(room.nid) && !deferred.has(room.nid),
      ),
      end,
      isEmpty: state.vector !== undefined && answered.length === 0 && !extended.isNews && !hasOtherCounts,
    };
  }
}

/** What the client knows once it has an answer: of rooms without news it knows everything, too. */
const changeOf = ({ end, known: others, lists, quiet, rooms }: Computed): ConnectionChange => {
  const known = new Map<number, SentRoom>();
  for (const { listed, sent, state } of quiet)
    if (sent !== undefined) known.set(listed.room.nid, { ...sent, ...end, wanted: state.key });
  for (const { answer, sent } of rooms) known.set(answer.listed.room.nid, sent);
  return { ...end, rooms: known, counts: new Map(lists.map(({ name, count }) => [name, count])), ...others };
};

const NOBODY: ReadonlyMap<string, number> = new Map();

/** Whether a membership is still the same. */
const isSameMember = (now: Member | undefined, before: Member): boolean =>
  now?.event === before.event && now.membership === before.membership;
