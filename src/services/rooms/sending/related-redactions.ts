import { redactRelated } from '#src/jobs/definitions.ts';
import { type JobRequest, requestJob } from '#src/jobs/job-definition.ts';
import type { Logger } from '#src/kernel/logger.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import { JobElements } from '#src/services/commit/job-elements.ts';
import type { EventService } from '#src/services/events/stream/event-service.ts';
import { LATEST } from '#src/services/reading/history/history-tokens.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Database } from '#src/storage/database.ts';
import { unredactedPage } from '#src/storage/reading/relation-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';

/** The member of a redaction's body: stable, and as clients have it today. MSC3912. */
const WISHES = ['with_rel_types', 'org.matrix.msc3912.with_relations'] as const;
/** Stands for all types of relations. */
const ANY = '*';
export const MAX_TYPES = 20;
const MAX_TYPE_LENGTH = 255;
const PAGE = 100;
/** Events that one request redacts beside its target: the newest ones where there are more. */
export const MAX_RELATED = 1_000;

/** What a redaction asks for beside itself. */
export interface RelatedRedactionParams {
  /** What goes into the event. */
  readonly content: JsonObject;
  /** Relations of which the events that relate to the target are redacted as well; empty for none. */
  readonly relTypes: readonly string[];
}

/** Takes out of the body of a redaction what is for the server alone. @throws MatrixError M_BAD_JSON */
export const relatedRedactionParams = (body: JsonObject): RelatedRedactionParams => {
  const [stable, unstable] = WISHES;
  const { [stable]: stableTypes, [unstable]: unstableTypes, ...content } = body;
  const list = stableTypes ?? unstableTypes ?? [];
  const isList =
    Array.isArray(list) &&
    list.length <= MAX_TYPES &&
    list.every((one) => typeof one === 'string' && one.length <= MAX_TYPE_LENGTH && !one.includes('\0'));
  if (!isList)
    throw new MatrixError('M_BAD_JSON', `${stable} is a list of at most ${MAX_TYPES} types of relations, or "${ANY}".`);
  return { content, relTypes: list as readonly string[] };
};

/** The jobs that belong to a redaction, to be committed with it. */
export const relatedRedactionJobs = (
  room: Room,
  userId: string,
  target: string,
  { content: { reason }, relTypes }: RelatedRedactionParams,
): readonly JobRequest[] =>
  relTypes.length === 0
    ? []
    : [
        requestJob(redactRelated, {
          room: room.nid,
          userId,
          target,
          relTypes: [...relTypes],
          ...(typeof reason === 'string' ? { reason } : {}),
        }),
      ];

export interface RelatedRedactionsOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly rooms: RoomRegistry;
  readonly events: EventService;
  readonly logger: Logger;
}

/**
 * Redacts what relates to an event that a user has redacted: its edits, its reactions, the replies of its thread. Those that the user may not
 * redact stay, and so does what relates to them. MSC3912.
 */
export class RelatedRedactions {
  readonly #options: RelatedRedactionsOptions;

  constructor(options: RelatedRedactionsOptions) {
    this.#options = options;
  }

  /** May be broken off, and begun anew: what is redacted by then is passed over. @returns false when it was broken off because of the signal */
  async redact(
    request: {
      readonly room: number;
      readonly userId: string;
      readonly target: string;
      readonly relTypes: readonly string[];
      readonly reason?: string | undefined;
    },
    signal: AbortSignal,
  ): Promise<boolean> {
    const { database, events, interner, logger, rooms } = this.#options;
    const { relTypes, target: targetId, userId } = request;
    const room = await rooms.byNid(request.room);
    const target = room && (await events.find(room, targetId));
    if (room === undefined || target === undefined) return true;
    const names = await interner.find({ types: relTypes, users: [userId] });
    const types = relTypes.includes(ANY) ? undefined : relTypes.flatMap((type) => names.peekType(type) ?? []);
    const content: JsonObject = request.reason === undefined ? {} : { reason: request.reason };
    const elements = new JobElements();
    let redacted = 0;
    for (let before = LATEST, looked = 0; looked < MAX_RELATED;) {
      const page = await unredactedPage(database, { room: room.nid, target: target.nid, before, types, limit: PAGE });
      for (const { event_id: id, sender } of page) {
        if (signal.aborted) return false;
        if (room.headMembership(userId) !== 'join') return true;
        const levels = room.powerLevels();
        if (sender !== names.peekUser(userId) && levels.userLevel(userId) < levels.redact) continue;
        await elements.all([id], async () => {
          try {
            await events.redact(room, userId, eventIdText(room.version, id), content);
            redacted += 1;
          } catch (error) {
            if (!(error instanceof MatrixError) || error.errcode !== 'M_FORBIDDEN') throw error;
          }
        });
      }
      looked += page.length;
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) break;
      before = { topo: last.topo, nid: last.nid };
    }
    logger.info('events that relate to a redacted one were redacted', {
      room_id: room.roomId,
      event_id: targetId,
      redacted,
    });
    elements.end();
    return true;
  }
}
