import { expect } from 'chai';
import { parseFilter } from '#src/protocol/filters/parse-filter.ts';
import { threadOf } from '#src/services/push/receipts/threads.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, makeRoom, membership, message } from '#test/support/event-services.ts';
import { CAROL, RemoteRoom } from '#test/support/federation/remote-room.ts';
import { syncRequest, type SyncWorld, syncWorld } from '#test/services/sync/engine/sync-world.ts';

describe('unread replies in threads that other servers send', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let world: SyncWorld;

  before(async () => {
    clone = await cloneDatabase();
    world = await syncWorld(clone.database);
  });
  after(async () => {
    await world.writer.close();
    await clone.drop();
  });

  const unread = async (of: SyncWorld, roomId: string): Promise<object> => {
    const filter = parseFilter({ room: { timeline: { unread_thread_notifications: true } } });
    const { body } = await of.sync.sync(syncRequest(ALICE, undefined, {}, { filter }));
    const { unread_notifications: main, unread_thread_notifications: threads } = JSON.parse(body).rooms.join[roomId];
    return {
      main: main.notification_count,
      threads: Object.fromEntries(
        Object.entries<{ notification_count: number }>(threads ?? {}).map(([id, { notification_count: n }]) => [id, n]),
      ),
    };
  };

  it('count in the main timeline where the root is an event of another room, from memory and from the database', async () => {
    const elsewhere = await makeRoom(world);
    const foreign = await world.events.send(elsewhere, message(ALICE, 'elsewhere'));
    const remote = new RemoteRoom(world, await makeRoom(world));
    const { roomId } = remote.room;
    await remote.catchUp();
    await remote.accepted(membership(CAROL, CAROL, 'join'));
    const own = await world.events.send(remote.room, message(ALICE, 'here'));
    await remote.catchUp();
    expect(await unread(world, roomId)).to.deep.equal({ main: 0, threads: {} });
    const reply = (root: string) => {
      const relates = { rel_type: 'm.thread', event_id: root };
      return { ...message(CAROL, 'reply'), content: { msgtype: 'm.text', body: 'reply', 'm.relates_to': relates } };
    };
    const wrong = await remote.accepted(reply(foreign.eventId));
    await remote.accepted(reply(own.eventId));
    const expected = { main: 1, threads: { [own.eventId]: 1 } };
    const counted = await unread(world, roomId);
    expect(counted).to.deep.equal(expected);
    const event = (await world.events.find(remote.room, wrong))!;
    expect(await threadOf(world.events, remote.room, event)).to.equal(undefined);
    const again = await syncWorld(clone.database);
    expect(await unread(again, roomId)).to.deep.equal(expected);
  });
});
