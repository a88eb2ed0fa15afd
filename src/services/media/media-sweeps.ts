import type { Clock } from '#src/kernel/clock.ts';
import type { Tx } from '#src/storage/database.ts';
import { lockOld, lockUnused } from '#src/storage/media/media-deletion.ts';
import { LOCAL } from '#src/storage/media/media.ts';
import { quarantineMediaOfUser, quarantineNamed } from '#src/storage/media/quarantine.ts';
import { mediaNamedInRoom, shownMedia } from '#src/storage/media/references.ts';
import { roomNidsOf } from '#src/storage/room-model/room-ids.ts';
import { deleteWithBytes } from './media-deletion.ts';

/** Pieces of media, and events, that one step looks at. */
const MEDIA_AT_ONCE = 500;
const EVENTS_AT_ONCE = 5_000;

/** What is done with many pieces of media, however many there are. Times are milliseconds since the epoch, sizes bytes. */
export type MediaSweep =
  /** Deletes local media that were not requested since a time; `keepsShown`: except avatars and the like. */
  | {
      readonly kind: 'delete_old';
      readonly before: number;
      readonly largerThan: number;
      readonly keepsShown: boolean;
    }
  /** Deletes cached remote media that were not requested since a time. */
  | { readonly kind: 'purge_remote'; readonly before: number }
  /** Quarantines all that a user has uploaded here. */
  | { readonly kind: 'quarantine_user'; readonly userId: string; readonly by: string }
  /** Quarantines what events of a room name in clear text, of whichever server, as far as it is here. */
  | { readonly kind: 'quarantine_room'; readonly roomId: string; readonly by: string };

/** What one step of a sweep did. */
export interface SweepStep {
  /** The ids of what was deleted; empty where nothing is. */
  readonly deleted: readonly string[];
  /** How many were deleted or quarantined. */
  readonly count: number;
  /** Where the next step begins; undefined at the end. */
  readonly after: number | undefined;
}

/** Where a sweep begins. */
export const SWEEP_START = Number.MIN_SAFE_INTEGER;

/** Carries out sweeps in steps of bounded size: each is a transaction, after which the process may end. */
export class MediaSweeps {
  readonly #clock: Clock;
  readonly #serverName: string;

  constructor({ clock, serverName }: { readonly clock: Clock; readonly serverName: string }) {
    this.#clock = clock;
    this.#serverName = serverName;
  }

  /** @param after where it begins: `SWEEP_START`, or what the step before said */
  step(tx: Tx, sweep: MediaSweep, after: number): Promise<SweepStep> {
    switch (sweep.kind) {
      case 'delete_old':
        return this.#deleteOld(tx, sweep, after);
      case 'purge_remote':
        return this.#purgeRemote(tx, sweep.before, after);
      case 'quarantine_user':
        return this.#quarantineUser(tx, sweep, after);
      case 'quarantine_room':
        return this.#quarantineRoom(tx, sweep, after);
    }
  }

  async #deleteOld(
    tx: Tx,
    { before, keepsShown, largerThan }: Extract<MediaSweep, { kind: 'delete_old' }>,
    after: number,
  ): Promise<SweepStep> {
    const seen = await lockOld(tx, { before, size: largerThan, after, limit: MEDIA_AT_ONCE });
    const named = seen.map(({ nid, mediaId }) => ({ nid, uri: `${this.#serverName}/${mediaId}` }));
    const staying = keepsShown ? await shownMedia(tx, named) : new Set<number>();
    const going = seen.filter(({ nid }) => !staying.has(nid));
    await deleteWithBytes(tx, going);
    const isLast = seen.length < MEDIA_AT_ONCE;
    return {
      deleted: going.map(({ mediaId }) => mediaId),
      count: going.length,
      after: isLast ? undefined : seen.at(-1)?.nid,
    };
  }

  async #purgeRemote(tx: Tx, before: number, after: number): Promise<SweepStep> {
    const going = await lockUnused(tx, { before, isLocal: false, after, limit: MEDIA_AT_ONCE });
    await deleteWithBytes(tx, going);
    const isLast = going.length < MEDIA_AT_ONCE;
    return { deleted: [], count: going.length, after: isLast ? undefined : going.at(-1)?.nid };
  }

  async #quarantineUser(
    tx: Tx,
    { by, userId }: Extract<MediaSweep, { kind: 'quarantine_user' }>,
    after: number,
  ): Promise<SweepStep> {
    const quarantining = { by, now: this.#clock.now() };
    const { last, marked, seen } = await quarantineMediaOfUser(tx, userId, after, MEDIA_AT_ONCE, quarantining);
    return { deleted: [], count: marked, after: last === null || seen < MEDIA_AT_ONCE ? undefined : last };
  }

  async #quarantineRoom(
    tx: Tx,
    { by, roomId }: Extract<MediaSweep, { kind: 'quarantine_room' }>,
    after: number,
  ): Promise<SweepStep> {
    const [room] = await roomNidsOf(tx, [roomId]);
    if (room === undefined) return { deleted: [], count: 0, after: undefined };
    const { last, seen, uris } = await mediaNamedInRoom(tx, room, after, EVENTS_AT_ONCE);
    const named = uris.map((uri) => {
      const slash = uri.indexOf('/');
      const server = uri.slice(0, slash);
      return { origin: server === this.#serverName ? LOCAL : server, mediaId: uri.slice(slash + 1) };
    });
    const count = await quarantineNamed(tx, named, { by, now: this.#clock.now() });
    return { deleted: [], count, after: last === null || seen < EVENTS_AT_ONCE ? undefined : last };
  }
}
