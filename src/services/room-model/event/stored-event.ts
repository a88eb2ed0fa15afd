import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { type Pdu, redactionTarget } from '#src/protocol/events/pdu.ts';
import { STICKY, STICKY_TTL, stickyDurationOf } from '#src/protocol/events/sticky.ts';
import { MAX_KEY_LENGTH } from '#src/protocol/events/pdu-format.ts';
import { isEventId } from '#src/protocol/identifiers/identifiers.ts';
import { redact } from '#src/protocol/events/redaction.ts';
import { canonicalJson } from '#src/protocol/json/canonical-json.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { transactionIdOf } from './sent-by.ts';

/** What an event needs to know of its room. */
export interface EventRoom {
  readonly nid: number;
  readonly roomId: string;
  readonly version: RoomVersion;
  /** What events hold of it, where it is more than this: an event may be in memory for longer than its room. */
  readonly stub?: EventRoom | undefined;
}

/** The place of an event in its room's history. */
export interface EventStanding {
  /** Id of the state before it. */
  readonly state: number;
  readonly flags: number;
  /** The room's state after it was accepted, where it is not all that changed it. */
  readonly currentState: number | undefined;
}

export interface StoredEventParts {
  readonly room: EventRoom;
  readonly nid: number;
  readonly topo: number;
  readonly eventId: string;
  /** Id of the state before the event. */
  readonly state: number;
  readonly flags: number;
  /** The state event whose place it took. */
  readonly replaces: number | undefined;
  /** The room's state after the event was accepted, where the event is not all that changed it. */
  readonly currentState?: number | undefined;
  /** Its delay id, if it was a delayed event. */
  readonly delayId?: string | undefined;
  /** The device that sent it, and the transaction id, as `sent-by.ts` writes them. */
  readonly sentBy?: string | undefined;
  /** Canonical JSON of the PDU, or of its redacted form. */
  readonly json: string;
  readonly pdu?: Pdu;
}

/**
 * An event that is stored in the database (or on its way there). Parsed and serialised for clients at most once, and only when
 * they are read.
 */
export class StoredEvent {
  readonly room: EventRoom;
  readonly nid: number;
  readonly topo: number;
  readonly eventId: string;
  readonly replaces: number | undefined;
  readonly #delayId: string | undefined;
  readonly #sentBy: string | undefined;
  #state: number;
  #flags: number;
  #currentState: number | undefined;
  #json: string;
  #pdu: Pdu | undefined;
  #head: string | undefined;
  /** The replaced state event; the loader fills it in. Its content is served as `prev_content`. */
  previous: StoredEvent | undefined;
  #redactedBecause: StoredEvent | undefined;

  constructor(parts: StoredEventParts) {
    this.room = parts.room.stub ?? parts.room;
    this.nid = parts.nid;
    this.topo = parts.topo;
    this.eventId = parts.eventId;
    this.#state = parts.state;
    this.#flags = parts.flags;
    this.replaces = parts.replaces;
    this.#currentState = parts.currentState;
    this.#delayId = parts.delayId;
    this.#sentBy = parts.sentBy;
    this.#json = parts.json;
    this.#pdu = parts.pdu;
  }

  /** Id of the state before the event. */
  get state(): number {
    return this.#state;
  }
  get flags(): number {
    return this.#flags;
  }
  /** The room's state after the event was accepted, where the event is not all that changed it: it lies on a fork. */
  get currentState(): number | undefined {
    return this.#currentState;
  }

  get json(): string {
    return this.#json;
  }

  get pdu(): Pdu {
    this.#pdu ??= JSON.parse(this.#json) as Pdu;
    return this.#pdu;
  }

  get type(): string {
    return this.pdu.type;
  }
  get sender(): string {
    return this.pdu.sender;
  }
  get stateKey(): string | undefined {
    return this.pdu.state_key;
  }
  get isState(): boolean {
    return this.pdu.state_key !== undefined;
  }
  get content(): JsonObject {
    return this.pdu.content;
  }
  get ts(): number {
    return this.pdu.origin_server_ts;
  }
  get redactedBecause(): StoredEvent | undefined {
    return this.#redactedBecause;
  }
  /** The state after the event, when it took part in the room's state. */
  get stateAfter(): number {
    return (this.flags & EVENT_FLAGS.state) !== 0 ? this.nid : this.state;
  }

  /** The delayed event that it was, for its sender and nobody else (MSC4140). */
  delayIdFor(userId: string): string | undefined {
    return this.#delayId !== undefined && this.sender === userId ? this.#delayId : undefined;
  }

