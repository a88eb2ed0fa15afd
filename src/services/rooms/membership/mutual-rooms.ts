import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isCompliantUserId } from '#src/protocol/identifiers/identifiers.ts';
import type { Database } from '#src/storage/database.ts';
import { mutualRooms } from '#src/storage/room-model/room-ids.ts';

/** Rooms of one page. */
const PAGE = 100;
const TOKEN = /^m1_([0-9a-z]{1,10})$/;

export interface MutualRoomsPage {
  readonly roomIds: readonly string[];
  /** Of all pages. */
  readonly count: number;
  readonly next: string | undefined;
}

/** Which rooms two users have in common. Client-Server API, "Mutual Rooms". */
export class MutualRooms {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** @throws MatrixError M_INVALID_PARAM for oneself, for what is no user id, and for a token that is none */
  async page(userId: string, other: string, from: string | undefined): Promise<MutualRoomsPage> {
    if (!isCompliantUserId(other))
      throw new MatrixError('M_INVALID_PARAM', 'user_id is not a user id, such as @alice:example.org.');
    if (other === userId) throw new MatrixError('M_INVALID_PARAM', 'user_id must be that of another user.');
    const token = from === undefined ? undefined : TOKEN.exec(from);
    if (token === null) throw new MatrixError('M_INVALID_PARAM', 'The parameter from is not a token of this server.');
    const after = token === undefined ? 0 : Number.parseInt(token[1] ?? '', 36);
    const all = await mutualRooms(this.#database, userId, other);
    const rest = all.filter(({ nid }) => nid > after);
    const page = rest.slice(0, PAGE);
    const last = page.at(-1);
    return {
      roomIds: page.map((room) => room.room_id),
      count: all.length,
      next: rest.length > PAGE && last !== undefined ? `m1_${last.nid.toString(36)}` : undefined,
    };
  }
}
