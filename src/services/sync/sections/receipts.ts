import type { Subscribable } from '#src/kernel/signal.ts';
import { covers } from '#src/protocol/wire/position.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';
import { receiptContent, type ReceiptEntry } from '#src/services/push/receipts/receipt-content.ts';

/** The receipts of a room, in memory. */
interface RoomReceiptsView {
  /** Those that came after a position: of very many the reader's own, and the newest of others. @param most of others */
  shownTo(userId: string, after: number, most?: number): readonly ReceiptEntry[];
  /** Position of the newest one. */
  readonly latest: number;
}

export interface ReceiptSource {
  /** A room's receipts if they are in memory. */
  peek(room: Pick<Room, 'nid'>): RoomReceiptsView | undefined;
  /** The receipts of several rooms, in one statement at most. */
  forRooms(rooms: readonly Pick<Room, 'nid'>[]): Promise<ReadonlyMap<number, RoomReceiptsView>>;
  readonly changed: Subscribable<{ readonly room: Room; readonly receipt: Pick<ReceiptEntry, 'kind' | 'userId'> }>;
}

/** Read receipts of rooms. Client-Server API, "Receipts". */
export class ReceiptsSection implements Section {
  readonly name = 'receipts';
  readonly opensOnlyWhenWoken = true;
  readonly #source: ReceiptSource;

  constructor(source: ReceiptSource) {
    this.#source = source;
  }

  listen(waker: Waker): void {
    this.#source.changed.subscribe(({ room, receipt }) => {
      // "Servers MUST NOT send receipts of m.read.private to any other user than the one which originally sent it."
      if (receipt.kind === 'm.read.private') waker.user(receipt.userId);
      else waker.room(room.nid);
    });
  }

  open(request: SectionRequest): SectionView | Promise<SectionView> {
    const missing: Pick<Room, 'nid'>[] = [];
    for (const room of request.user.joined.values()) if (this.#source.peek(room) === undefined) missing.push(room);
    return missing.length === 0
      ? this.#view(request)
      : this.#source.forRooms(missing).then((read) => this.#view(request, read));
  }

  #view(request: SectionRequest, read?: ReadonlyMap<number, RoomReceiptsView>): SectionView {
    const { user, userId, since, isInitial, filter, ignored } = request;
    const of = (room: Pick<Room, 'nid'>): RoomReceiptsView | undefined =>
      this.#source.peek(room) ?? read?.get(room.nid);
    return {
      *changedRooms() {
        if (isInitial) return;
        for (const [nid, room] of user.joined) if (!covers(since, of(room)?.latest ?? 0)) yield nid;
      },
      room({ room, section, isFull }, { vector }) {
        if (section !== 'join' || !filter.ephemeralRoom(room.roomId)) return undefined;
        const receipts = of(room);
        if (receipts === undefined || filter.ephemeral?.({ type: 'm.receipt', content: {} }) === false)
          return undefined;
        const news = receipts.shownTo(userId, isFull ? 0 : (since[room.shard] ?? 0));
        const unheard = ignored();
        const shown = news.filter(
          ({ kind, pos, userId: reader }) =>
            covers(vector, pos) && (kind === 'm.read' || reader === userId) && !unheard.has(reader),
        );
        if (shown.length === 0) return undefined;
        return {
          list: 'ephemeral',
          events: [`{"type":"m.receipt","content":${receiptContent(shown)}}`],
          isNews: true,
        };
      },
    };
  }
}
