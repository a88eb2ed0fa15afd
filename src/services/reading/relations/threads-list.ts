import { pageLimit } from '#src/kernel/limits/page-limit.ts';
import { isIgnored, numbersOf } from '#src/services/user-data/account-data/ignored-users.ts';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { decodeRoomToken, encodeRoomToken } from '#src/protocol/wire/position.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { ClientEvents, Reader } from '#src/services/reading/client-events/client-events.ts';
import { LATEST } from '#src/services/reading/history/history-tokens.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomAccess } from '#src/services/reading/access/room-access.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { type ThreadRecord, threadsOf } from '#src/storage/reading/relation-reads.ts';
import type { IgnoredUsers } from './bundled-aggregations.ts';
import { REL } from './related-events.ts';
import type { RelationIndex } from './relation-index.ts';

export const MAX_LIMIT = 200;
const PAGE = { usual: 20, greatest: MAX_LIMIT };
/** Threads that are looked at together, where the first ones were not for the reader. */
const BATCH = 100;
/** Threads that one answer looks at; less than that and a batch beyond. */
export const MAX_SCANNED = 300;

/** Replies of one thread, and of those that are looked at together, of which the state at each is asked whether the reader may see it: the newest. */
export const MAX_REPLIES_JUDGED = 1_000;
export const MAX_JUDGED = 4_000;

/** Replies that one answer walks over, and those of them that are read at once: a thread is met at its latest reply. */
export const MAX_WALKED = 10_000;
const REPLIES_BATCH = 1_000;
/** Of what relates to a root after a reply, the first, among which a later reply is looked for: were it beyond, the thread would be listed again. */
export const MAX_LATER = 1_000;
/** Of what relates to a root, the newest, among which one of the reader is looked for. */
export const MAX_PARTICIPATION = 2_000;
const MOST = { walked: REPLIES_BATCH, later: MAX_LATER, participation: MAX_PARTICIPATION };

/** Lists that are read from the database at once, and how many of one user may wait. */
export const READ_AT_ONCE = 2;
export const MAX_WAITING = 200;

const NO_ROOTS: ReadonlySet<number> = new Set();

interface ThreadRoot {
  readonly one: VisibleEvent;
  readonly record: ThreadRecord;
  /** Of the root and the latest reply. */
  readonly bytes: number;
}

export interface ThreadsQuery {
  /** Only threads that the reader takes part in. */
  readonly participated: boolean;
  readonly limit?: number | undefined;
  readonly from?: string | undefined;
}

/** Lists the threads of rooms. Client-Server API, "Querying threads in a room". */
export class ThreadsList {
  readonly #access: RoomAccess;
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #index: RelationIndex;
  readonly #loader: EventLoader;
  readonly #visibility: EventVisibility;
  readonly #ignoredUsers: IgnoredUsers;
  readonly #writer: ClientEvents;
  readonly #maxBytes: number;
  readonly #reading = new FairGate({ concurrency: READ_AT_ONCE, maxWaiting: MAX_WAITING });

  constructor(options: {
    readonly access: RoomAccess;
    readonly database: Database;
    readonly interner: Interner;
    readonly index: RelationIndex;
    readonly loader: EventLoader;
    readonly visibility: EventVisibility;
    readonly ignoredUsers: IgnoredUsers;
    readonly writer: ClientEvents;
    /** Bytes of events after which a page ends, however many threads were asked for. */
    readonly maxBytes: number;
  }) {
    this.#access = options.access;
    this.#database = options.database;
    this.#interner = options.interner;
    this.#index = options.index;
    this.#loader = options.loader;
    this.#visibility = options.visibility;
    this.#ignoredUsers = options.ignoredUsers;
    this.#writer = options.writer;
    this.#maxBytes = options.maxBytes;
  }

