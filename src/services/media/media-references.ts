import { releaseMedia } from '#src/jobs/definitions.ts';
import { requestJob } from '#src/jobs/job-definition.ts';
import type { Clock } from '#src/kernel/clock.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { MEDIA_SCHEME, mediaNamedIn, mediaUrisIn, ofServer } from '#src/protocol/media/media-uris.ts';
import { redactionTarget } from '#src/protocol/events/pdu.ts';
import { REDACTION } from '#src/protocol/events/event-types.ts';
import { JobElements } from '#src/services/commit/job-elements.ts';
import type { FollowUp } from '#src/services/events/building/follow-ups.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import { eventIdBytes } from '#src/services/room-model/event/event-ids.ts';
import type { Database } from '#src/storage/database.ts';
import {
  insertReferences,
  type MediaReference,
  releaseNamed,
  releaseRedacted,
  releaseRoom,
} from '#src/storage/media/references.ts';

/** Pieces of media that one event can name. */
export const MAX_NAMES = 1_000;
const CHARACTERS_AT_ONCE = 100_000;
const RELEASED_AT_ONCE = 1_000;

/** The events that change references to media: redactions, and those that contain the beginning of a URI. */
export const FOLLOWED_TYPES: readonly string[] = [REDACTION];
export const FOLLOWED_TEXT = MEDIA_SCHEME;

/** Releases media of the sender that a redacted event referred to: without another reference they are deleted after a while. */
export const mediaFollowUp: FollowUp = ({ redacted }) =>
  redacted.flatMap(({ json, sender }) => {
    const uris = mediaUrisIn(json, MAX_NAMES);
    return uris.length === 0 ? [] : [requestJob(releaseMedia, { uris: [...uris], sender })];
  });

export interface MediaReferencesOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly serverName: string;
}

/**
 * Tracks which events refer to which local media. What an event of its uploader refers to is released when that event is redacted or purged: it is deleted
 * after a while, unless something else names it by then (`MediaCleaner`). What its uploader never named in clear text is never released by
 * this, since an encrypted event may name it.
 */
export class MediaReferences {
  readonly #options: MediaReferencesOptions;

  constructor(options: MediaReferencesOptions) {
    this.#options = options;
  }

  /** Processes events, in order; some of them again. */
  async take(events: readonly FollowedEvent[]): Promise<void> {
    const { clock, database, serverName } = this.#options;
    const references: MediaReference[] = [];
    const redacted: Buffer[] = [];
    const loopYield = new LoopYield(CHARACTERS_AT_ONCE);
    for (const { room, event } of events) {
      if (event.type === REDACTION) {
        const target = redactionTarget(room.version, event.pdu);
        if (target !== undefined) redacted.push(eventIdBytes(target));
      }
      const isState = event.stateKey !== undefined;
      for (const mediaId of mediaNamedIn(event.json, serverName, MAX_NAMES))
        references.push({ room: room.nid, event: event.nid, mediaId, isState });
      await loopYield.after(event.json.length);
    }
    await insertReferences(database, references);
    await releaseRedacted(database, redacted, clock.now());
  }

  /** Media (`server/id`) that a user has uploaded, and names no longer in an event, may be named by nothing any more. */
  async release(uris: readonly string[], userId: string): Promise<void> {
    const { clock, database, serverName } = this.#options;
    const elements = new JobElements();
    await elements.all(ofServer(uris, serverName), (ids) => releaseNamed(database, ids, userId, clock.now()));
    elements.end();
  }

  /** Releases what a room's events name. To be called before these are deleted with the room. @returns false when the signal came first */
  async releaseRoom(room: number, signal: AbortSignal): Promise<boolean> {
    const { clock, database } = this.#options;
    while (!signal.aborted) {
      const released = await releaseRoom(database, room, clock.now(), RELEASED_AT_ONCE);
      if (released < RELEASED_AT_ONCE) return true;
    }
    return false;
  }
}
