import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import { eventId } from '#src/protocol/events/event-hashes.ts';
import { createdRoomId, referencedIds } from '#src/protocol/events/pdu.ts';
import type { EventReference, IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import { keyOfEvent, stateMapKey } from '#src/protocol/state/state-map.ts';
import type { StateMap, StateResolutionAccess } from '#src/protocol/state/state-map.ts';

export const CREATOR = '@creator:a';
const START = 1_700_000_000_000;

/** A state event to be sent. */
export interface StateDraft {
  readonly type: string;
  readonly sender: string;
  readonly stateKey?: string;
  readonly content?: JsonObject;
  /** Milliseconds after the start of the test's time. */
  readonly ts?: number;
  readonly depth?: number;
}

/** A room of the tests as a graph of events: every event is judged and resolved as a server would on receiving it. */
export class RoomDag {
  readonly version: RoomVersion;
  readonly roomId: string;
  readonly create: IdentifiedPdu;
  readonly events = new Map<string, IdentifiedPdu>();
  readonly #statesAfter = new Map<string, StateMap<string>>();
  #count = 0;

  constructor(version: RoomVersion, creation: JsonObject = {}) {
    this.version = version;
    const content: JsonObject = {
      room_version: version.id,
      ...(version.auth.implicitCreator ? {} : { creator: CREATOR }),
      ...creation,
    };
    const draft = { type: 'm.room.create', sender: CREATOR, content };
    this.roomId = '!room:a';
    this.create = this.#build(draft, [], []);
    if (version.roomIdIsCreateHash) this.roomId = createdRoomId(this.create.eventId);
    this.#keep(this.create, new Map());
  }

  readonly access: StateResolutionAccess<string> = {
    // Set once the create event is built.
    create: '',
    event: (id) => this.events.get(id),
    authEvents: (id) => referencedIds(this.events.get(id)?.pdu.auth_events ?? []),
  };

  /** The state after an event, as its sender's server sees it. */
  stateAfter(id: string): StateMap<string> {
    const state = this.#statesAfter.get(id);
    if (state === undefined) throw new Error(`${id} is not in the room`);
    return state;
  }

  /** The states after some events, resolved. */
  stateAt(ids: readonly string[]): StateMap<string> {
    return resolveState(
      this.version,
      ids.map((id) => this.stateAfter(id)),
      this.access,
    );
  }

  /**
   * Sends a state event after others.
   *
   * @param authState the state that auth events are taken from, if not the one that is in force there
   * @returns its id, or undefined if the authorization rules do not allow it
   */
  send(draft: StateDraft, previous: readonly string[], authState?: StateMap<string>): string | undefined {
    const state = this.stateAt(previous);
    const subject = {
      type: draft.type,
      sender: draft.sender,
      state_key: draft.stateKey ?? '',
      content: draft.content ?? {},
    };
    const authEvents = authEventKeysFor(this.version, subject)
      .map(([type, stateKey]) => (authState ?? state).get(stateMapKey(type, stateKey)))
      .filter((id) => id !== undefined);
    const event = this.#build(draft, previous, authEvents);
    const judged = authState ?? state;
    const verdict = checkAuth(this.version, event, (type, stateKey) => {
      const id = judged.get(stateMapKey(type, stateKey));
      return id === undefined ? undefined : this.events.get(id);
    });
    if (!verdict.ok) return undefined;
    this.#keep(event, state);
    return event.eventId;
  }

  /** Like `send`, for events that must be allowed. */
  must(draft: StateDraft, previous: readonly string[], authState?: StateMap<string>): string {
    const id = this.send(draft, previous, authState);
    if (id === undefined) throw new Error(`the room does not allow ${JSON.stringify(draft)}`);
    return id;
  }

  #keep(event: IdentifiedPdu, stateBefore: StateMap<string>): void {
    this.events.set(event.eventId, event);
    this.#statesAfter.set(event.eventId, new Map(stateBefore).set(keyOfEvent(event), event.eventId));
    if (event.pdu.type === 'm.room.create') Object.assign(this.access, { create: event.eventId });
  }

  #build(draft: StateDraft, previous: readonly string[], authEvents: readonly string[]): IdentifiedPdu {
    const number = this.#count++;
    const reference = (id: string): EventReference => (this.version.eventReferences === 'id' ? id : [id, {}]);
    const depths = previous.map((id) => this.events.get(id)?.pdu.depth ?? 0);
    const pdu: Pdu = {
      type: draft.type,
      sender: draft.sender,
      state_key: draft.stateKey ?? '',
      content: draft.content ?? {},
      origin_server_ts: START + (draft.ts ?? number),
      depth: draft.depth ?? Math.max(0, ...depths) + 1,
      prev_events: previous.map(reference),
      auth_events: authEvents.map(reference),
      // Tells events apart that have everything else in common.
      hashes: { sha256: `hash${number}` },
      signatures: {},
      ...(this.version.roomIdIsCreateHash && draft.type === 'm.room.create' ? {} : { room_id: this.roomId }),
      ...(this.version.eventIdFormat === 'assigned'
        ? { event_id: `$${(number * 7919) % 1000}-${number}:${domainOf(draft.sender) ?? 'a'}` }
        : {}),
    };
    return { eventId: eventId(this.version, pdu), pdu };
  }
}
