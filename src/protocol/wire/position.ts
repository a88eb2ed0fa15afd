/**
 * Positions in the streams that sync reads, and the tokens that clients hold.
 *
 * A position is `sequence * SHARDS + shard`. Every shard counts for itself, so a point in "everything" is a vector with one
 * position for each shard. Backfilled events take negative positions.
 */

/** How many logical shards rooms and users are spread over. Fixed for the life of the database: it is part of every position. */
export const SHARDS = 16;

/** The position with this sequence number in this shard. */
export const positionOf = (sequence: number, shard: number): number => sequence * SHARDS + shard;

/** The shard that gave out a position. */
export const shardOfPosition = (position: number): number => {
  const size = Math.abs(position);
  // The remainder of numbers beyond 2^31 is slow, and this is asked for everything that is told.
  return size - Math.floor(size / SHARDS) * SHARDS;
};

/** The sequence number of a position within its shard. */
export const sequenceOf = (position: number): number => Math.trunc(position / SHARDS);

/** The shard of a room (by room id) or of a user (by user id): FNV-1a over UTF-16 code units. */
export const shardOfName = (name: string): number => {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) {
    hash ^= name.charCodeAt(i);
    hash = Math.imul(hash, 0x01000193);
  }
  // The upper bits are folded in: FNV's lowest bits alone spread short names badly.
  return ((hash >>> 16) ^ hash) & (SHARDS - 1);
};

/** One position for each shard: everything at or before it. */
export type PositionVector = readonly number[];

/** Before everything. */
export const ORIGIN: PositionVector = Array.from({ length: SHARDS }, (_, shard) => shard);

/** Whether something at `position` is already behind someone who has seen everything up to `vector`. */
export const covers = (vector: PositionVector, position: number): boolean =>
  position <= (vector[shardOfPosition(position)] ?? 0);

/** What never reaches the disk (typing, presence): counted since the start of one process. */
export interface EphemeralPosition {
  /** Names the run of the process; a count from another run says nothing. */
  readonly run: string;
  readonly count: number;
}

/** Rooms of which less was told than of others: those with a number above `after`, up to where the next such part begins. */
export interface RoomsBehind {
  readonly after: number;
  /** Up to where they were told; before everything when the client knows nothing of them. */
  readonly since: PositionVector;
  /** All of their state is wanted, whatever the client knows. */
  readonly fullState: boolean;
}

/** How many parts of the rooms may have been told up to different positions. */
export const MAX_ROOMS_BEHIND = 8;

/** A point in everything that sync shows. */
export interface SyncPosition {
  readonly vector: PositionVector;
  readonly ephemeral: EphemeralPosition;
  /** Streams of which less was told than the vector says, by a lower-case letter each: positions up to which they were told. */
  readonly behind?: Readonly<Record<string, number>>;
  /** Rooms of which less was told, since not all fitted into the answer; by `after`, the smallest first. */
  readonly rooms?: readonly RoomsBehind[];
}

