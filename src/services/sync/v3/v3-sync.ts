import { isSameList } from '#src/kernel/same-list.ts';
import type { Eventually } from '#src/kernel/concurrency/steps.ts';
import { encodeSyncToken, type SyncPosition } from '#src/protocol/wire/position.ts';
import type { RoomPlan } from '../engine/room-plan.ts';
import type { SectionPart, SyncEncoder } from '../engine/sync-encoder.ts';
import type { SyncEngine } from '../engine/sync-engine.ts';
import type { SyncRequest, SyncResult } from '../engine/sync-request.ts';
import { type Text, TextPieces } from './text-pieces.ts';

/** Rooms, by the user's membership, in the order in which they are written. */
const SECTIONS = ['join', 'invite', 'knock', 'leave'] as const;

/** Lists that rooms always have, empty or not. */
const LISTS: Readonly<Record<RoomPlan['section'], readonly string[]>> = {
  join: ['ephemeral', 'account_data'],
  invite: [],
  knock: [],
  leave: ['account_data'],
};

/** Bodies that are remembered: one message makes as many different ones as its readers have different unread counts and keys. */
const REMEMBERED = 16;
/** Largest cached body, in rooms and characters; larger ones are catch-ups of a single client. */
const MAX_ROOMS = 2;
const MAX_LENGTH = 32 * 1024;

/** Sync as `GET /_matrix/client/v3/sync` answers, and as the WebSocket API pushes. */
export class V3Sync {
  readonly #engine: SyncEngine;
  readonly #bodies = new SharedBodies();

  constructor(engine: SyncEngine) {
    this.#engine = engine;
  }

  /** Responds at once when there are changes, else waits until the timeout. (twins: sync-engine.ts, sliding-sync.ts) */
  async sync(request: SyncRequest): Promise<SyncResult> {
    return this.answer(request);
  }

  /** The same; no promise where all that it takes is in memory. */
  answer(request: SyncRequest): Eventually<SyncResult> {
    return this.#engine.sync(request, () => new V3Encoder(this.#bodies, (text) => text.whole()));
  }

  /** The same; a long body in pieces, since putting them together would copy all of it in one turn of the event loop. */
  async syncInPieces(request: SyncRequest): Promise<SyncResult<Text>> {
    return this.#engine.sync(request, () => new V3Encoder<Text>(this.#bodies, (text) => text.end()));
  }
}

/** A body, and what it was made of: rooms, sections and parts, in order. */
interface SharedBody {
  readonly next: SyncPosition;
  readonly content: readonly unknown[];
  readonly body: string;
}

/** The last bodies that were written. What is made of the very same parts is the same text, which is handed out again. */
class SharedBodies {
  readonly #bodies: SharedBody[] = [];
  #oldest = 0;
  #token: { readonly next: SyncPosition; readonly text: string } | undefined;

  find(next: SyncPosition, content: readonly unknown[]): string | undefined {
    for (const shared of this.#bodies) {
      if (shared.next === next && isSameList(shared.content, content)) return shared.body;
    }
    return undefined;
  }

  remember(next: SyncPosition, content: readonly unknown[], body: string): void {
    if (body.length > MAX_LENGTH) return;
    this.#bodies[this.#oldest] = { next, content, body };
    this.#oldest = (this.#oldest + 1) % REMEMBERED;
  }

  /** The token of a position, written once for all responses that end there. */
  token(next: SyncPosition): string {
    if (this.#token?.next !== next) this.#token = { next, text: encodeSyncToken(next) };
    return this.#token.text;
  }
}

/** Writes a response as `GET /_matrix/client/v3/sync` answers. */
class V3Encoder<Body extends Text> implements SyncEncoder<Body | string> {
  readonly #bodies: SharedBodies;
  /** The first rooms, which are written at the end if their text is not there already. */
  readonly #rooms: { readonly plan: RoomPlan; readonly parts: readonly SectionPart[] }[] = [];
  /** The texts of the others, which are written as they come: of many rooms that takes long. */
  #texts: Texts | undefined;
  #general: readonly SectionPart[] = [];

  readonly #finish: (text: TextPieces) => Body;

  /** @param finish makes the body of its text */
  constructor(bodies: SharedBodies, finish: (text: TextPieces) => Body) {
    this.#bodies = bodies;
    this.#finish = finish;
  }

  room(plan: RoomPlan, parts: readonly SectionPart[]): void {
    if (this.#rooms.length < MAX_ROOMS) this.#rooms.push({ plan, parts });
    else write(plan, parts, (this.#texts ??= noTexts()));
  }

  general(parts: readonly SectionPart[]): void {
    this.#general = parts;
  }

  end(next: SyncPosition): Body | string {
    if (this.#texts !== undefined) return this.#write(next);
    const content = this.#content();
    const shared = this.#bodies.find(next, content);
    if (shared !== undefined) return shared;
    const body = this.#write(next);
    if (typeof body === 'string') this.#bodies.remember(next, content, body);
    return body;
  }

  /** All that the body is made of, beside the position. */
  #content(): readonly unknown[] {
    const content: unknown[] = [];
    for (const { plan, parts } of this.#rooms) {
      content.push(plan.room.stub, plan.section);
      for (const { part } of parts) content.push(part);
    }
    for (const { part } of this.#general) content.push(part);
    return content;
  }

  #write(next: SyncPosition): Body {
    const texts = noTexts();
    for (const { plan, parts } of this.#rooms) write(plan, parts, texts);
    if (this.#texts !== undefined)
      for (const section of SECTIONS) texts[section] = [...texts[section], ...this.#texts[section]];
    const body = new TextPieces();
    body.add(`{"next_batch":"${this.#bodies.token(next)}"`);
    let before = ',"rooms":{';
    for (const section of SECTIONS) {
      if (texts[section].length === 0) continue;
      body.add(`${before}"${section}":{`).addList(texts[section]).add('}');
      before = ',';
    }
    if (before === ',') body.add('}');
    addMembers(body, this.#general, [], ',');
    return this.#finish(body.add('}'));
  }
}

type Texts = Record<RoomPlan['section'], string[]>;

const noTexts = (): Texts => ({ join: [], invite: [], knock: [], leave: [] });

const write = ({ room, section }: RoomPlan, parts: readonly SectionPart[], texts: Texts): void => {
  const text = new TextPieces().add(`${JSON.stringify(room.roomId)}:{`);
  addMembers(text, parts, LISTS[section], '');
  texts[section].push(text.add('}').whole());
};

/**
 * Adds members of a JSON object: those of the parts, and then the lists that the parts fill.
 *
 * @param always lists that are there in any case
 * @param before what stands before the first member
 */
const addMembers = (
  text: TextPieces,
  parts: readonly SectionPart[],
  always: readonly string[],
  before: string,
): void => {
  let separator = before;
  const lists = new Map<string, string[]>(always.map((list) => [list, []]));
  for (const { part } of parts) {
    for (const name in part.members) {
      text.add(`${separator}"${name}":`).add(part.members[name] ?? 'null');
      separator = ',';
    }
    if (part.list === undefined) continue;
    const texts = lists.get(part.list) ?? [];
    lists.set(part.list, texts);
    for (const event of part.events ?? []) texts.push(event);
  }
  for (const [list, texts] of lists) {
    text.add(`${separator}"${list}":{"events":[`).addList(texts).add(']}');
    separator = ',';
  }
};
