import { expect } from 'chai';
import { NO_ROOM_EVENT_FILTER } from '#src/protocol/filters/parse-filter.ts';
import { HistoryTokens } from '#src/services/reading/history/history-tokens.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message } from '#test/support/event-services.ts';
import { type SyncBody, syncRequest, type SyncWorld, syncWorld } from './sync-world.ts';

describe('the prev_batch of a timeline without events', () => {
  let clone: TestDatabase;
  let world: SyncWorld;
  let room: Room;

  before(async () => {
    clone = await cloneDatabase();
    world = await syncWorld(clone.database);
  });
  after(() => clone.drop());
  beforeEach(async () => {
    room = await makeRoom(world);
    await world.events.send(room, membership(BOB, BOB, 'join'));
  });

  /** Syncs; between the plan of the response and its text something else is committed. */
  const syncWhile = async (
    commit: () => Promise<unknown>,
    ...request: Parameters<typeof syncRequest>
  ): Promise<SyncBody> => {
    world.interposed.afterPlan = commit;
    return JSON.parse((await world.sync.sync(syncRequest(...request))).body) as SyncBody;
  };

  const bodiesBefore = async (token: string): Promise<unknown[]> => {
    const { place, upTo } = await new HistoryTokens(world.database, world.loader).read(room, token, 'b');
    const { events } = await world.historyPages.read({
      room,
      userId: BOB,
      dir: 'b',
      from: place,
      upTo,
      stop: undefined,
      limit: 3,
      wanted: undefined,
      filter: NO_ROOM_EVENT_FILTER,
    });
    return events.map(({ event }) => event.content['body'] ?? event.type);
  };

  const say = (text: string): Promise<unknown> => world.events.send(room, message(ALICE, text));

  it('leads back from the end of the stretch: what is committed meanwhile comes with the next sync alone', async () => {
    await say('before');
    const filter = { timeline: { limit: 0 } };
    const body = await syncWhile(() => say('meanwhile'), BOB, undefined, filter);
    const { timeline } = body.rooms!.join![room.roomId]!;
    expect(timeline.events).to.deep.equal([]);
    expect(await bodiesBefore(timeline.prev_batch)).to.deep.equal([
      'before',
      'm.room.member',
      'm.room.history_visibility',
    ]);
    const next = await syncWhile(() => Promise.resolve(), BOB, body.next_batch);
    const later = next.rooms?.join?.[room.roomId]?.timeline.events ?? [];
    expect(later.map(({ content }) => (content as { body?: string }).body)).to.deep.equal(['meanwhile']);
  });

  it('leads back from the end of a stretch of which the filter takes nothing', async () => {
    const first = await syncWhile(() => Promise.resolve(), BOB, undefined);
    for (const text of ['a', 'b']) await say(text);
    const filter = { timeline: { types: ['m.room.name'] } };
    const body = await syncWhile(() => say('meanwhile'), BOB, first.next_batch, filter, { fullState: true });
    const { timeline } = body.rooms!.join![room.roomId]!;
    expect(timeline.events).to.deep.equal([]);
    expect(await bodiesBefore(timeline.prev_batch)).to.deep.equal(['b', 'a', 'm.room.member']);
  });
});