const encodeVector = (vector: PositionVector): string => {
  const bytes: number[] = [];
  for (let shard = 0; shard < SHARDS; shard++) {
    let rest = sequenceOf(vector[shard] ?? 0);
    while (rest >= 128) {
      bytes.push((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    bytes.push(rest);
  }
  return Buffer.from(bytes).toString('base64url');
};

const decodeVector = (text: string): PositionVector | undefined => {
  const bytes = Buffer.from(text, 'base64url');
  const vector: number[] = [];
  let at = 0;
  for (let shard = 0; shard < SHARDS; shard++) {
    let sequence = 0;
    let scale = 1;
    for (;;) {
      const byte = bytes[at++];
      if (byte === undefined || scale > 2 ** 49) return undefined;
      sequence += (byte & 127) * scale;
      if (byte < 128) break;
      scale *= 128;
    }
    const position = positionOf(sequence, shard);
    if (!Number.isSafeInteger(position)) return undefined;
    vector.push(position);
  }
  return at === bytes.length ? vector : undefined;
};

/** An integer in base 36; undefined when it is too large to be exact. */
const decodeInteger = (text: string): number | undefined => {
  const value = Number.parseInt(text, 36);
  return Number.isSafeInteger(value) ? value : undefined;
};

/** The token for a sync position (`next_batch`). Opaque to clients; the leading letter and digit name kind and version. */
export const encodeSyncToken = ({ vector, ephemeral, behind, rooms }: SyncPosition): string => {
  let token = `s1_${encodeVector(vector)}_${ephemeral.run}.${ephemeral.count.toString(36)}`;
  for (const letter in behind) token += `.${letter}${behind[letter]?.toString(36)}`;
  for (const { after, since, fullState } of rooms ?? [])
    token += `~${fullState ? 'f' : 'p'}${after.toString(36)}_${encodeVector(since)}`;
  return token;
};

/** Whether two positions are the same in every regard. */
export const isSamePosition = (one: SyncPosition, other: SyncPosition): boolean => {
  if (one === other) return true;
  if (one.ephemeral.count !== other.ephemeral.count || one.ephemeral.run !== other.ephemeral.run) return false;
  if (one.vector !== other.vector && one.vector.some((position, shard) => position !== other.vector[shard]))
    return false;
  const isWhole = ({ behind, rooms }: SyncPosition): boolean => behind === undefined && rooms === undefined;
  return (isWhole(one) && isWhole(other)) || encodeSyncToken(one) === encodeSyncToken(other);
};

/** The token for what had arrived in one shard up to a position: the end of a timeline that shows no event. */
export const encodeArrivalToken = (position: number): string =>
  encodeSyncToken({
    vector: ORIGIN.with(shardOfPosition(position), position),
    ephemeral: { run: '0', count: 0 },
  });

/**
 * The `pos` of an answer of sliding sync: names a position of a connection, and says where in everything that is. MSC4186.
 *
 * @param settled how many answers without news were given at this position: clients take the same `pos` for the same answer
 */
export const encodeSlidingToken = (run: string, number: number, vector: PositionVector, settled = 0): string =>
  `${run}/${number}/${encodeSyncToken({ vector, ephemeral: { run: '0', count: settled } })}`;

const SLIDING = /^([A-Za-z0-9_-]{1,16})\/([0-9]{1,12})\/(.*)$/;

/** Reads a `pos`: which position of which connection it names; undefined when it is not one of ours. */
export const decodeSlidingToken = (pos: string): { readonly run: string; readonly number: number } | undefined => {
  const [, run, number] = SLIDING.exec(pos) ?? [];
  return run === undefined ? undefined : { run, number: Number(number) };
};

/** Reads a `next_batch`, or a `pos` of sliding sync; undefined when it is not one of ours. */
export const decodeSyncToken = (text: string): SyncPosition | undefined => {
  // "A `pos` token can be used in `/messages` and `/relations` APIs, in the same way as a `next_batch`". MSC4186.
  const token = SLIDING.exec(text)?.[3] ?? text;
  const [whole = '', ...parts] = token.split('~');
  const match = /^s1_([A-Za-z0-9_-]+)_([a-z0-9]+)\.([a-z0-9]+)((?:\.[a-z][a-z0-9]+)*)$/.exec(whole);
  if (match === null) return undefined;
  const [, vectorText = '', run = '', count = '', rest = ''] = match;
  const vector = decodeVector(vectorText);
  const counted = decodeInteger(count);
  const rooms = parts.length === 0 ? undefined : roomsBehindOf(parts);
  if (vector === undefined || counted === undefined || (parts.length > 0 && rooms === undefined)) return undefined;
  const ephemeral = { run, count: counted };
  if (rest === '') return { vector, ephemeral, ...(rooms === undefined ? {} : { rooms }) };
  const behind: Record<string, number> = {};
  for (const text of rest.slice(1).split('.')) {
    const position = decodeInteger(text.slice(1));
    if (position === undefined) return undefined;
    behind[text.charAt(0)] = position;
  }
  return { vector, ephemeral, behind, ...(rooms === undefined ? {} : { rooms }) };
};

const roomsBehindOf = (parts: readonly string[]): readonly RoomsBehind[] | undefined => {
  const rooms: RoomsBehind[] = [];
  for (const part of parts) {
    const [, kind, number = '', vector = ''] = /^([fp])([a-z0-9]+)_([A-Za-z0-9_-]+)$/.exec(part) ?? [];
    const after = decodeInteger(number);
    const since = decodeVector(vector);
    const isInOrder = after !== undefined && after > (rooms.at(-1)?.after ?? -1);
    if (since === undefined || !isInOrder || rooms.length === MAX_ROOMS_BEHIND) return undefined;
    rooms.push({ after, since, fullState: kind === 'f' });
  }
  return rooms;
};

/** A place between two events of one room's topological order: just before (`/messages` backwards reads below it) the event named. */
export interface TopologicalPosition {
  readonly topo: number;
  readonly nid: number;
}

/** What a token for a place in a room's history says beside the place. */
export interface RoomTokenBounds {
  /** Of the `prev_batch` of a timeline: the position up to which the response told. */
  readonly upTo?: number | undefined;
  /** What arrived after this position is not before the place, wherever it stands in the room's history. */
  readonly within?: number | undefined;
}

/** The token for a place in a room's history (`prev_batch`, `start`, `end`). */
export const encodeRoomToken = ({ topo, nid }: TopologicalPosition, { upTo, within }: RoomTokenBounds = {}): string =>
  `t1_${topo.toString(36)}_${nid.toString(36)}${upTo === undefined ? '' : `_${upTo.toString(36)}`}${
    within === undefined ? '' : `~${within.toString(36)}`
  }`;

const ROOM_TOKEN = /^t1_(-?[a-z0-9]+)_(-?[a-z0-9]+)(?:_([a-z0-9]+))?(?:~(-?[a-z0-9]+))?$/;

/** Reads a place in a room's history, and what the token says beside it; undefined when it is not one of ours. */
export const decodeRoomToken = (token: string): (TopologicalPosition & RoomTokenBounds) | undefined => {
  const match = ROOM_TOKEN.exec(token);
  if (match === null) return undefined;
  const [topo, nid, upTo, within] = match
    .slice(1)
    .map((text) => (text === undefined ? undefined : decodeInteger(text)));
  if (topo === undefined || nid === undefined) return undefined;
  if ((match[3] !== undefined && upTo === undefined) || (match[4] !== undefined && within === undefined))
    return undefined;
  return { topo, nid, ...(upTo === undefined ? {} : { upTo }), ...(within === undefined ? {} : { within }) };
};
