import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import type { EventRoom } from '#src/services/room-model/event/stored-event.ts';
import type { RoomStubRecord } from '#src/storage/room-model/room-rows.ts';
import type { PartialState } from './partial-state.ts';

/** What a stub says of its room. */
export interface RoomStanding {
  version: RoomVersion;
  /** Position of the newest committed event. */
  lastPosition: number;
  /** The partial state; undefined for rooms whose full state is known. */
  partial: PartialState | undefined;
  /** The position at which a partial state became complete; 0 for most rooms. */
  fullSince: number;
}

/**
 * The few things by which it is decided whether there is news in a room. It stays in memory as long as a user of the room syncs, also when the
 * room is evicted; a room that is read again takes its stub over, and keeps it up to date.
 */
export class RoomStub implements EventRoom, RoomStanding {
  readonly nid: number;
  readonly roomId: string;
  readonly shard: number;
  version: RoomVersion;
  lastPosition: number;
  partial: PartialState | undefined;
  fullSince: number;
  /** What the room weighed last in memory, in bytes; 0 when it was not there yet. */
  weight = 0;

  constructor(
    { nid, roomId, shard }: { readonly nid: number; readonly roomId: string; readonly shard: number },
    { fullSince, lastPosition, partial, version }: Readonly<RoomStanding>,
  ) {
    this.nid = nid;
    this.roomId = roomId;
    this.shard = shard;
    this.version = version;
    this.lastPosition = lastPosition;
    this.partial = partial;
    this.fullSince = fullSince;
  }

  /** Takes over what is known of the room by now. */
  update({ fullSince, lastPosition, partial, version }: Readonly<RoomStanding>): void {
    this.version = version;
    this.lastPosition = lastPosition;
    this.partial = partial;
    this.fullSince = fullSince;
  }
}

/** The stub of a room as its row says. */
export const stubOf = (record: RoomStubRecord, version: RoomVersion): RoomStub =>
  new RoomStub({ nid: record.nid, roomId: record.room_id, shard: record.shard }, standingOf(record, version));

export const standingOf = (record: RoomStubRecord, version: RoomVersion): RoomStanding => ({
  version,
  lastPosition: record.last_pos,
  partial: partialOf(record),
  fullSince: record.full_pos ?? 0,
});

const partialOf = ({
  partial_state: state,
  join_pos: join,
  via,
  servers,
  before,
}: RoomStubRecord): PartialState | undefined =>
  state === null || join === null || via === null
    ? undefined
    : { state, join, via, servers: textsIn(servers), before: textsIn(before) };

const textsIn = (json: string | null): ReadonlySet<string> => new Set(JSON.parse(json ?? '[]') as readonly string[]);
