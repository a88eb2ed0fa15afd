import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { authEventKeysFor } from '#src/protocol/auth/auth-events.ts';
import { buildPdu } from '#src/protocol/events/build-pdu.ts';
import { eventReference } from '#src/protocol/events/event-hashes.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { generateSigningKey, type SigningKey } from '#src/protocol/signing/signing-key.ts';
import { unpackChain } from '#src/protocol/wire/packed-state.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { eventIdText } from '#src/services/room-model/event/event-ids.ts';
import type { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import type { Reception } from '#src/services/events/receiving/reception.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { membershipIn } from '#src/services/room-model/room/membership.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StateChain } from '#src/services/room-model/state/state-chain.ts';
import { sql } from '#src/storage/statement.ts';
import { systemClock } from '#src/kernel/clock.ts';
import { type EventServices, eventServices, portrait } from '#test/support/event-services.ts';
import { Replay, type Verdict } from '#test/support/replay.ts';

export const CAROL = '@carol:a.example';
export const DAVE = '@dave:b.example';
export const EVE = '@eve:c.example';

const keys = new Map<string, SigningKey>();
const keyOf = (server: string): SigningKey => {
  const known = keys.get(server) ?? generateSigningKey((count) => systemRandom.bytes(count));
  keys.set(server, known);
  return known;
};

/** Makes events of a server's users signed with its real key. */
export const signsWith = (server: string, key: SigningKey): void => void keys.set(server, key);

export interface RemoteDraft {
  readonly type: string;
  readonly sender: string;
  readonly content: JsonObject;
  readonly stateKey?: string;
  readonly redacts?: string;
  /** Ids of the events it is built on; the room's forward extremities when left out. */
  readonly prev?: readonly string[];
  /** Ids of its auth events; by the selection of the specification when left out. */
  readonly auth?: readonly string[];
  readonly ts?: number;
  readonly stickyDurationMs?: number;
  readonly depth?: number;
  /** Its id where the room's version lets its server choose one; a random one when left out. */
  readonly eventId?: string;
}

/** What other servers know of a room that was made here, and what they send. */
export class RemoteRoom {
  readonly room: Room;
  readonly #services: EventServices;
  readonly receiver: EventReceiver;
  readonly replay: Replay;
  #taken = 0;

  constructor(services: EventServices, room: Room, receiver = services.receiver) {
    this.#services = services;
    this.room = room;
    this.receiver = receiver;
    this.replay = new Replay(room.version);
  }

  /** Reads what was stored since the last call, and holds the verdicts of the store against those of the replay. */
  async catchUp(): Promise<void> {
    const rows = await this.#services.database.query<{ nid: number; event_id: Buffer; json: string; flags: number }>(
      sql('test_events', 'select nid, event_id, json, flags from events where room = $1 and nid > $2 order by nid'),
      [this.room.nid, this.#taken],
    );
    for (const row of rows) {
      const eventId = eventIdText(this.room.version, row.event_id);
      const { verdict } = this.replay.take(eventId, JSON.parse(row.json));
      const stored: Verdict = (row.flags & 2) !== 0 ? 'rejected' : (row.flags & 4) !== 0 ? 'soft-failed' : 'accepted';
      expect(stored, `${eventId} ${row.json}`).to.equal(verdict);
      this.#taken = row.nid;
    }
  }

  /** An event that another server makes. What it is built on must have been caught up with. */
  build(draft: RemoteDraft): IdentifiedPdu {
    const { version, roomId } = this.room;
    const prev = draft.prev ?? this.replay.extremities;
    const state = this.replay.stateAfter(prev);
    const subject = {
      type: draft.type,
      sender: draft.sender,
      content: draft.content,
      ...(draft.stateKey === undefined ? {} : { state_key: draft.stateKey }),
    };
    const auth =
      draft.auth ??
      authEventKeysFor(version, subject).flatMap(([type, stateKey]) => state.get(stateMapKey(type, stateKey)) ?? []);
    const reference = (id: string): ReturnType<typeof eventReference> =>
      eventReference(version, id, this.replay.events.get(id)!.event.pdu);
    const depths = prev.map((id) => this.replay.events.get(id)!.event.pdu.depth);
    const server = domainOf(draft.sender)!;
    return buildPdu(
      version,
      {
        type: draft.type,
        sender: draft.sender,
        roomId,
        content: draft.content,
        originServerTs: draft.ts ?? systemClock.now(),
        depth: draft.depth ?? Math.max(...depths) + 1,
        prevEvents: prev.map(reference),
        authEvents: auth.map(reference),
        ...(draft.stateKey === undefined ? {} : { stateKey: draft.stateKey }),
        ...(draft.redacts === undefined ? {} : { redacts: draft.redacts }),
        ...(draft.stickyDurationMs === undefined ? {} : { stickyDurationMs: draft.stickyDurationMs }),
        ...(version.eventIdFormat === 'assigned'
          ? { eventId: draft.eventId ?? `$${systemRandom.string(16)}:${server}` }
          : {}),
      },
      { serverName: server, signingKey: keyOf(server) },
    );
  }

  /** @param origin the server that sends it; undefined for what was asked for */
  receive(event: IdentifiedPdu, origin?: string): Promise<Reception> {
    return this.receiver.receive(this.room, event, origin);
  }

  /** Makes an event elsewhere and has it taken in. */
  async send(
    draft: RemoteDraft,
  ): Promise<{ readonly id: string; readonly reception: Reception; readonly event: StoredEvent }> {
    const built = this.build(draft);
    const reception = await this.receive(built);
    await this.catchUp();
    if (!('event' in reception)) throw new Error(`not stored: ${JSON.stringify(reception)}`);
    return { id: built.eventId, reception, event: reception.event };
  }

  /** Like `send`, for events that have to be accepted. */
  async accepted(draft: RemoteDraft): Promise<string> {
    const { id, reception } = await this.send(draft);
    if (reception.outcome !== 'accepted')
      throw new Error(`not accepted: ${'reason' in reception ? reception.reason : ''}`);
    return id;
  }

  /** Holds everything that is stored and in memory against the replay, and the room in memory against the stored one. */
  async verify(): Promise<void> {
    await this.catchUp();
    const { database } = this.#services;
    const fresh = await eventServices(database);
    const reloaded = (await fresh.rooms.byNid(this.room.nid))!;
    expect(portrait(reloaded)).to.deep.equal(portrait(this.room));
    await this.#verifyStates(fresh);
    await this.#verifyRoom(fresh, reloaded);
    const rows = await database.query<{ nid: number; chain: Buffer }>(
      sql('test_rows', 'select nid, chain from state_delta where room = $1'),
      [this.room.nid],
    );
    for (const { nid, chain } of rows) expect(unpackChain(nid, chain)).to.have.length.at.most(7);
  }

  async #verifyStates(services: EventServices): Promise<void> {
    const rows = await services.database.query<{ nid: number; event_id: Buffer; state: number; flags: number }>(
      sql('test_states', 'select nid, event_id, state, flags from events where room = $1 order by nid'),
      [this.room.nid],
    );
    const ids = new Map(rows.map((row) => [row.nid, eventIdText(this.room.version, row.event_id)]));
    const named = async (state: number): Promise<Record<string, string>> => {
      const chain = await services.states.get(state);
      return this.#names(services, chain, ids);
    };
    for (const row of rows) {
      const expected = this.replay.events.get(ids.get(row.nid)!)!;
      const what = `${expected.event.pdu.type} ${ids.get(row.nid)}`;
      expect(await named(row.state), `state before ${what}`).to.deep.equal(sorted(expected.before));
      expect(await named((row.flags & 1) !== 0 ? row.nid : row.state), `state after ${what}`).to.deep.equal(
        sorted(expected.after),
      );
    }
    expect(this.room.head.extremities.map((event) => event.eventId)).to.deep.equal(this.replay.extremities);
    expect(await this.#names(services, this.room.stateChain, ids)).to.deep.equal(sorted(this.replay.current));
  }

  async #names(
    services: EventServices,
    chain: StateChain,
    ids: ReadonlyMap<number, string>,
  ): Promise<Record<string, string>> {
    const entries = [...chain.others(), ...chain.members()];
    const names = await services.interner.named({ stateKeys: entries.map(([skey]) => skey) });
    return sorted(
      entries.map(([skey, nid]) => {
        const { type, stateKey } = names.stateKeyNames(skey);
        return [stateMapKey(type, stateKey), ids.get(nid) ?? `position ${nid}`];
      }),
    );
  }

  /** The current state in memory, the member table and the counts. */
  async #verifyRoom(services: EventServices, room: Room): Promise<void> {
    const members = await services.loader.load(
      [...room.members.values()].map((member) => ({ room, nid: member.event })),
    );
    const found: [string, string][] = [...room.state].map(([key, slot]) => [key, slot.event.eventId]);
    let joined = 0;
    for (const member of room.members.values()) {
      const event = members.get(member.event);
      expect(member.membership).to.equal(event === undefined ? 'leave' : membershipIn(event.content));
      if (member.membership === 'join') joined++;
      if (event !== undefined) found.push([stateMapKey('m.room.member', member.userId), event.eventId]);
    }
    expect(sorted(found)).to.deep.equal(sorted(this.replay.current));
    expect(room.joinedCount).to.equal(joined);
  }
}

const sorted = (entries: Iterable<readonly [string, string]>): Record<string, string> =>
  Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : 1)));
