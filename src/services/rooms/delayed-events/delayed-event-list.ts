import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import {
  type DelayedEventRecord,
  type DelayedPlace,
  finalisedDelayedEvents,
  scheduledDelayedEvents,
} from '#src/storage/rooms/delayed-events.ts';
import { type DelayedEvent, delayedEventOf } from './delayed-event.ts';

const PAGE = 500;

export type DelayedStatus = 'scheduled' | 'finalised';

/** A page of a user's delayed events. */
export interface DelayedEventPage {
  /** In the order in which they will be sent; undefined when nobody asked. */
  readonly scheduled: readonly DelayedEvent[] | undefined;
  /** The latest first; undefined when nobody asked. */
  readonly finalised: readonly DelayedEvent[] | undefined;
  /** Where the list continues; undefined at its end. */
  readonly next: string | undefined;
}

export interface DelayedListRequest {
  /** What is scheduled, when left out; both kinds, when ids are named. */
  readonly status: DelayedStatus | undefined;
  readonly delayIds: readonly string[] | undefined;
  /** `next` of the page before. */
  readonly from: string | undefined;
}

/** Lists users' delayed events. MSC4140, "Getting a list of delayed events", with the filters of its earlier texts. */
export class DelayedEventList {
  readonly #database: Database;
  readonly #writer: Pick<Writer, 'settled'>;
  readonly #pageSize: number;

  constructor(database: Database, writer: Pick<Writer, 'settled'>, pageSize = PAGE) {
    this.#database = database;
    this.#writer = writer;
    this.#pageSize = pageSize;
  }

  /** @throws MatrixError M_INVALID_PARAM */
  async page(userId: string, { status, delayIds, from }: DelayedListRequest): Promise<DelayedEventPage> {
    const place = from === undefined ? undefined : placeOf(from);
    if (place !== undefined && place.status !== (status ?? 'scheduled')) throw invalidFrom();
    const query = { userId, delayIds, after: place, limit: this.#pageSize };
    const wantsScheduled = status !== 'finalised';
    const wantsFinalised =
      status === 'finalised' || (status === undefined && delayIds !== undefined && from === undefined);
    const [scheduled, finalised] = await Promise.all([
      wantsScheduled ? scheduledDelayedEvents(this.#database, query) : undefined,
      wantsFinalised ? finalisedDelayedEvents(this.#database, query) : undefined,
    ]);
    // The event that a row names was committed with it, and may not be published yet.
    if (finalised?.some((record) => record.event_id !== null) === true) await this.#writer.settled();
    const last = (scheduled ?? finalised)?.[this.#pageSize - 1];
    return {
      scheduled: scheduled?.map(delayedEventOf),
      finalised: finalised?.map(delayedEventOf),
      next: last === undefined ? undefined : tokenOf(last),
    };
  }
}

const tokenOf = ({
  delay_id: id,
  delay_ms: delay,
  finalised_ts: ts,
  scheduled_at: since,
}: DelayedEventRecord): string => (ts === null ? `s${since + delay}_${id}` : `f${ts}_${id}`);

const placeOf = (token: string): DelayedPlace & { readonly status: DelayedStatus } => {
  const match = /^([sf])(\d{1,16})_([A-Za-z0-9]{1,64})$/.exec(token);
  if (match === null || !Number.isSafeInteger(Number(match[2]))) throw invalidFrom();
  return { status: match[1] === 's' ? 'scheduled' : 'finalised', ts: Number(match[2]), delayId: match[3] as string };
};

const invalidFrom = (): MatrixError =>
  new MatrixError('M_INVALID_PARAM', 'from must be the next_batch of an answer to the same question.');