  /** The transaction id under which it was sent, for the device that sent it and nobody else. Client-Server API, `unsigned.transaction_id`. */
  transactionIdFor({
    userId,
    deviceId,
  }: {
    readonly userId: string;
    readonly deviceId: string | undefined;
  }): string | undefined {
    if (this.#sentBy === undefined || this.sender !== userId) return undefined;
    return transactionIdOf(this.#sentBy, deviceId);
  }

  /** For how many milliseconds it sticks, from when it was made or came; undefined for most events, and for redacted ones. MSC4354. */
  get stickyDuration(): number | undefined {
    return stickyDurationOf(this.pdu);
  }

  /** Its relation, by `m.relates_to`. Client-Server API, "Relationship types". */
  get relation(): { readonly relType: string; readonly eventId: string } | undefined {
    return relationOf(this.content);
  }

  /** Id of the root of the thread that the event is in; undefined outside of threads. */
  get threadRoot(): string | undefined {
    return (this.flags & EVENT_FLAGS.threaded) === 0 ? undefined : this.relation?.eventId;
  }

  /** Releases the parsed and serialised forms, twice the size of the text; they are recomputed on use. (`letGo`/`release`) */
  shrink(): void {
    this.#pdu = undefined;
    this.#head = undefined;
  }

  /** From now on the event is served in its redacted form. */
  redact(json: string, because: StoredEvent): void {
    this.#json = json;
    this.#pdu = undefined;
    this.#head = undefined;
    this.#redactedBecause = because;
  }

  /** The event as it would be after a redaction, for readers who may not see its content. Nothing is redacted. */
  redactedCopy(): StoredEvent {
    const { room, nid, topo, eventId, state, flags, replaces, currentState } = this;
    const json = canonicalJson(redact(room.version, this.pdu), 'lenient');
    const copy = new StoredEvent({ room, nid, topo, eventId, state, flags, replaces, currentState, json });
    copy.previous = this.previous;
    return copy;
  }

  /** The event with another form of what redacted it. */
  redactedAs(because: StoredEvent): StoredEvent {
    const { room, nid, topo, eventId, state, flags, replaces, currentState, json } = this;
    const copy = new StoredEvent({ room, nid, topo, eventId, state, flags, replaces, currentState, json });
    copy.previous = this.previous;
    copy.setRedactedBecause(because);
    return copy;
  }

  /**
   * The history around the event was purged: it is kept for the sake of the state, hidden, and without a state before it. (A later state
   * would show to users who left by it what was decided after them.)
   */
  detach(): void {
    this.#state = 0;
    this.#flags = (this.#flags | EVENT_FLAGS.outlier) & ~EVENT_FLAGS.state;
    this.#currentState = undefined;
  }

  /** The history around the event was restored. */
  attach({ state, flags, currentState }: EventStanding): void {
    this.#state = state;
    this.#flags = flags;
    this.#currentState = currentState;
  }

  /** It was soft-failed, and is allowed by the current state. */
  accept(): void {
    this.#flags &= ~EVENT_FLAGS.softFailed;
  }

  /** It was accepted by a partial state, and is not allowed by the full one. */
  reject(): void {
    this.#flags = (this.#flags | EVENT_FLAGS.rejected) & ~EVENT_FLAGS.state;
  }

  /** Rough size in memory, in bytes. */
  get size(): number {
    return 400 + this.#json.length * (this.#pdu === undefined ? 2 : 5);
  }

  /**
   * The event for clients up to the beginning of `unsigned`'s own members: everything that is the same for every reader.
   * Complete it with `clientJson`.
   */
  #clientHead(): string {
    if (this.#head !== undefined) return this.#head;
    const { pdu } = this;
    let head = `{"content":${JSON.stringify(contentForClients(this.room.version, pdu))},"event_id":${JSON.stringify(this.eventId)}`;
    if (stickyDurationOf(pdu) !== undefined) head += `,"${STICKY}":${JSON.stringify(pdu[STICKY])}`;
    head += `,"origin_server_ts":${pdu.origin_server_ts},"sender":${JSON.stringify(pdu.sender)}`;
    if (pdu.state_key !== undefined) head += `,"state_key":${JSON.stringify(pdu.state_key)}`;
    const redacts = pdu.type === 'm.room.redaction' ? redactionTarget(this.room.version, pdu) : undefined;
    if (redacts !== undefined) head += `,"redacts":${JSON.stringify(redacts)}`;
    head += `,"type":${JSON.stringify(pdu.type)}`;
    this.#head = head;
    return head;
  }

  /**
   * The event in the format of the Client-Server API.
   *
   * @param reader what depends on who asks, and when (`now`, in milliseconds since the epoch): the age, their membership at the event, the transaction id if their device sent it, the delay id
   *   if they did, bundled aggregations (JSON text of `m.relations`), how many milliseconds it is still sticky, whether what it replaced
   *   is nothing that they may know, and for an invite what they are told of the room (JSON text of members of `unsigned`)
   * @param withRoomId /sync leaves the room id out
   */
  clientJson(
    reader: {
      readonly now: number;
      readonly membership?: string | undefined;
      readonly transactionId?: string | undefined;
      readonly delayId?: string | undefined;
      readonly relations?: string | undefined;
      readonly stickyTtl?: number | undefined;
      readonly hidesPrevious?: boolean | undefined;
      readonly strippedState?: string | undefined;
      /** It is shown as `redacted_because` of another event: without its own, since such a chain has no end. */
      readonly isReason?: boolean | undefined;
    },
    withRoomId: boolean,
  ): string {
    let text = this.#clientHead();
    if (withRoomId) text += `,"room_id":${JSON.stringify(this.room.roomId)}`;
    let unsigned = `"age":${ageOf(this.pdu, reader.now)}`;
    if (reader.membership !== undefined) unsigned += `,"membership":"${reader.membership}"`;
    if (reader.transactionId !== undefined) unsigned += `,"transaction_id":${JSON.stringify(reader.transactionId)}`;
    if (reader.delayId !== undefined) unsigned += `,"org.matrix.msc4140.delay_id":${JSON.stringify(reader.delayId)}`;
    if (this.previous !== undefined && reader.hidesPrevious !== true) {
      unsigned += `,"prev_content":${JSON.stringify(this.previous.content)},"prev_sender":${JSON.stringify(this.previous.sender)}`;
      unsigned += `,"replaces_state":${JSON.stringify(this.previous.eventId)}`;
    }
    if (this.#redactedBecause !== undefined && reader.isReason !== true) {
      const because = this.#redactedBecause.clientJson({ now: reader.now, isReason: true }, true);
      unsigned += `,"redacted_by":${JSON.stringify(this.#redactedBecause.eventId)},"redacted_because":${because}`;
    }
    if (reader.stickyTtl !== undefined) unsigned += `,"${STICKY_TTL}":${reader.stickyTtl}`;
    if (reader.strippedState !== undefined) unsigned += `,${reader.strippedState}`;
    if (reader.relations !== undefined) unsigned += `,"m.relations":${reader.relations}`;
    return `${text},"unsigned":{${unsigned}}}`;
  }

  /** Sets the redaction of a stored event; for the loader. */
  setRedactedBecause(event: StoredEvent): void {
    this.#redactedBecause = event;
  }
}

/**
 * The age of an event in milliseconds. Never negative, whatever the clock of its server says, and always an integer that
 * JSON can carry. Client-Server API, "Room event format", `unsigned.age`.
 */
export const ageOf = ({ origin_server_ts: ts }: Pick<Pdu, 'origin_server_ts'>, now: number): number =>
  Math.min(Math.max(0, now - ts), Number.MAX_SAFE_INTEGER);

/**
 * For how long a text with ages in it is reused, in milliseconds, so that it is written once for all members of a room.
 * Clients use ages to ignore what is minutes old (such as calls), or to estimate the error of a
 * clock; the network takes about as long.
 */
const SHARED_TEXT_MS = 1_000;

/** Whether a text that was written at one moment may still be handed out at another one. */
export const isFresh = (writtenAt: number, now: number): boolean =>
  now >= writtenAt && now - writtenAt <= SHARED_TEXT_MS;

/** The redacted event's id is served both where old and where new clients look for it. Room version 11, "Moving the redacts property". */
const contentForClients = (version: RoomVersion, pdu: Pdu): JsonObject => {
  if (pdu.type !== 'm.room.redaction' || version.redactsInContent) return pdu.content;
  const target = redactionTarget(version, pdu);
  return target === undefined ? pdu.content : { ...pdu.content, redacts: target };
};

/** A relation type has at most as many bytes as an event type; anything else is none. */
const isRelType = (value: JsonValue | undefined): value is string =>
  typeof value === 'string' && value.length <= MAX_KEY_LENGTH && !value.includes('\0') && value.isWellFormed();

/** The relation that an event's content declares, if it declares one properly. */
export const relationOf = (
  content: JsonObject,
): { readonly relType: string; readonly eventId: string; readonly key: string | undefined } | undefined => {
  const relates = content['m.relates_to'];
  if (!isJsonObject(relates)) return undefined;
  const { rel_type: relType, event_id: eventId, key } = relates;
  if (!isRelType(relType) || !isEventId(eventId)) return undefined;
  return { relType, eventId, key: typeof key === 'string' ? key : undefined };
};
