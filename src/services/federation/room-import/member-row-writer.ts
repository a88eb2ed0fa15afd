import type { Writer } from '#src/services/commit/writer.ts';
import { memberRow } from '#src/services/room-model/room/member-row.ts';
import type { Member } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { tailRow } from '#src/services/room-model/room/tail-row.ts';

/** Memberships that are written in one statement, for which other writes wait. */
const BATCH_SIZE = 500;

/**
 * Writes memberships of a remote room, a few hundred at a time, before the room's state has them. What an interrupted attempt
 * leaves is overwritten by the next one.
 */
export class MemberRowWriter {
  readonly #writer: Writer;

  constructor(writer: Writer) {
    this.#writer = writer;
  }

  /** @param isNews whether a membership is still to be written when its turn has come; all of them when left out */
  async write(room: Room, members: readonly Member[], isNews: (member: Member) => boolean = () => true): Promise<void> {
    for (let at = 0; at < members.length; at += BATCH_SIZE) {
      const slice = members.slice(at, at + BATCH_SIZE).filter(isNews);
      if (slice.length > 0) await this.#write(room, slice);
    }
  }

  /** In the turn in which it is called: what was queued of the room before is written before it. */
  #write(room: Room, slice: readonly Member[]): Promise<void> {
    const { generation } = room;
    const position = this.#writer.allocate(room.shard);
    const members = slice.map((member) => ({ ...member, since: position }));
    return this.#writer.append({
      positions: [position],
      events: {
        events: [],
        members: members.map((member) => memberRow(room, member)),
        tails: [tailRow(room, position)],
      },
      isStale: () => room.generation !== generation,
      publish: () => room.applyMembers(position, members),
    });
  }
}
