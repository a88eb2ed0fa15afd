import { expect } from 'chai';
import { ageOf, StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message } from '#test/support/event-services.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { parseFilter } from '#src/protocol/filters/parse-filter.ts';
import { type ClientEvent, type SyncBody, syncRequest, type SyncWorld, syncWorld } from './sync-world.ts';

const CAROL = '@carol:example.org';

describe('the age of events in sync', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let clock: ManualClock;
  let world: SyncWorld;

  before(async () => {
    clone = await cloneDatabase();
    clock = new ManualClock();
    world = await syncWorld(clone.database, { clock });
  });
  after(async () => {
    await world.writer.close();
    await clone.drop();
  });

  const timeline = async (
    userId: string,
    roomId: string,
    filter?: Parameters<typeof parseFilter>[0],
  ): Promise<readonly (ClientEvent & { readonly unsigned?: { readonly age?: number } })[]> => {
    const more = filter === undefined ? {} : { filter: parseFilter(filter) };
    const { body } = await world.sync.sync(syncRequest(userId, undefined, { timeline: { limit: 2 } }, more));
    return (JSON.parse(body) as SyncBody).rooms!.join![roomId]!.timeline.events as never;
  };
  const room = async (...said: string[]): Promise<string> => {
    const made = await makeRoom(world);
    for (const user of [BOB, CAROL]) await world.events.send(made, membership(user, user, 'join'));
    for (const text of said) await world.events.send(made, message(ALICE, text));
    return made.roomId;
  };

  it('is right to a second, for the sender as for everybody else', async () => {
    const id = await room('こんにちは');
    let passed = 0;
    for (const ms of [400, 400, 400, 60_000, 1_000, 1]) {
      await clock.advance(ms);
      passed += ms;
      for (const user of [ALICE, BOB, CAROL])
        for (const event of await timeline(user, id))
          expect(event.unsigned?.age, `${user} after ${passed} ms`).to.be.within(passed - 1_000, passed);
    }
  });

  it('does not have a timeline written for each of those who read it', async () => {
    const id = await room('one', 'two');
    const original = StoredEvent.prototype.clientJson;
    let written = 0;
    StoredEvent.prototype.clientJson = function (...args) {
      if (this.room.roomId === id && this.type === 'm.room.message') written += 1;
      return original.apply(this, args);
    };
    try {
      for (let reader = 0; reader < 20; reader++) {
        await clock.advance(50);
        await timeline(reader % 2 === 0 ? BOB : CAROL, id);
      }
    } finally {
      StoredEvent.prototype.clientJson = original;
    }
    expect(written).to.be.within(2, 4);
  });

  it('can be asked for by event_fields, and is in the federation format', async () => {
    const id = await room('one');
    await clock.advance(5_000);
    for (const event of await timeline(BOB, id, { event_fields: ['type', 'unsigned.age'] }))
      expect(event).to.deep.equal({ type: event.type, unsigned: { age: 5_000 } });
    for (const event of await timeline(BOB, id, { event_fields: ['type'] }))
      expect(event).to.deep.equal({ type: event.type });
    for (const event of await timeline(BOB, id, { event_format: 'federation' })) {
      expect(event).to.include.keys('auth_events', 'hashes', 'signatures');
      expect(event.unsigned).to.deep.equal({ age: 5_000 });
    }
  });

  it('is never negative, nor a number that JSON cannot carry', () => {
    const age = (ts: number): number => ageOf({ origin_server_ts: ts }, 1_700_000_000_000);
    expect(age(1_700_000_000_000 - 7)).to.equal(7);
    expect(age(1_800_000_000_000)).to.equal(0);
    expect(age(Number.MAX_SAFE_INTEGER)).to.equal(0);
    expect(age(-Number.MAX_SAFE_INTEGER)).to.equal(Number.MAX_SAFE_INTEGER);
    expect(age(-1e300)).to.equal(Number.MAX_SAFE_INTEGER);
  });
});
