import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import type { AuthVerdict, StateAccess } from '#src/protocol/auth/verdict.ts';
import { createdRoomId } from '#src/protocol/events/pdu.ts';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { reference } from '../events/event-cases.ts';

export const CREATOR = '@creator:a';
export const ALICE = '@alice:a';
export const BOB = '@bob:b';
export const CAROL = '@carol:c';

/** What an event of the tests is made of. */
export interface Draft {
  readonly type: string;
  readonly sender: string;
  readonly stateKey?: string;
  readonly content?: JsonObject;
  readonly prevEvents?: readonly string[];
  readonly redacts?: string;
  readonly eventId?: string;
  readonly roomId?: string | null;
  readonly rejected?: boolean;
}

/** What a room of the tests is made of. `members` maps users to memberships; the creator is in. */
export interface RoomDraft {
  readonly creation?: JsonObject;
  readonly joinRule?: string;
  readonly members?: Readonly<Record<string, string>>;
  readonly power?: JsonObject;
  readonly more?: readonly Draft[];
}

/** A room's state in memory, to judge events against. */
export class Room {
  readonly version: RoomVersion;
  readonly roomId: string;
  readonly create: IdentifiedPdu;
  readonly #state = new Map<string, IdentifiedPdu>();

  constructor(version: RoomVersion, draft: RoomDraft = {}) {
    this.version = version;
    const createId = '$create:a';
    this.roomId = version.roomIdIsCreateHash ? createdRoomId(createId) : '!room:a';
    const creator: JsonObject = version.auth.implicitCreator ? {} : { creator: CREATOR };
    this.create = this.#put({
      type: 'm.room.create',
      sender: CREATOR,
      stateKey: '',
      eventId: createId,
      content: { ...creator, room_version: version.id, ...draft.creation },
      ...(version.roomIdIsCreateHash ? { roomId: null } : {}),
    });
    for (const [user, membership] of Object.entries({ [CREATOR]: 'join', ...draft.members })) {
      this.#put({ type: 'm.room.member', sender: user, stateKey: user, content: { membership } });
    }
    if (draft.joinRule !== undefined)
      this.#put({ type: 'm.room.join_rules', sender: CREATOR, stateKey: '', content: { join_rule: draft.joinRule } });
    if (draft.power !== undefined)
      this.#put({ type: 'm.room.power_levels', sender: CREATOR, stateKey: '', content: draft.power });
    for (const event of draft.more ?? []) this.#put(event);
  }

  readonly state: StateAccess = (type, stateKey) => this.#state.get(`${type}\0${stateKey}`);

  event(draft: Draft): IdentifiedPdu {
    const { type, sender, stateKey, content = {}, prevEvents = ['$prev:a'], redacts, roomId = this.roomId } = draft;
    const eventId = draft.eventId ?? `$${type}-${stateKey ?? ''}:a`;
    const pdu: Pdu = {
      type,
      sender,
      content,
      ...(stateKey === undefined ? {} : { state_key: stateKey }),
      ...(roomId === null ? {} : { room_id: roomId }),
      ...(redacts === undefined ? {} : { redacts }),
      ...(this.version.eventIdFormat === 'assigned' ? { event_id: eventId } : {}),
      origin_server_ts: 1,
      depth: 5,
      prev_events:
        type === 'm.room.create' && draft.prevEvents === undefined
          ? []
          : prevEvents.map((id) => reference(this.version, id)),
      auth_events: [],
      hashes: { sha256: '' },
      signatures: {},
    };
    return { eventId, pdu, ...(draft.rejected === undefined ? {} : { rejected: draft.rejected }) };
  }

  judge(draft: Draft): AuthVerdict {
    return checkAuth(this.version, this.event(draft), this.state);
  }

  allows(draft: Draft): boolean {
    return this.judge(draft).ok;
  }

  member(
    sender: string,
    target: string,
    membership: string,
    content: JsonObject = {},
    prevEvents?: readonly string[],
  ): boolean {
    return this.allows({
      type: 'm.room.member',
      sender,
      stateKey: target,
      content: { membership, ...content },
      ...(prevEvents === undefined ? {} : { prevEvents }),
    });
  }

  #put(draft: Draft): IdentifiedPdu {
    const event = this.event(draft);
    this.#state.set(`${draft.type}\0${draft.stateKey ?? ''}`, event);
    return event;
  }
}
