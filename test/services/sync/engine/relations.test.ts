import { expect } from 'chai';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message, SERVER } from '#test/support/event-services.ts';
import { syncRequest, type SyncWorld, syncWorld } from './sync-world.ts';

const CAROL = `@carol:${SERVER}`;
const DAVE = `@dave:${SERVER}`;

// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

describe('relations in sync', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let world: SyncWorld;
  before(async () => {
    clone = await cloneDatabase();
    world = await syncWorld(clone.database);
  });
  after(() => clone.drop());

  const open = async (...members: string[]): Promise<Room> => {
    const room = await makeRoom(world);
    for (const userId of members) await world.events.send(room, membership(userId, userId, 'join'));
    return room;
  };
  const relate = (room: Room, sender: string, relType: string, target: StoredEvent, content: JsonObject = {}) =>
    world.events.send(room, {
      type: 'm.room.message',
      sender,
      content: {
        msgtype: 'm.text',
        body: 'related',
        ...content,
        'm.relates_to': { rel_type: relType, event_id: target.eventId },
      },
    });
  const edit = (room: Room, sender: string, target: StoredEvent) =>
    relate(room, sender, 'm.replace', target, { 'm.new_content': { msgtype: 'm.text', body: 'new' } });
  const text = async (userId: string, since?: string, limit = 2): Promise<string> =>
    (await world.sync.sync(syncRequest(userId, since, { timeline: { limit } }))).body;
  const timeline = (body: string, room: Room): Json => JSON.parse(body).rooms.join[room.roomId].timeline;
  const bundles = (body: string, room: Room): Json[] =>
    timeline(body, room).events.map((event: Json) => event.unsigned['m.relations']);
  const timelineText = (body: string): string =>
    /"timeline":\{"events":(\[.*?\]),"limited"/.exec(body)?.[1] ?? 'no timeline';
  const statements = async (work: () => Promise<unknown>): Promise<number> => {
    const before = clone.database.statements();
    await work();
    return clone.database.statements() - before;
  };

  it('come with limited timelines, without the room id of /messages, and not with complete ones', async () => {
    const room = await open(BOB);
    const { next_batch: since } = JSON.parse(await text(BOB)) as Json;
    const target = await world.events.send(room, message(ALICE, 'old'));
    const replaced = await edit(room, ALICE, target);
    const limited = await text(BOB);
    expect(timeline(limited, room).limited).to.equal(true);
    const [relations] = bundles(limited, room);
    expect(relations['m.replace']).to.deep.include({ event_id: replaced.eventId, sender: ALICE });
    expect(relations['m.replace']).not.to.have.property('room_id');
    expect(relations['m.replace'].unsigned.membership).to.equal('join');
    const complete = await text(BOB, since, 10);
    expect(timeline(complete, room).limited).to.equal(false);
    expect(bundles(complete, room)).to.deep.equal([undefined, undefined]);
  });

  it('are the same text for members for whom nothing of it is their own, and cost them no statement', async () => {
    const room = await open(BOB, CAROL);
    const target = await world.events.send(room, message(ALICE, 'old'));
    const [, since] = await Promise.all([text(CAROL), text(BOB).then((body) => JSON.parse(body).next_batch as string)]);
    for (let i = 0; i < 3; i++) await edit(room, ALICE, target);
    const root = await world.events.send(room, message(ALICE, 'b'));
    const replaced = await edit(room, ALICE, root);
    let bobs = '';
    let carols = '';
    expect(await statements(async () => (bobs = await text(BOB, since)))).to.equal(0);
    expect(await statements(async () => (carols = await text(CAROL, since)))).to.equal(0);
    expect(timelineText(bobs)).to.equal(timelineText(carols));
    expect(bundles(bobs, room)[0]['m.replace'].event_id).to.equal(replaced.eventId);
    await world.events.redact(room, ALICE, replaced.eventId, {});
    expect(bundles(await text(BOB, since, 3), room)).to.deep.equal([undefined, undefined, undefined]);
  });

  it('say of threads who takes part in them, to each what is theirs', async () => {
    const room = await open(BOB, CAROL, DAVE);
    for (const text of ['a', 'b', 'c']) await world.events.send(room, message(ALICE, text));
    const root = await world.events.send(room, message(ALICE, 'root'));
    await relate(room, BOB, 'm.thread', root);
    const [bobs, carols, daves] = [await text(BOB), await text(CAROL), await text(DAVE)].map(
      (body) => bundles(body, room)[0]['m.thread'],
    );
    expect([bobs, carols, daves].map((one) => [one.count, one.current_user_participated])).to.deep.equal([
      [1, true],
      [1, false],
      [1, false],
    ]);
    await world.accountData.setByClient(DAVE, 0, 'm.ignored_user_list', { ignored_users: { [BOB]: {} } });
    const [, shown] = bundles(await text(DAVE), room);
    expect(shown).to.equal(undefined);
  });

  it('decide which events a filter by relations takes', async () => {
    const room = await open(BOB, CAROL);
    const root = await world.events.send(room, message(ALICE, 'root'));
    const other = await world.events.send(room, message(ALICE, 'other'));
    await relate(room, BOB, 'm.thread', root);
    await relate(room, BOB, 'm.reference', other);
    const ids = async (timelineFilter: object): Promise<string[]> => {
      const { body } = await world.sync.sync(syncRequest(CAROL, undefined, { timeline: timelineFilter }));
      return timeline(body, room).events.map((event: Json) => event.event_id);
    };
    expect(await ids({ related_by_rel_types: ['m.thread'] })).to.deep.equal([root.eventId]);
    expect(await ids({ related_by_senders: [BOB] })).to.deep.equal([root.eventId, other.eventId]);
    expect(await ids({ related_by_senders: [ALICE] })).to.deep.equal([]);
  });

  it('are read for all rooms together after a restart, however many they are', async () => {
    const fill = async (reader: string, count: number): Promise<void> => {
      for (let i = 0; i < count; i++) {
        const room = await open(reader);
        for (const body of ['a', 'b', 'c']) await world.events.send(room, message(ALICE, body));
        const root = await world.events.send(room, message(ALICE, 'root'));
        const reply = await relate(room, ALICE, 'm.thread', root);
        await edit(room, ALICE, reply);
      }
    };
    const [few, many] = [`@erin:${SERVER}`, `@fritz:${SERVER}`];
    await fill(few, 2);
    await fill(many, 12);
    const cold = async (reader: string): Promise<number> => {
      world = await syncWorld(clone.database);
      let body = '';
      const count = await statements(async () => (body = await text(reader, undefined, 3)));
      const { join } = JSON.parse(body).rooms as Json;
      for (const room of Object.values<Json>(join)) {
        const thread = room.timeline.events[0].unsigned['m.relations']['m.thread'];
        expect(thread.latest_event.unsigned['m.relations']).to.have.property('m.replace');
      }
      return count;
    };
    const ofFew = await cold(few);
    expect(await cold(many)).to.equal(ofFew);
    expect(await statements(() => text(many, undefined, 3))).to.equal(0);
  });
});
