import { expect } from 'chai';
import fc from 'fast-check';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { slidingEncoder } from '#src/services/sync/sliding/sliding-encoder.ts';
import { parseSlidingBody } from '#src/services/sync/sliding/sliding-request.ts';
import { type SyncWorld, syncWorld } from '#test/services/sync/engine/sync-world.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, topic } from '#test/support/event-services.ts';
import { forkStep, levels, perform } from '#test/support/random-forks.ts';
import { CAROL, DAVE, EVE, type RemoteDraft, RemoteRoom } from '#test/support/federation/remote-room.ts';

interface StateText {
  readonly type: string;
  readonly state_key: string;
  readonly event_id?: string;
}

interface RoomText {
  readonly name?: string | null;
  readonly membership: string;
  readonly required_state?: readonly StateText[];
}

const encode = slidingEncoder('v4');

/** A client of one room: what it believes of the state. */
class StateClient {
  readonly #world: () => SyncWorld;
  readonly #roomId: string;
  readonly #connId: string;
  readonly #requiredState: JsonObject;
  readonly state = new Map<string, string>();
  name: string | undefined;
  #pos: string | undefined;

  constructor(world: () => SyncWorld, roomId: string, connId: string, requiredState: JsonObject) {
    this.#world = world;
    this.#roomId = roomId;
    this.#connId = connId;
    this.#requiredState = requiredState;
  }

  async step(limit = 10): Promise<RoomText | undefined> {
    const wish = { required_state: this.#requiredState, timeline_limit: limit };
    const body = { conn_id: this.#connId, room_subscriptions: { [this.#roomId]: wish } };
    const answer = await this.#world().slidingSync.sync(
      {
        ...parseSlidingBody(body, 'v4'),
        userId: ALICE,
        deviceId: 'DEVICE',
        pos: this.#pos,
        timeout: 0,
        digest: JSON.stringify(body),
        signal: new AbortController().signal,
      },
      encode,
    );
    const { pos, rooms } = JSON.parse(answer) as { pos: string; rooms: Record<string, RoomText | undefined> };
    this.#pos = pos;
    const room = rooms[this.#roomId];
    for (const { type, state_key, event_id } of room?.required_state ?? []) {
      if (event_id === undefined) this.state.delete(`${type}\0${state_key}`);
      else this.state.set(`${type}\0${state_key}`, event_id);
    }
    if (room?.name !== undefined) this.name = room.name ?? undefined;
    return room;
  }
}

describe('sliding sync over forks', function () {
  this.timeout(120_000);
  let clone: TestDatabase;
  let world: SyncWorld;

  beforeEach(async () => {
    clone = await cloneDatabase();
    world = await syncWorld(clone.database);
  });
  afterEach(() => clone.drop());

  const name = (sender: string, text: string): RemoteDraft => ({
    type: 'm.room.name',
    sender,
    stateKey: '',
    content: { name: text },
  });

  /** A room with ALICE and BOB here, CAROL who may do all, DAVE who may set topic and name, and EVE. */
  const room = async (): Promise<RemoteRoom> => {
    const remote = new RemoteRoom(world, await makeRoom(world, ALICE, '12'));
    await world.events.send(remote.room, membership(BOB, BOB, 'join'));
    await remote.catchUp();
    for (const user of [CAROL, DAVE, EVE]) await remote.accepted(membership(user, user, 'join'));
    await world.events.send(
      remote.room,
      levels({ users: { [CAROL]: 100, [DAVE]: 50, [BOB]: 50 }, state_default: 50, kick: 50 }),
    );
    await remote.catchUp();
    return remote;
  };

  const everything = { include: [{}] };
  const lazily = { include: [{ type: 'm.room.topic' }], lazy_members: true };

  it('sends state, names and members that state resolution restores, and only those', async () => {
    const remote = await room();
    await world.events.send(remote.room, topic(ALICE, 'as it was'));
    await world.events.send(remote.room, name(ALICE, 'as it was'));
    await remote.catchUp();
    const [base] = remote.replay.extremities;
    for (const draft of [topic(DAVE, 'his'), name(DAVE, 'his'), membership(DAVE, EVE, 'leave')])
      await remote.accepted(draft);
    const all = new StateClient(() => world, remote.room.roomId, 'whole', everything);
    const lazy = new StateClient(() => world, remote.room.roomId, 'lazy', lazily);
    for (const client of [all, lazy]) await client.step();
    expect(all.name).to.equal('his');
    // On a branch without what DAVE did he is banned: all of it goes.
    await remote.accepted({ ...membership(CAROL, DAVE, 'ban'), prev: [base!] });
    expect(remote.room.isJoined(EVE)).to.equal(true);
    for (const client of [all, lazy]) await client.step();
    expect(all.name).to.equal('as it was');
    expect(Object.fromEntries(all.state)).to.deep.equal(Object.fromEntries(remote.replay.current));
    for (const key of ['m.room.topic\0', `m.room.member\0${EVE}`, `m.room.member\0${DAVE}`])
      expect(lazy.state.get(key), key).to.equal(remote.replay.current.get(key));
    expect(await all.step()).to.equal(undefined);
  });

  it('says of state that a resolution takes away that it is gone', async () => {
    const remote = await room();
    const [base] = remote.replay.extremities;
    for (const draft of [topic(DAVE, 'his'), name(DAVE, 'his')]) await remote.accepted(draft);
    const client = new StateClient(() => world, remote.room.roomId, 'whole', everything);
    await client.step();
    await remote.accepted({ ...membership(CAROL, DAVE, 'ban'), prev: [base!] });
    const told = await client.step();
    expect(told?.required_state).to.deep.include({ type: 'm.room.topic', state_key: '' });
    expect(client.name).to.equal(undefined);
    expect(Object.fromEntries(client.state)).to.deep.equal(Object.fromEntries(remote.replay.current));
  });

  it('leaves clients with the state as it is, however a room forks, and however seldom they ask', async () => {
    const look = fc.record({ client: fc.nat(1), limit: fc.constantFrom(1, 3, 100) });
    const steps = fc.array(fc.oneof({ weight: 3, arbitrary: forkStep }, { weight: 1, arbitrary: look }), {
      minLength: 5,
      maxLength: 40,
    });
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        world = await syncWorld(clone.database);
        const remote = await room();
        const whole = new StateClient(() => world, remote.room.roomId, 'whole', everything);
        const lazy = new StateClient(() => world, remote.room.roomId, 'lazy', lazily);
        const clients = [whole, lazy];
        for (const client of clients) await client.step();
        for (const step of all) {
          if ('client' in step) await clients[step.client]!.step(step.limit);
          else await perform(world, remote, step);
        }
        await remote.catchUp();
        for (const client of clients) await client.step();
        const { current } = remote.replay;
        if (!remote.room.isJoined(ALICE)) return;
        expect(Object.fromEntries(whole.state)).to.deep.equal(Object.fromEntries(current));
        for (const [key, eventId] of lazy.state) expect(current.get(key), key).to.equal(eventId);
      }),
      { numRuns: 30, endOnFailure: true, interruptAfterTimeLimit: 30_000 },
    );
  });
});
