import { Readable } from 'node:stream';
import type { Clock } from '#src/kernel/clock.ts';
import { LoopYield } from '#src/kernel/event-loop/loop-yield.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { decodeRoomToken, decodeSyncToken } from '#src/protocol/wire/position.ts';
import { MEMBER } from '#src/protocol/events/event-types.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { StateChain } from '#src/services/room-model/state/state-chain.ts';
import type { StateStore } from '#src/services/room-model/state/state-store.ts';
import type { Database } from '#src/storage/database.ts';
import { pageBack } from '#src/storage/room-model/event-reads.ts';
import { stateAtPositions, stateIdAfter } from '#src/storage/room-model/state-reads.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { type Membership, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { eventText } from '#src/services/reading/client-events/client-events.ts';
import type { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { VisibleEvent } from '#src/services/reading/visibility/visible-event.ts';
import type { WholeState } from '#src/services/room-model/room/whole-state.ts';
import type { RoomAccess, RoomView } from '#src/services/reading/access/room-access.ts';

/** A state may have tens of thousands of events, or megabytes: so much of it is written in one turn of the event loop, some milliseconds. */
const CHARACTERS_IN_A_TURN = 1024 * 1024;
/** What an event takes beside its text, in the time for so many characters. */
const CHARACTERS_OF_AN_EVENT = 1_000;

/** Longer answers are sent as they are read: about so many characters, and so many for an event that is not in memory. */
export const MAX_TEXT = 4 * 1024 * 1024;
const CHARACTERS_TO_LOAD = 600;
/** Events that are loaded in one statement while an answer is sent. */
export const LOAD_AT_ONCE = 200;

/** State events of a room: those in memory, and the positions of others. */
interface Selection {
  readonly room: Room;
  readonly held: readonly StoredEvent[];
  readonly nids: readonly number[];
}

/** JSON: a text, or a stream of it where it is long. */
export type JsonAnswer = string | Readable;

/** Which members are asked for. */
export interface MembersQuery {
  /** A token of /sync or /messages; the present when left out. */
  readonly at?: string | undefined;
  readonly membership?: Membership | undefined;
  readonly notMembership?: Membership | undefined;
}

/** Reads the state of rooms, as much of it as the reader may see. */
export class RoomState {
  readonly #access: Pick<RoomAccess, 'joined' | 'known' | 'reading'>;
  readonly #wholeState: WholeState;
  readonly #visibility: Pick<EventVisibility, 'asState'>;
  readonly #clock: Clock;
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #loader: EventLoader;
  readonly #states: StateStore;

  constructor(options: {
    readonly access: Pick<RoomAccess, 'joined' | 'known' | 'reading'>;
    readonly wholeState: WholeState;
    readonly visibility: Pick<EventVisibility, 'asState'>;
    readonly clock: Clock;
    readonly database: Database;
    readonly interner: Interner;
    readonly loader: EventLoader;
    readonly states: StateStore;
  }) {
    this.#access = options.access;
    this.#wholeState = options.wholeState;
    this.#visibility = options.visibility;
    this.#clock = options.clock;
    this.#database = options.database;
    this.#interner = options.interner;
    this.#loader = options.loader;
    this.#states = options.states;
  }

  /** All state events; for a user who has left, those of when they did. */
  async all(roomId: string, userId: string): Promise<StoredEvent[]> {
    const { held, nids, room } = await this.#all(roomId, userId);
    return [...held, ...(await this.#load(room, nids))];
  }

  /** The same as a JSON list of events. @throws MatrixError M_FORBIDDEN */
  async allJson(roomId: string, userId: string): Promise<JsonAnswer> {
    const selection = await this.#all(roomId, userId);
    return this.#json(selection, ['[', ']'], (events) => this.write(selection.room, userId, events));
  }

  async #all(roomId: string, userId: string): Promise<Selection> {
    const { isCurrent, room, state } = await this.#whole(roomId, userId);
    if (!isCurrent) return { room, held: [], nids: [...state.others().events, ...state.members().events] };
    const held = Array.from(room.state.values(), (slot) => slot.event);
    return { room, held, nids: Array.from(room.members.values(), (member) => member.event) };
  }

  /** Writes events: all at once, or, where that would take megabytes, as the answer is sent. */
  async #json(
    { held, nids, room }: Selection,
    [begin, end]: readonly [string, string],
    write: (events: readonly StoredEvent[]) => Promise<readonly string[]>,
  ): Promise<JsonAnswer> {
    const length = held.reduce((sum, { json }) => sum + json.length, nids.length * CHARACTERS_TO_LOAD);
    if (length <= MAX_TEXT) return begin + (await write([...held, ...(await this.#load(room, nids))])).join(',') + end;
    const load = (some: readonly number[]): Promise<StoredEvent[]> => this.#load(room, some);
    async function* pieces(): AsyncGenerator<Buffer, void, undefined> {
      let separator = begin;
      const pieceOf = async (events: readonly StoredEvent[]): Promise<Buffer> => {
        const texts = await write(events);
        const piece = texts.length === 0 ? '' : separator + texts.join(',');
        if (texts.length > 0) separator = ',';
        return Buffer.from(piece);
      };
      for (const some of piecesOf(held)) yield await pieceOf(some);
      for (let at = 0; at < nids.length; at += LOAD_AT_ONCE)
        yield await pieceOf(await load(nids.slice(at, at + LOAD_AT_ONCE)));
      yield Buffer.from(separator === begin ? begin + end : end);
    }
    return Readable.from(pieces(), { objectMode: false });
  }

  /** @throws MatrixError M_NOT_FOUND when the state has no such entry, M_FORBIDDEN */
  async one(roomId: string, userId: string, type: string, stateKey: string): Promise<StoredEvent> {
    const known = await this.#access.reading(roomId, userId);
    const isMissing = type === MEMBER && !known.room.knowsMember(stateKey);
    const view = isMissing ? await this.#whole(roomId, userId) : known;
    const event = await this.#entry(view, type, stateKey);
    const [shown] = event === undefined ? [] : await this.shownTo(view.room, userId, [event]);
    if (shown === undefined) throw new MatrixError('M_NOT_FOUND', `The room has no ${type} with that state key.`);
    return shown.event;
  }

  /** What a user may read of a room, once its full state is known. */
  async #whole(roomId: string, userId: string): Promise<RoomView> {
    const view = await this.#access.reading(roomId, userId);
    if (view.room.whenFull() === undefined) return view;
    await this.#wholeState.of(view.room);
    return this.#access.reading(roomId, userId);
  }

  async #entry({ room, state, isCurrent }: RoomView, type: string, stateKey: string): Promise<StoredEvent | undefined> {
    if (isCurrent && type !== MEMBER) return room.stateEvent(type, stateKey);
    if (isCurrent) {
      const member = room.member(stateKey);
      return member === undefined ? undefined : this.#loader.one(room, member.event);
    }
    if (type === MEMBER && room.member(stateKey) === undefined) return undefined;
    const skey = (await this.#interner.find({ stateKeys: [{ type, stateKey }] })).peekStateKey(type, stateKey);
    const nid = skey === undefined ? undefined : state.get(skey);
    return nid === undefined ? undefined : this.#loader.one(room, nid);
  }

  /** Member events, as `{"chunk":[...]}`. @throws MatrixError M_INVALID_PARAM for a token that is none, M_FORBIDDEN */
  async membersJson(roomId: string, userId: string, query: MembersQuery): Promise<JsonAnswer> {
    const view = await this.#whole(roomId, userId);
    const { room } = view;
    const wanted = (membership: Membership): boolean =>
      (query.membership === undefined || membership === query.membership) &&
      (query.notMembership === undefined || membership !== query.notMembership);
    const braces = ['{"chunk":[', ']}'] as const;
    if (view.isCurrent && query.at === undefined) {
      const members = [...room.members.values()].filter((member) => wanted(member.membership));
      const selection = { room, held: [], nids: members.map((member) => member.event) };
      return this.#json(selection, braces, (events) => this.write(room, userId, events));
    }
    const state = query.at === undefined ? view.state : await this.#stateAtToken(view, query.at);
    return this.#json({ room, held: [], nids: [...state.members().events] }, braces, (events) =>
      this.write(
        room,
        userId,
        events.filter((event) => wanted(membershipIn(event.content))),
      ),
    );
  }

  /** The joined members with their profiles, as JSON, for a joined user. @throws MatrixError M_FORBIDDEN */
  async joinedMembersJson(roomId: string, userId: string): Promise<JsonAnswer> {
    const room = await this.#access.joined(roomId, userId);
    await this.#wholeState.of(room);
    const members = [...room.members.values()].filter((member) => member.membership === 'join');
    const selection = { room, held: [], nids: members.map((member) => member.event) };
    return this.#json(selection, ['{"joined":{', '}}'], (events) => Promise.resolve(events.map(profileOf)));
  }

  /** State events as a reader may see them. */
  shownTo(room: Room, userId: string, events: readonly StoredEvent[]): Promise<VisibleEvent[]> {
    return this.#visibility.asState(room, userId, events);
  }

  /** JSON of state events for a reader. */
  async write(room: Room, userId: string, events: readonly StoredEvent[]): Promise<string[]> {
    const shown = await this.shownTo(room, userId, events);
    const now = this.#clock.now();
    const loopYield = new LoopYield(CHARACTERS_IN_A_TURN);
    const texts: string[] = [];
    for (const one of shown) {
      const text = eventText(one, { userId, deviceId: undefined }, { now }, true);
      texts.push(text);
      const turn = loopYield.after(text.length + CHARACTERS_OF_AN_EVENT);
      if (turn !== undefined) await turn;
    }
    return texts;
  }

  /** The same for events of a room that is named by its id. */
  async writeOf(roomId: string, userId: string, events: readonly StoredEvent[]): Promise<string[]> {
    return this.write(await this.#access.known(roomId), userId, events);
  }

  /** The events that make a state up, or those of them that are not about members. */
  eventsOf(room: Room, state: StateChain, family: 'all' | 'others' = 'all'): Promise<StoredEvent[]> {
    return this.#load(room, [...state.others().events, ...(family === 'all' ? state.members().events : [])]);
  }

  /** The member events that a state has for some users. */
  async membersOf(room: Room, state: StateChain, userIds: Iterable<string>): Promise<StoredEvent[]> {
    const keys = Array.from(userIds, (stateKey) => ({ type: MEMBER, stateKey })).filter(
      ({ stateKey }) => room.member(stateKey) !== undefined,
    );
    const names = await this.#interner.find({ stateKeys: keys });
    const skeys = keys.flatMap(({ type, stateKey }) => names.peekStateKey(type, stateKey) ?? []);
    return this.#load(
      room,
      skeys.flatMap((skey) => state.get(skey) ?? []),
    );
  }

  /** The state with an id. */
  async chain(room: Room, id: number): Promise<StateChain> {
    return id === room.stateId ? room.stateChain : this.#states.get(id);
  }

  /** The state at an event, as far as the reader may see it: for a user who has left, never a later one than that of when they did. */
  at(view: RoomView, event: StoredEvent): Promise<StateChain> | StateChain {
    return view.isCurrent || event.nid <= view.upTo ? this.chain(view.room, event.stateAfter) : view.state;
  }

  async #stateAtToken(view: RoomView, token: string): Promise<StateChain> {
    const { room, upTo } = view;
    const sync = decodeSyncToken(token);
    if (sync !== undefined) return this.#stateAtPosition(room, Math.min(sync.vector[room.shard] ?? 0, upTo));
    const place = decodeRoomToken(token);
    if (place === undefined)
      throw new MatrixError('M_INVALID_PARAM', 'The parameter at is not a token of this server.');
    if (place.within !== undefined) return this.#stateAtPosition(room, Math.min(place.within, upTo));
    const page = { room: room.nid, from: place, upTo, types: undefined, senders: undefined, limit: 1 };
    const [before] = await this.#loader.adopt(await pageBack(this.#database, page), () => room);
    if (before !== undefined) return this.chain(room, before.stateAfter);
    // What came before it may have been purged.
    const named = place.nid <= upTo ? await this.#loader.one(room, place.nid) : undefined;
    if (named !== undefined && named.state !== 0) return this.chain(room, named.state);
    // A timeline that goes back to the beginning of the room has no state before it: what its response told is asked for.
    return place.upTo === undefined ? StateChain.EMPTY : this.#stateAtPosition(room, Math.min(place.upTo, upTo));
  }

  async #stateAtPosition(room: Room, position: number): Promise<StateChain> {
    const [last] = await stateAtPositions(this.#database, [{ room: room.nid, upTo: position }]);
    return last === undefined ? StateChain.EMPTY : this.chain(room, stateIdAfter(last));
  }

  async #load(room: Room, nids: readonly number[]): Promise<StoredEvent[]> {
    const found = await this.#loader.load(nids.map((nid) => ({ room, nid })));
    return nids.map((nid) => found.get(nid)).filter((event) => event !== undefined);
  }
}

/** A member as `/joined_members` shows it. Unset values are null, as other servers answer: clients and bridges expect both keys. */
const profileOf = ({ stateKey = '', content }: StoredEvent): string => {
  const text = (value: unknown): string | null => (typeof value === 'string' ? value : null);
  const profile = { display_name: text(content['displayname']), avatar_url: text(content['avatar_url']) };
  return `${JSON.stringify(stateKey)}:${JSON.stringify(profile)}`;
};

/** Events in parts of about as much text as is written in one turn of the event loop. */
function* piecesOf(events: readonly StoredEvent[]): Generator<readonly StoredEvent[], void, undefined> {
  let from = 0;
  let length = 0;
  for (const [index, { json }] of events.entries()) {
    length += json.length;
    if (length < CHARACTERS_IN_A_TURN) continue;
    yield events.slice(from, index + 1);
    from = index + 1;
    length = 0;
  }
  if (from < events.length) yield events.slice(from);
}