  /**
   * Roots of threads as JSON texts, those with the latest replies first.
   *
   * @throws MatrixError M_FORBIDDEN, M_INVALID_PARAM for a token that is none, M_LIMIT_EXCEEDED when too many of the user wait
   */
  async page(
    roomId: string,
    reader: Reader,
    query: ThreadsQuery,
  ): Promise<{ readonly chunk: readonly string[]; readonly next: string | undefined }> {
    const { room, upTo } = await this.#access.reading(roomId, reader.userId);
    let place = LATEST;
    if (query.from !== undefined) {
      const from = decodeRoomToken(query.from);
      if (from === undefined)
        throw new MatrixError('M_INVALID_PARAM', 'The pagination token is not one of this server.');
      place = from;
    }
    const ignored = await this.#ignoredUsers(reader.userId);
    const without = await numbersOf(ignored, this.#interner);
    // Nobody has the number 0.
    const participant = query.participated ? ((await this.#interner.findUser(reader.userId)) ?? 0) : undefined;
    const limit = pageLimit(query.limit, PAGE);
    const shown: VisibleEvent[] = [];
    let isEnd = false;
    let bytes = 0;
    // Threads that the reader may not see are passed over, so many of them in one answer: the token continues behind them.
    const isFull = (): boolean => shown.length >= limit || bytes >= this.#maxBytes;
    for (let scanned = 0, walked = 0; !isFull() && !isEnd && scanned < MAX_SCANNED && walked < MAX_WALKED;) {
      const batch = Math.min(Math.max(limit - shown.length, scanned === 0 ? 1 : BATCH), BATCH);
      const wanted = { room: room.nid, before: place, upTo, without, participant, limit: batch + 1 };
      const found = await this.#reading.run(
        { party: reader.userId, isPreferred: false },
        () => threadsOf(this.#database, wanted, MOST),
        tooMany,
      );
      const page = found.threads.slice(0, batch);
      const own = page.filter(({ participates }) => participates);
      const roots = own.length === 0 ? [] : await this.#roots(room, reader, own, ignored);
      const fitting: typeof roots = [];
      for (const root of roots) {
        if (shown.length + fitting.length >= limit || bytes >= this.#maxBytes) break;
        fitting.push(root);
        bytes += root.bytes;
      }
      shown.push(...fitting.map(({ one }) => one));
      // What came after the last one that fits comes with the next page.
      const isCut = roots.length > fitting.length;
      const isMore = found.threads.length > batch;
      place = (isCut ? fitting.at(-1)?.record : isMore ? page.at(-1) : found.last) ?? place;
      isEnd = !isCut && !isMore && found.walked < REPLIES_BATCH;
      scanned += page.length;
      walked += found.walked;
    }
    const events = shown.map((one) =>
      // "If the thread root event was sent by an ignored user, the event is returned redacted to the caller."
      isIgnored(one.event, ignored) ? { ...one, event: one.event.redactedCopy() } : one,
    );
    return {
      chunk: await this.#writer.write(room, reader, events),
      next: isEnd ? undefined : encodeRoomToken(place),
    };
  }

  async #roots(
    room: Room,
    { userId }: Reader,
    records: readonly ThreadRecord[],
    ignored: ReadonlySet<string>,
  ): Promise<ThreadRoot[]> {
    const loaded = await this.#loader.load(
      records.flatMap(({ root, nid }) => [root, nid].map((place) => ({ room, nid: place }))),
    );
    const visible = new Map(
      (await this.#visibility.visibleTo(room, userId, [...loaded.values()])).map((one) => [one.event.nid, one]),
    );
    // What relates to another event itself is no root of a thread.
    const shown = records.flatMap((record) => {
      const one = visible.get(record.root);
      return one === undefined || one.event.relation !== undefined ? [] : [{ record, one }];
    });
    const isLatestShown = ({ record }: (typeof shown)[number]): boolean => {
      const latest = visible.get(record.nid)?.event;
      return latest !== undefined && !isIgnored(latest, ignored);
    };
    const earlier = await this.#withEarlierReply(
      room,
      userId,
      shown.filter((one) => !isLatestShown(one)).map(({ one }) => one.event),
      ignored,
    );
    return shown
      .filter((one) => isLatestShown(one) || earlier.has(one.record.root))
      .map(({ record, one }) => ({
        one,
        record,
        bytes: one.event.json.length + (visible.get(record.nid)?.event.json.length ?? 0),
      }));
  }

  /**
   * The latest reply is not for everybody who may see earlier ones: those who were away meanwhile.
   *
   * @returns the positions of those of the roots that have a reply for the reader
   */
  async #withEarlierReply(
    room: Room,
    userId: string,
    roots: readonly StoredEvent[],
    ignored: ReadonlySet<string>,
  ): Promise<ReadonlySet<number>> {
    if (roots.length === 0) return NO_ROOTS;
    const related = await this.#index.all(roots.map((event) => ({ room, event })));
    const replies = [...related].map(([root, all]) => ({
      root,
      some: all.filter((one) => one.relType === REL.thread && !isIgnored(one, ignored)).toReversed(),
    }));
    const seen = await this.#visibility.seen(
      room,
      userId,
      replies.map(({ some }) => some),
      { ofGroup: MAX_REPLIES_JUDGED, ofAll: MAX_JUDGED },
    );
    return new Set(replies.filter(({ some }) => some.some(({ nid }) => seen.has(nid))).map(({ root }) => root));
  }
}

const tooMany = (): MatrixError => limitExceeded('threads_lists', 1_000);
