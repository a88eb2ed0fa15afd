import { systemRandom } from '#src/kernel/random.ts';
import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import { buildPdu, type BuiltPdu } from '#src/protocol/events/build-pdu.ts';
import { eventReference } from '#src/protocol/events/event-hashes.ts';
import { createdRoomId, type IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { SigningKey } from '#src/protocol/signing/signing-key.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { RemotePartner } from './remote-partner.ts';

/** An event that a partner makes. */
export interface JoinableDraft {
  readonly type: string;
  readonly sender: string;
  readonly content: JsonObject;
  readonly stateKey?: string;
  /** Ids of its auth events; by the selection of the specification when left out. */
  readonly auth?: readonly string[];
  readonly signingKey?: SigningKey;
  readonly serverName?: string;
}

/** A room that a scripted server makes, and serves to whoever wants to join it. */
export class JoinableRoom {
  readonly version: RoomVersion;
  readonly roomId: string;
  readonly partner: RemotePartner;
  readonly creator: string;
  readonly state = new Map<string, IdentifiedPdu>();
  readonly events = new Map<string, IdentifiedPdu>();
  #last: IdentifiedPdu;
  #depth = 1;

  constructor(partner: RemotePartner, version = '10', joinRule = 'public') {
    const known = roomVersion(version);
    if (known === undefined) throw new Error(`there is no room version ${version}`);
    this.version = known;
    this.partner = partner;
    this.creator = `@creator:${partner.serverName}`;
    const { implicitCreator } = known.auth;
    const create = this.#build(
      known.roomIdIsCreateHash ? undefined : `!${systemRandom.string(12)}:${partner.serverName}`,
      {
        type: 'm.room.create',
        sender: this.creator,
        stateKey: '',
        content: {
          room_version: version,
          'test.nonce': systemRandom.string(8),
          ...(implicitCreator ? {} : { creator: this.creator }),
        },
      },
      [],
    );
    this.roomId = known.roomIdIsCreateHash ? createdRoomId(create.eventId) : (create.pdu.room_id ?? '');
    this.#last = create;
    this.take(create);
    this.add({ type: 'm.room.member', sender: this.creator, stateKey: this.creator, content: { membership: 'join' } });
    this.add({
      type: 'm.room.power_levels',
      sender: this.creator,
      stateKey: '',
      content: { users: known.auth.privilegedCreators ? {} : { [this.creator]: 100 } },
    });
    this.add({ type: 'm.room.join_rules', sender: this.creator, stateKey: '', content: { join_rule: joinRule } });
    this.add({
      type: 'm.room.history_visibility',
      sender: this.creator,
      stateKey: '',
      content: { history_visibility: 'shared' },
    });
  }

  get last(): IdentifiedPdu {
    return this.#last;
  }

  /** An event on top of the others, which is not added. */
  build(draft: JoinableDraft): BuiltPdu {
    return this.#build(this.roomId, draft, draft.auth ?? this.authOf(draft));
  }

  /** Adds an event on top of the others. */
  add(draft: JoinableDraft): BuiltPdu {
    const event = this.build(draft);
    this.take(event);
    return event;
  }

  authOf({ content, sender, stateKey, type }: JoinableDraft): string[] {
    const subject = { type, sender, content, ...(stateKey === undefined ? {} : { state_key: stateKey }) };
    return authEventKeysFor(this.version, subject).flatMap(
      ([key, of]) => this.state.get(stateMapKey(key, of))?.eventId ?? [],
    );
  }

  /** What `make_join`, `make_leave` and `make_knock` answer. */
  template(how: string, userId: string): JsonObject {
    const draft = { type: 'm.room.member', sender: userId, stateKey: userId, content: { membership: how } };
    const { pdu } = this.build(draft);
    const { hashes: _hashes, signatures: _signatures, event_id: _id, ...event } = pdu;
    return { room_version: this.version.id, event };
  }

  /** What `send_join` answers. */
  joinAnswer(changes: JsonObject = {}): JsonObject {
    const all = [...this.events.values()].map(({ pdu }) => pdu);
    return {
      origin: this.partner.serverName,
      auth_chain: all,
      state: [...this.state.values()].map(({ pdu }) => pdu),
      ...changes,
    };
  }

  /** Lets users of other servers join the room. @param answer what `send_join` is answered with */
  serveJoins(answer: () => JsonObject | Buffer = () => this.joinAnswer()): void {
    const room = encodeURIComponent(this.roomId);
    this.partner.on('GET', `/_matrix/federation/v1/make_join/${room}/*`, ({ path }) => ({
      body: this.template('join', decodeURIComponent(path.split('/').at(-1) ?? '')),
    }));
    this.partner.on('PUT', `/_matrix/federation/v2/send_join/${room}/*`, () => ({ body: answer() }));
  }

  #build(roomId: string | undefined, draft: JoinableDraft, auth: readonly string[]): BuiltPdu {
    const reference = (id: string): ReturnType<typeof eventReference> => {
      const event = this.events.get(id);
      if (event !== undefined) return eventReference(this.version, id, event.pdu);
      return this.version.eventReferences === 'id' ? id : [id, { sha256: '' }];
    };
    const { content, sender, serverName = this.partner.serverName, signingKey, stateKey, type } = draft;
    return buildPdu(
      this.version,
      {
        type,
        sender,
        content,
        originServerTs: this.partner.clock.now(),
        depth: this.#depth,
        prevEvents: this.events.size === 0 ? [] : [reference(this.#last.eventId)],
        authEvents: auth.map(reference),
        ...(roomId === undefined ? {} : { roomId }),
        ...(stateKey === undefined ? {} : { stateKey }),
        ...(this.version.eventIdFormat === 'assigned' ? { eventId: `$${systemRandom.string(12)}:${serverName}` } : {}),
      },
      { serverName, signingKey: signingKey ?? this.partner.signingKey },
    );
  }

  /** Adds an event that was made elsewhere. */
  take(event: IdentifiedPdu): void {
    this.#depth += 1;
    this.#last = event;
    this.events.set(event.eventId, event);
    const { state_key: stateKey, type } = event.pdu;
    if (stateKey !== undefined) this.state.set(stateMapKey(type, stateKey), event);
  }
}
