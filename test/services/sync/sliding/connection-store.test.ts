import { expect } from 'chai';
import { ConnectionStore } from '#src/services/sync/sliding/connection-store.ts';
import { Connection, type SentRoom } from '#src/services/sync/sliding/connection.ts';
import { connectionKey } from '#src/services/sync/sliding/connections.ts';
import { findConnection } from '#src/storage/sync/sliding-connections.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

const CHANGE = { vector: [], count: 0, counts: new Map(), keys: undefined, profiles: undefined };

describe('connections of sliding sync that are saved', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let store: ConnectionStore;
  let name: { userId: string; deviceId: string };

  before(async () => {
    server = await InProcessServer.start();
    const { deviceId, userId } = await server.session('alice');
    name = { userId, deviceId };
    store = new ConnectionStore(server.services.database, server.services.clock);
  });
  after(() => server.stop());

  /** A connection of many rooms, of all of which the same is wanted. */
  const connectionOf = (rooms: number, wanted: string, members = 0, body = ''): Connection => {
    const connection = new Connection('run');
    const sent: SentRoom = {
      vector: [1],
      count: 3,
      timelineLimit: 1,
      wanted,
      membership: 'join',
      isDm: false,
      lazy: new Map(Array.from({ length: members }, (_, n) => [`@user${n}:test`, n])),
      notification: 0,
      highlight: 0,
    };
    const all = new Map(Array.from({ length: rooms }, (_, n) => [n, sent]));
    connection.answer('', { ...CHANGE, rooms: all }, () => body);
    return connection;
  };
  const keyOf = (connId: string): string => connectionKey({ ...name, connId });

  it('are written with what is wanted of a list of rooms once, however much that is, and read as they were', async () => {
    const wanted = JSON.stringify([[[['m.room.name', 'x'.repeat(100_000)]], [], false]]);
    await store.save([{ key: keyOf('large'), connection: connectionOf(1_000, wanted, 2) }]);
    const content = await findConnection(server.services.database, name.userId, name.deviceId, 'large');
    expect(content?.length).to.be.within(100_000, 500_000);
    const again = await store.restore(keyOf('large'));
    expect(again?.goTo(1)).to.equal(true);
    const rooms = [...(again?.state.rooms.values() ?? [])];
    expect(rooms).to.have.length(1_000);
    expect(rooms.every((room) => room.wanted === wanted && room.lazy.get('@user1:test') === 1)).to.equal(true);
  });

  it('are saved however large their last answer was, which is not saved with them', async () => {
    await store.save([{ key: keyOf('answered'), connection: connectionOf(1, '[]', 0, 'x'.repeat(9_000_000)) }]);
    const again = await store.restore(keyOf('answered'));
    expect(again?.goTo(1)).to.equal(true);
    expect(again?.state.rooms.size).to.equal(1);
  });

  it('are saved although another one is too large to be', async () => {
    const seen = await store.save([
      { key: keyOf('too large'), connection: connectionOf(2_000, '[]', 1_000) },
      { key: keyOf('small'), connection: connectionOf(1, '[]') },
    ]);
    expect(seen).to.equal(2);
    expect(await store.restore(keyOf('too large'))).to.equal(undefined);
    expect((await store.restore(keyOf('small')))?.run).to.equal('run');
  });
});
