import { encodeSyncToken, type SyncPosition } from '#src/protocol/wire/position.ts';
import type { RoomPlan } from '../engine/room-plan.ts';
import type { SectionPart, SyncEncoder } from '../engine/sync-encoder.ts';
import type { SyncEngine } from '../engine/sync-engine.ts';
import type { SyncRequest, SyncResult } from '../engine/sync-request.ts';

/** Rooms, by the user's membership, in the order in which they are written. */
const SECTIONS = ['join', 'invite', 'knock', 'leave'] as const;

/** Lists that rooms always have, empty or not. */
const LISTS: Readonly<Record<RoomPlan['section'], readonly string[]>> = {
  join: ['ephemeral', 'account_data'],
  invite: [],
  knock: [],
  leave: ['account_data'],
};

/** Sync as `GET /_matrix/client/v3/sync` answers, and as the WebSocket API pushes. */
export class V3Sync {
  readonly #engine: SyncEngine;

  constructor(engine: SyncEngine) {
    this.#engine = engine;
  }

  /** Answers at once when there is news, else waits for some until the timeout. */
  sync(request: SyncRequest): Promise<SyncResult> {
    return this.#engine.sync(request, () => new V3Encoder());
  }
}

/** Writes a response as `GET /_matrix/client/v3/sync` answers. */
class V3Encoder implements SyncEncoder<string> {
  readonly #rooms: Record<RoomPlan['section'], string[]> = { join: [], invite: [], knock: [], leave: [] };
  #general = '';

  room({ room, section }: RoomPlan, parts: readonly SectionPart[]): void {
    this.#rooms[section].push(`${JSON.stringify(room.roomId)}:{${membersOf(parts, LISTS[section])}}`);
  }

  general(parts: readonly SectionPart[]): void {
    this.#general = membersOf(parts, []);
  }

  end(next: SyncPosition): string {
    const rooms = SECTIONS.filter((section) => this.#rooms[section].length > 0)
      .map((section) => `"${section}":{${this.#rooms[section].join(',')}}`)
      .join(',');
    const members = [`"next_batch":"${encodeSyncToken(next)}"`];
    if (rooms !== '') members.push(`"rooms":{${rooms}}`);
    if (this.#general !== '') members.push(this.#general);
    return `{${members.join(',')}}`;
  }
}

/** Members of a JSON object: those of the parts, and then the lists that the parts fill. @param always lists that are there in any case */
const membersOf = (parts: readonly SectionPart[], always: readonly string[]): string => {
  const members: string[] = [];
  const lists = new Map<string, string[]>(always.map((list) => [list, []]));
  for (const { part } of parts) {
    for (const name in part.members) members.push(`"${name}":${part.members[name]}`);
    if (part.list === undefined) continue;
    const texts = lists.get(part.list) ?? [];
    lists.set(part.list, texts);
    for (const text of part.events ?? []) texts.push(text);
  }
  for (const [list, texts] of lists) members.push(`"${list}":{"events":[${texts.join(',')}]}`);
  return members.join(',');
};
