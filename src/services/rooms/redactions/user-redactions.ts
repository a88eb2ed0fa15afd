import type { RateLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { redactionHarm } from '#src/protocol/auth/redactions.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { redact } from '#src/protocol/events/redaction.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { notInRoom, type RoomAccess } from '#src/services/reading/access/room-access.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { type HistoryPlace, sentEvents } from '#src/storage/rooms/sent-events.ts';

/** Which events of a user in a room are to be redacted, and by which user. */
export interface RedactionOrder {
  readonly room: Room;
  /** The user whose events are redacted. */
  readonly target: string;
  /** The user who redacts; has to be in the room. */
  readonly by: string;
  readonly reason?: string | undefined;
  /** Types of events; all but the user's own redactions, when left out. */
  readonly types?: readonly string[] | undefined;
  /** Another condition on events. */
  readonly isMeant?: ((event: StoredEvent) => boolean) | undefined;
  /** Milliseconds since the epoch, as the events say. */
  readonly beforeTs?: number | undefined;
  readonly afterTs?: number | undefined;
  /** Where an earlier part ended. */
  readonly from?: HistoryPlace | undefined;
  /** Events that are redacted at most. */
  readonly limit: number;
}

/** The result for one part of a room's history. */
export interface RedactedPart {
  readonly redacted: number;
  /** How many of them were soft-failed, so that no client has seen them. */
  readonly softFailed: number;
  /** Events that could not be redacted, and why. */
  readonly failed: ReadonlyMap<string, string>;
  /** Where the next part begins; undefined when there is none. */
  readonly next: HistoryPlace | undefined;
  /** True when the limit left an event that would have been redacted. */
  readonly isCut: boolean;
}

/** The result of one request. MSC4194. */
export interface BulkRedaction {
  readonly redacted: number;
  readonly softFailed: number;
  readonly hasMore: boolean;
}

export interface UserRedactionsOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly events: EventService;
  readonly access: RoomAccess;
  readonly rateLimiter: RateLimiter;
}

/** Events of a room that are looked at in one part. */
const PART = 1_000;
/** Parts of a room's history that one request looks through. */
const MAX_PARTS = 100;
/** Events that one request redacts. */
export const BATCH_SIZE = 100;
/** The group of `rate_limits` that counts events that are redacted together. */
const BUCKET = 'bulk_redaction';

/**
 * Redacts what a user sent into a room, the newest first, one part of its history after the other. Each event gets a redaction of its own.
 * What was redacted before, or says nothing that a redaction takes away, is passed over: so it may be done again at any time.
 */
export class UserRedactions {
  readonly #options: UserRedactionsOptions;

  constructor(options: UserRedactionsOptions) {
    this.#options = options;
  }

  /** Redacts one part. @throws MatrixError M_FORBIDDEN when the redacting user may not redact events of the user there */
  async redactPart(order: RedactionOrder, signal?: AbortSignal): Promise<RedactedPart> {
    const { database, interner, loader } = this.#options;
    const { by, from, limit, room, target } = order;
    assertMayRedact(order);
    const names = await interner.find({
      users: [target],
      ...(order.types === undefined ? {} : { types: order.types }),
    });
    const sender = names.peekUser(target);
    const nothing = { redacted: 0, softFailed: 0, failed: new Map<string, string>(), next: undefined, isCut: false };
    if (sender === undefined) return nothing;
    const types = order.types?.flatMap((type) => names.peekType(type) ?? []);
    const page = await sentEvents(database, {
      room: room.nid,
      sender,
      before: from,
      types,
      beforeTs: order.beforeTs,
      afterTs: order.afterTs,
      scan: PART,
    });
    const loaded = await loader.load(page.events.map(({ nid }) => ({ room, nid })));
    const failed = new Map<string, string>();
    let redacted = 0;
    let softFailed = 0;
    for (const { flags, nid, topo } of page.events) {
      const event = loaded.get(nid);
      if (event === undefined || event.redactedBecause !== undefined || !isWorthIt(event, by)) continue;
      if (order.isMeant?.(event) === false) continue;
      // The next part begins with this one.
      if (redacted + failed.size >= limit || signal?.aborted === true)
        return { redacted, softFailed, failed, next: { topo, nid: nid + 1 }, isCut: true };
      const refusal = await this.#redact(order, event);
      if (refusal !== undefined) failed.set(event.eventId, refusal);
      else {
        redacted += 1;
        if ((flags & EVENT_FLAGS.softFailed) !== 0) softFailed += 1;
      }
    }
    return { redacted, softFailed, failed, next: page.next, isCut: false };
  }

  /**
   * Redacts the newest events that a user sent into a room, `limit` or a hundred at most. MSC4194.
   *
   * @throws MatrixError M_FORBIDDEN
   */
  async redactNewest(
    requester: Pick<Requester, 'userId' | 'rateLimited'>,
    {
      limit,
      reason,
      roomId,
      target,
    }: {
      readonly roomId: string;
      readonly target: string;
      readonly limit: number;
      readonly reason?: string | undefined;
    },
    signal: AbortSignal,
  ): Promise<BulkRedaction> {
    const room = await this.#options.access.known(roomId);
    if (room.headMembership(requester.userId) !== 'join') throw notInRoom();
    const order = { room, target, by: requester.userId, reason };
    const most = Math.min(limit, BATCH_SIZE);
    let redacted = 0;
    let softFailed = 0;
    let from: HistoryPlace | undefined;
    for (let parts = 0; parts < MAX_PARTS; parts++) {
      const part = await this.redactPart({ ...order, from, limit: most - redacted }, signal);
      redacted += part.redacted;
      softFailed += part.softFailed;
      // Those of others as well, which cost servers and rooms as much as messages do.
      if (requester.rateLimited) this.#options.rateLimiter.charge(BUCKET, requester.userId, part.redacted);
      from = part.next;
      if (part.isCut || signal.aborted) return { redacted, softFailed, hasMore: true };
      if (from === undefined) break;
    }
    return { redacted, softFailed, hasMore: false };
  }

  /** @returns why it could not be redacted */
  async #redact({ by, reason, room }: RedactionOrder, { eventId }: StoredEvent): Promise<string | undefined> {
    const content: JsonObject = reason === undefined ? {} : { reason };
    try {
      await this.#options.events.redact(room, by, eventId, content);
      return undefined;
    } catch (error) {
      if (!(error instanceof MatrixError) || error.status >= 500 || error.status === 429) throw error;
      return error.message;
    }
  }
}

/** @throws MatrixError M_FORBIDDEN */
const assertMayRedact = ({ by, room, target }: RedactionOrder): void => {
  if (room.headMembership(by) !== 'join') throw new MatrixError('M_FORBIDDEN', `${by} is not in the room.`);
  const levels = room.powerLevels();
  if (by !== target && levels.userLevel(by) < levels.redact)
    throw new MatrixError('M_FORBIDDEN', 'Only those with the power level to redact may redact the events of others.');
};

/** Whether a redaction would take something away, and the room can do without that. */
const isWorthIt = (event: StoredEvent, by: string): boolean => {
  const { pdu, room } = event;
  // Redacting one's own redactions would never end.
  if (event.type === 'm.room.redaction' && event.sender === by) return false;
  if (redactionHarm(room.version, pdu) !== undefined) return false;
  const { content: left = {} } = redact(room.version, pdu);
  return canonicalJson(left, 'lenient') !== canonicalJson(event.content, 'lenient');
};
