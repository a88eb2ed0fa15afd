import { createHash } from 'node:crypto';
import { createdRoomId, type IdentifiedPdu, referencedIds, roomIdOf } from '#src/protocol/events/pdu.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { type Membership, membershipIn } from '#src/services/room-model/room/membership.ts';
import type { EventVerifier } from '#src/services/servers/keys/event-verifier.ts';
import { type AnswerBounds, BadAnswerError, type EventList, JoinAnswerSplitter } from './join-answer-splitter.ts';
import type { AnswerTopic, ArrivingAnswer, LargeAnswers } from './large-answers.ts';

/** Events whose signatures are verified together, and bytes of them. */
const BATCH = 250;
const BATCH_BYTES = 1024 * 1024;
/** Batches that are verified while more is read. */
const CONCURRENCY = 3;
/** Useless bytes (malformed, of another room, duplicate) that a response may have, unless most of it is valid. */
export const MAX_USELESS_BYTES = 8 * 1024 * 1024;
/**
 * Bytes of an answer that may be useless or not verifiable, unless a part of it is good. Much of the state of an old room may be of servers that
 * are gone, and comes first in a state in chronological order.
 */
export const MAX_UNVERIFIED_BYTES = 64 * 1024 * 1024;
export const MAX_UNVERIFIED_SHARE = 0.9;

/** An event of the answer, as small as it can be kept. */
export interface AnsweredEvent {
  readonly eventId: string;
  /** The PDU as JSON. */
  readonly json: Buffer;
  readonly auth: readonly string[];
}

/** A state event of the answer. */
export interface AnsweredState {
  readonly eventId: string;
  /** User and membership of a member event; undefined for other state. */
  readonly member: { readonly userId: string; readonly membership: Membership } | undefined;
}

/** The answer of `send_join`; every event in it verified by itself. */
export interface JoinAnswer {
  /** By id; the state and what authorises it. */
  readonly events: ReadonlyMap<string, AnsweredEvent>;
  /** By `stateMapKey`. */
  readonly state: ReadonlyMap<string, AnsweredState>;
  /** The join with the signature of the server that authorised it. */
  readonly event: JsonObject | undefined;
  readonly membersOmitted: boolean;
  /** Servers in the room; empty where they were not told. */
  readonly servers: readonly string[];
  /** Events that were dropped, because they are malformed, badly signed, or of another room. */
  readonly dropped: number;
}

/** A room as far as it is known before it is joined. */
export interface JoinedRoom {
  readonly roomId: string;
  readonly version: RoomVersion;
}

/**
 * Reads the answer of `send_join` while it arrives. What is badly signed or malformed is dropped, as if it had not been sent: old rooms
 * have state whose signatures cannot be checked any more.
 */
export class JoinAnswerReader {
  readonly #verifier: Pick<EventVerifier, 'verify'>;
  readonly #bounds: AnswerBounds;
  readonly #large: LargeAnswers;

  constructor(verifier: Pick<EventVerifier, 'verify'>, bounds: AnswerBounds, large: LargeAnswers) {
    this.#verifier = verifier;
    this.#bounds = bounds;
    this.#large = large;
  }

  /** Whether a server is not asked for such an answer now. */
  isPaused(topic: AnswerTopic): boolean {
    return this.#large.isPaused(topic);
  }

  /**
   * @param use is given the answer while it has its place among the large ones; when it throws a BadAnswerError, the answer was useless
   * @param later state events that come after the state that is told, if they are state: they replace what it has
   * @throws BadAnswerError when the answer is none, is useless for the most part, or when what matters most of it, the room's m.room.create,
   *   is missing or wrong
   */
  read<T>(
    room: JoinedRoom,
    answer: ArrivingAnswer,
    use: (told: JoinAnswer) => Promise<T>,
    later: readonly JsonObject[] = [],
  ): Promise<T> {
    return this.#large.read(answer, async (pieces) => use(await this.#collect(room, pieces, later)));
  }

  async #collect(room: JoinedRoom, body: AsyncIterable<Buffer>, later: readonly JsonObject[]): Promise<JoinAnswer> {
    const collected = new Collected(room);
    const ofLater = later.flatMap((event) => collected.event('state', Buffer.from(JSON.stringify(event))) ?? []);
    if (ofLater.length > 0) await this.#verify(room, ofLater, collected);
    const splitter = new JoinAnswerSplitter(this.#bounds);
    const underWay = new Set<Promise<void>>();
    let batch: Unverified[] = [];
    let batchBytes = 0;
    const verify = async (): Promise<void> => {
      const unverified = batch;
      batch = [];
      batchBytes = 0;
      if (unverified.length === 0) return;
      while (underWay.size >= CONCURRENCY) await Promise.race(underWay);
      const work = this.#verify(room, unverified, collected).finally(() => underWay.delete(work));
      // Awaited later; its rejection is handled there.
      work.catch(() => undefined);
      underWay.add(work);
    };
    try {
      let bytes = 0;
      for await (const chunk of body) {
        bytes += chunk.length;
        if (collected.useless > MAX_USELESS_BYTES && collected.useless > bytes / 2)
          throw new BadAnswerError('Most of the answer is useless: malformed events, or the same ones again.');
        const unverified = collected.useless + collected.unverified;
        if (unverified > MAX_UNVERIFIED_BYTES && unverified > bytes * MAX_UNVERIFIED_SHARE)
          throw new BadAnswerError('Most of the answer is useless: the signatures of its events cannot be verified.');
        for (const part of splitter.push(chunk)) {
          if (part.kind === 'member') collected.member(part.name, parsed(part.json));
          else {
            const one = collected.event(part.list, part.json);
            if (one === undefined) continue;
            batch.push(one);
            batchBytes += one.bytes;
            if (batch.length >= BATCH || batchBytes >= BATCH_BYTES) await verify();
          }
        }
      }
      splitter.end();
      await verify();
    } finally {
      await Promise.all(underWay);
    }
    return collected.answer();
  }

