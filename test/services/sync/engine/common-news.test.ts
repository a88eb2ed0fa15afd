import { expect } from 'chai';
import fc from 'fast-check';
import { isPromise } from '#src/kernel/concurrency/steps.ts';
import { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { IGNORED_USER_LIST } from '#src/services/user-data/account-data/ignored-users.ts';
import { AccountDataSection } from '#src/services/sync/sections/account-data.ts';
import { DeviceListsSection } from '#src/services/sync/sections/device-lists.ts';
import { PresenceSection } from '#src/services/sync/sections/presence.ts';
import { ReceiptsSection } from '#src/services/sync/sections/receipts.ts';
import { TypingSection } from '#src/services/sync/sections/typing.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message, SERVER, topic } from '#test/support/event-services.ts';
import { syncRequest, type SyncWorld, syncWorld } from './sync-world.ts';

const READERS = 20;
const reader = (n: number): string => `@reader${n}:${SERVER}`;
const ALL_READERS = Array.from({ length: READERS }, (_, n) => reader(n));
const QUIET = { AccountDataSection, DeviceListsSection, PresenceSection, ReceiptsSection, TypingSection };

/** Which of the sections that have to be woken are asked while something is done. */
const askedDuring = async (work: () => Promise<unknown>): Promise<string[]> => {
  const asked: string[] = [];
  const restore = Object.entries(QUIET).map(([name, { prototype }]) => {
    const section = prototype as unknown as { open: (request: unknown) => unknown };
    const { open } = section;
    section.open = function (request): unknown {
      asked.push(name);
      return open.call(this, request);
    };
    return () => void (section.open = open);
  });
  try {
    await work();
  } finally {
    for (const undo of restore) undo();
  }
  return asked.toSorted();
};

/** How many texts of events are written while something is done. */
const writtenDuring = async (work: () => Promise<unknown>): Promise<number> => {
  const event = StoredEvent.prototype;
  const { clientJson } = event;
  let count = 0;
  event.clientJson = function (...shown): string {
    count += 1;
    return clientJson.apply(this, shown);
  };
  try {
    await work();
  } finally {
    event.clientJson = clientJson;
  }
  return count;
};

/** A body without what says when it was written. */
const withoutMoment = (body: string): object => ({
  ...(JSON.parse(body.replaceAll(/"age":\d+/g, '"age":0')) as object),
  next_batch: '',
});

describe('a message in a large room', function () {
  this.timeout(90_000);
  let clone: TestDatabase;
  let world: SyncWorld;
  let room: Room;
  const since = new Map<string, string>();

  before(async () => {
    clone = await cloneDatabase();
    world = await syncWorld(clone.database);
    room = await makeRoom(world);
    for (const userId of ALL_READERS) await world.events.send(room, membership(userId, userId, 'join'));
  });
  after(() => clone.drop());

  const lazy = { state: { lazy_load_members: true } };

  /** All that a user is told since the last time. */
  const read = async (userId: string, filter: object = {}): Promise<string> => {
    const request = syncRequest(userId, since.get(userId), filter);
    const { body } = await world.sync.sync(request);
    since.set(userId, (JSON.parse(body) as { next_batch: string }).next_batch);
    return body;
  };
  const everybodyReads = (filter: object = {}): Promise<string[]> =>
    Promise.all(ALL_READERS.map((userId) => read(userId, filter)));

  for (const [kind, filter] of [
    ['all members', {}],
    ['members lazily', lazy],
  ] as const) {
    it(`is written once for those who are told ${kind}, reads nothing, and keeps no promise waiting`, async () => {
      await everybodyReads(filter);
      // The first one tells lazy readers who the sender is.
      await world.events.send(room, message(ALICE, 'first'));
      await everybodyReads(filter);
      await world.events.send(room, message(ALICE, `to ${kind}`));
      const statements = clone.database.statements();
      const answers: unknown[] = [];
      const written = await writtenDuring(async () => {
        for (const userId of ALL_READERS)
          answers.push(world.sync.answer(syncRequest(userId, since.get(userId), filter)));
      });
      expect(answers.filter(isPromise)).to.have.lengthOf(0);
      const bodies = answers.map((answer) => (answer as { body: string }).body);
      for (const body of bodies) expect(body).to.include(`to ${kind}`);
      expect(written).to.equal(1);
      expect(clone.database.statements() - statements).to.equal(0);
      await everybodyReads(filter);
    });
  }

  it('asks no section that has no news', async () => {
    await everybodyReads();
    await world.events.send(room, message(ALICE, 'nothing else'));
    expect(await askedDuring(() => everybodyReads())).to.deep.equal([]);
  });

  it('asks those that have some, of those who are concerned', async () => {
    await everybodyReads();
    world.typing.start(room, reader(1), 30_000);
    const asked = await askedDuring(() => everybodyReads());
    expect(asked).to.deep.equal(ALL_READERS.map(() => 'TypingSection'));
    world.typing.stop(room, reader(1));
    await everybodyReads();
    await world.accountData.set(reader(2), 0, 'org.example.thing', { is: 'new' });
    const all = await askedDuring(() => everybodyReads());
    expect(all, 'what account data says is told by others, too').to.deep.equal(Object.keys(QUIET));
  });

  it('asks all of them for a client that comes with a position of which nothing is remembered', async () => {
    await everybodyReads();
    const { vector, ephemeral } = syncRequest(BOB, since.get(reader(0))).since!;
    const strange = { vector, ephemeral: { ...ephemeral, run: 'another' } };
    const asked = await askedDuring(async () =>
      world.sync.sync(syncRequest(reader(0), undefined, {}, { since: strange })),
    );
    expect(asked).to.deep.equal(Object.keys(QUIET));
  });

  it('is sent in its redacted form to later readers', async () => {
    await everybodyReads();
    const event = await world.events.send(room, message(ALICE, 'a slip'));
    await read(reader(0));
    await world.events.redact(room, ALICE, event.eventId, {});
    expect(await read(reader(1)))
      .to.include(event.eventId)
      .and.not.to.include('a slip');
  });

  const step = fc.record({
    what: fc.constantFrom(
      'message',
      'message',
      'topic',
      'join',
      'leave',
      'typing',
      'stop',
      'receipt',
      'private',
      'data',
      'ignore',
      'read',
    ),
    who: fc.nat(3),
    lazily: fc.boolean(),
  });

  it('gives the same response as if every section had been opened', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 20 }), async (steps) => {
        const place = await makeRoom(world);
        const users = [0, 1, 2, 3].map((n) => `@mix${n}-${place.nid}:${SERVER}`);
        for (const userId of users) await world.events.send(place, membership(userId, userId, 'join'));
        const known = new Map<string, string>();
        const tell = async (userId: string, lazily: boolean): Promise<void> => {
          const request = syncRequest(userId, known.get(userId), lazily ? lazy : {}, { deviceId: `D${lazily}` });
          // A position that says something more is not remembered: then everything is asked.
          const whole = {
            ...request,
            deviceId: 'WHOLE',
            since: request.since && { ...request.since, behind: { z: 0 } },
          };
          const { body } = await world.sync.sync(request);
          if (request.since !== undefined && !lazily) {
            expect(withoutMoment(body)).to.deep.equal(withoutMoment((await world.sync.sync(whole)).body));
          }
          known.set(userId, (JSON.parse(body) as { next_batch: string }).next_batch);
        };
        for (const userId of users) await tell(userId, false);
        let text = 0;
        for (const { what, who, lazily } of steps) {
          const userId = users[who]!;
          const isIn = place.isJoined(userId);
          const newest = place.ring.newest!;
          if (what === 'message' && isIn) await world.events.send(place, message(userId, `${(text += 1)}`));
          else if (what === 'topic' && isIn) await world.events.send(place, topic(userId, `${(text += 1)}`));
          else if (what === 'join' && !isIn) await world.events.send(place, membership(userId, userId, 'join'));
          else if (what === 'leave' && isIn) await world.events.send(place, membership(userId, userId, 'leave'));
          else if (what === 'typing' && isIn) world.typing.start(place, userId, 30_000);
          else if (what === 'stop' && isIn) world.typing.stop(place, userId);
          else if ((what === 'receipt' || what === 'private') && isIn)
            await world.receipts.receive(
              place,
              userId,
              what === 'receipt' ? 'm.read' : 'm.read.private',
              undefined,
              newest.eventId,
            );
          else if (what === 'data') await world.accountData.set(userId, place.nid, 'org.example', { n: (text += 1) });
          else if (what === 'ignore')
            await world.accountData.set(userId, 0, IGNORED_USER_LIST, {
              ignored_users: { [users[(who + 1) % 4]!]: {} },
            });
          else if (what === 'read') await tell(userId, lazily);
        }
        for (const userId of users) await tell(userId, false);
        for (const userId of users) world.typing.stop(place, userId);
      }),
      { numRuns: 12 },
    );
  });
});
