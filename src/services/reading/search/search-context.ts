import { encodeRoomToken } from '#src/protocol/wire/position.ts';
import { NO_ROOM_EVENT_FILTER } from '#src/protocol/filters/parse-filter.ts';
import type { ClientEvents, Reader } from '#src/services/reading/client-events/client-events.ts';
import type { HistoryPages } from '#src/services/reading/history/history-pages.ts';
import type { RoomAccess, RoomView } from '#src/services/reading/access/room-access.ts';
import type { RoomState } from '#src/services/reading/state/room-state.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';

/** Events before a result, and after it. */
export const MAX_AROUND = 100;

/** A profile as it was; named as on the wire. */
export interface HistoricProfile {
  readonly displayname?: string;
  readonly avatar_url?: string;
}

/** The events around a result, as JSON texts. */
export interface SearchContext {
  readonly start: string;
  readonly end: string;
  /** Newest first. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly profiles: ReadonlyMap<string, HistoricProfile> | undefined;
}

/** Reads the events around the results of a search. */
export class SearchContexts {
  readonly #access: RoomAccess;
  readonly #pages: HistoryPages;
  readonly #roomState: RoomState;
  readonly #writer: ClientEvents;

  constructor(options: {
    readonly access: RoomAccess;
    readonly pages: HistoryPages;
    readonly roomState: RoomState;
    readonly writer: ClientEvents;
  }) {
    this.#access = options.access;
    this.#pages = options.pages;
    this.#roomState = options.roomState;
    this.#writer = options.writer;
  }

  /** @param wanted.maxBytes of events, after which there are no more of them; one on each side in any case */
  async around(
    room: Room,
    reader: Reader,
    target: VisibleEvent,
    wanted: {
      readonly before: number;
      readonly after: number;
      readonly includeProfile: boolean;
      readonly maxBytes: number;
    },
  ): Promise<SearchContext> {
    const view = await this.#access.reading(room.roomId, reader.userId);
    const { upTo } = view;
    const { topo, nid } = target.event;
    const filter = NO_ROOM_EVENT_FILTER;
    const common = {
      room,
      userId: reader.userId,
      upTo,
      stop: undefined,
      wanted: undefined,
      filter,
      maxBytes: wanted.maxBytes / 2,
    };
    const [before, after] = await Promise.all([
      this.#pages.read({ ...common, dir: 'b', from: { topo, nid }, limit: Math.min(wanted.before, MAX_AROUND) }),
      this.#pages.read({
        ...common,
        dir: 'f',
        from: { topo, nid: nid + 1 },
        limit: Math.min(wanted.after, MAX_AROUND),
      }),
    ]);
    return {
      start: encodeRoomToken(before.end),
      end: encodeRoomToken(after.end),
      before: await this.#writer.write(room, reader, before.events),
      after: await this.#writer.write(room, reader, after.events),
      profiles: wanted.includeProfile
        ? await this.#profiles(view, reader.userId, target, [...before.events, target, ...after.events])
        : undefined,
    };
  }

  /** The profiles that the senders had in the room at the result. */
  async #profiles(
    view: RoomView,
    userId: string,
    target: VisibleEvent,
    events: readonly VisibleEvent[],
  ): Promise<Map<string, HistoricProfile>> {
    const chain = await this.#roomState.at(view, target.event);
    const senders = new Set(events.map(({ event }) => event.sender));
    const held = await this.#roomState.membersOf(view.room, chain, senders);
    const members = (await this.#roomState.shownTo(view.room, userId, held)).map(({ event }) => event);
    return new Map(
      members.map(({ stateKey = '', content: { displayname, avatar_url: avatarUrl } }) => [
        stateKey,
        {
          ...(typeof displayname === 'string' ? { displayname } : {}),
          ...(typeof avatarUrl === 'string' ? { avatar_url: avatarUrl } : {}),
        },
      ]),
    );
  }
}