  async #verify({ version }: JoinedRoom, batch: readonly Unverified[], collected: Collected): Promise<void> {
    const verdicts = await this.#verifier.verify(
      version,
      batch.map(({ value }) => value),
    );
    for (const [index, verdict] of verdicts.entries()) {
      const one = batch[index];
      if (one === undefined) continue;
      if (verdict.ok) collected.verified(one, verdict.event);
      else if (verdict.isMalformed === true) collected.drop(one.bytes);
      else collected.dropUnverified(one.bytes);
    }
  }
}

interface Unverified {
  readonly digest: string;
  readonly value: JsonValue;
  readonly bytes: number;
}

/** What has been read so far. */
class Collected {
  readonly #room: JoinedRoom;
  readonly #events = new Map<string, AnsweredEvent>();
  readonly #state = new Map<string, AnsweredState>();
  /** The events that came, by the digest of their JSON: many stand in both lists, and are verified once. */
  readonly #lists = new Map<string, { isState: boolean; isAuth: boolean; eventId: string | undefined }>();
  #event: JsonObject | undefined;
  #membersOmitted = false;
  #servers: readonly string[] = [];
  #dropped = 0;
  #useless = 0;
  #unverified = 0;

  constructor(room: JoinedRoom) {
    this.#room = room;
  }

  /** Bytes of events that are malformed or of another room, or that were told in the same list before. */
  get useless(): number {
    return this.#useless;
  }

  /** Bytes of events whose signatures are wrong, or cannot be checked any more. */
  get unverified(): number {
    return this.#unverified;
  }

  member(name: string, value: JsonValue | undefined): void {
    if (name === 'event' && isJsonObject(value)) this.#event = value;
    else if (name === 'members_omitted') this.#membersOmitted = value === true;
    else if (name === 'servers_in_room' && Array.isArray(value))
      this.#servers = value.filter((server): server is string => typeof server === 'string');
  }

  /** An event to be verified; undefined when it came before. */
  event(list: EventList, json: Buffer): Unverified | undefined {
    const digest = createHash('sha256').update(json).digest('base64');
    const known = this.#lists.get(digest);
    const isState = list === 'state';
    if (known !== undefined) {
      if (isState ? known.isState : known.isAuth) this.#useless += json.length;
      known.isState ||= isState;
      known.isAuth ||= !isState;
      return undefined;
    }
    this.#lists.set(digest, { isState, isAuth: !isState, eventId: undefined });
    const value = parsed(json);
    if (isJsonObject(value)) return { digest, value, bytes: json.length };
    this.drop(json.length);
    return undefined;
  }

  drop(bytes: number): void {
    this.#dropped += 1;
    this.#useless += bytes;
  }

  dropUnverified(bytes: number): void {
    this.#dropped += 1;
    this.#unverified += bytes;
  }

  verified({ bytes, digest }: Unverified, event: IdentifiedPdu): void {
    const { eventId, pdu } = event;
    if (roomIdOf(this.#room.version, event) !== this.#room.roomId) {
      this.drop(bytes);
      return;
    }
    const place = this.#lists.get(digest);
    if (place !== undefined) place.eventId = eventId;
    if (this.#events.has(eventId)) return;
    const { unsigned: _unsigned, ...rest } = pdu;
    this.#events.set(eventId, {
      eventId,
      json: Buffer.from(JSON.stringify(rest)),
      auth: referencedIds(pdu.auth_events),
    });
    if (pdu.state_key === undefined) return;
    const member =
      pdu.type === 'm.room.member' ? { userId: pdu.state_key, membership: membershipIn(pdu.content) } : undefined;
    this.#keys.set(eventId, { key: stateMapKey(pdu.type, pdu.state_key), state: { eventId, member } });
  }

  readonly #keys = new Map<string, { readonly key: string; readonly state: AnsweredState }>();

  /** @throws BadAnswerError */
  answer(): JoinAnswer {
    for (const { isState, eventId } of this.#lists.values()) {
      const entry = isState && eventId !== undefined ? this.#keys.get(eventId) : undefined;
      if (entry !== undefined && !this.#state.has(entry.key)) this.#state.set(entry.key, entry.state);
    }
    this.#keys.clear();
    this.#lists.clear();
    const create = this.#state.get(CREATE);
    const event = create === undefined ? undefined : this.#events.get(create.eventId);
    if (event === undefined) throw new BadAnswerError('The state has no valid m.room.create.');
    assertIsCreateOf(this.#room, event);
    return {
      events: this.#events,
      state: this.#state,
      event: this.#event,
      membersOmitted: this.#membersOmitted,
      servers: this.#servers,
      dropped: this.#dropped,
    };
  }
}

const CREATE = stateMapKey('m.room.create', '');

/** @throws BadAnswerError */
const assertIsCreateOf = ({ roomId, version }: JoinedRoom, { eventId, json }: AnsweredEvent): void => {
  const { content } = JSON.parse(json.toString('utf8')) as { readonly content: JsonObject };
  if ((content['room_version'] ?? '1') !== version.id)
    throw new BadAnswerError(`The m.room.create is not of room version ${version.id}.`);
  if (version.roomIdIsCreateHash && createdRoomId(eventId) !== roomId)
    throw new BadAnswerError('The m.room.create is that of another room.');
};

const UTF8 = new TextDecoder('utf-8', { fatal: true });

/** The value of JSON text; undefined for what is none. */
const parsed = (json: Buffer): JsonValue | undefined => {
  try {
    return JSON.parse(UTF8.decode(json)) as JsonValue;
  } catch {
    return undefined;
  }
};
