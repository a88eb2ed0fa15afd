import type { Subscribable } from '#src/kernel/signal.ts';
import { covers, type PositionVector, shardOfName } from '#src/protocol/wire/position.ts';
import type { Part, Section, SectionRequest, SectionView, Waker } from '../engine/section.ts';
import type { SyncFilter } from '../engine/sync-filter.ts';

/** One entry of account data as sync shows it. */
interface AccountDataEntry {
  /** 0 for global account data. */
  readonly roomNid: number;
  readonly type: string;
  /** Content, as JSON text. */
  readonly json: string;
  readonly pos: number;
}

/** A user's account data, in memory. */
interface UserAccountData {
  entries(): Iterable<AccountDataEntry>;
  changedSince(pos: number): readonly AccountDataEntry[];
}

export interface AccountDataSource {
  peek(userId: string): UserAccountData | undefined;
  load(userId: string): Promise<UserAccountData>;
  readonly changed: Subscribable<{ readonly userId: string }>;
}

const LIST = 'account_data';

/** Account data, global and of rooms. Client-Server API, "Client Config". */
export class AccountDataSection implements Section {
  readonly name = 'account_data';
  readonly opensOnlyWhenWoken = true;
  readonly #source: AccountDataSource;

  constructor(source: AccountDataSource) {
    this.#source = source;
  }

  listen(waker: Waker): void {
    // It decides who is ignored, what counts as unread and which invites are shown: so all sections may have news.
    this.#source.changed.subscribe(({ userId }) => waker.userForAll(userId));
  }

  open(request: SectionRequest): SectionView | Promise<SectionView> {
    const data = this.#source.peek(request.userId);
    return data === undefined
      ? this.#source.load(request.userId).then((loaded) => view(loaded, request))
      : view(data, request);
  }
}

const view = (data: UserAccountData, { userId, since, isInitial, filter }: SectionRequest): SectionView => {
  const after = since[shardOfName(userId)] ?? 0;
  const news = isInitial ? [] : data.changedSince(after);
  const entries = (
    roomNid: number,
    all: boolean,
    upTo: PositionVector,
    accepts: SyncFilter['accountData'],
  ): readonly AccountDataEntry[] =>
    (all ? [...data.entries()] : data.changedSince(after)).filter(
      (entry) =>
        entry.roomNid === roomNid && covers(upTo, entry.pos) && accepts?.({ type: entry.type, content: {} }) !== false,
    );
  return {
    changedRooms: () => news.map((entry) => entry.roomNid),
    room({ room, section, isFull }, { vector }) {
      if (section !== 'join' && section !== 'leave') return undefined;
      if (!filter.accountDataRoom(room.roomId)) return undefined;
      return part(entries(room.nid, isFull, vector, filter.roomAccountData));
    },
    general: ({ vector }) => part(entries(0, isInitial, vector, filter.accountData)),
  };
};

const part = (entries: readonly AccountDataEntry[]): Part | undefined =>
  entries.length === 0
    ? undefined
    : {
        list: LIST,
        events: entries.map((entry) => `{"type":${JSON.stringify(entry.type)},"content":${entry.json}}`),
        isNews: true,
      };
