import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { migratedDatabase } from '#test/support/database.ts';
import { HeldRows } from '#test/support/held-rows.ts';
import { must } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';

const PASSWORD = 'a long password';
const ROOMS = 26;
/** The jobs of a killed process are taken up once it has not been heard of for a while. */
const PATIENCE_MS = 90_000;

// What is expected in it the test says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

describe('a whole server that is killed while its jobs run', function () {
  this.timeout(400_000);
  let server: ChildServer;
  let database: string;
  before(async () => {
    database = await migratedDatabase();
    server = await ChildServer.start({ database });
  });
  after(() => server?.dispose());

  const register = async (username: string): Promise<string> =>
    (
      await must(server.url, 'POST', '/register', {
        body: { username, password: PASSWORD, auth: { type: 'm.login.dummy' } },
      })
    ).access_token;

  it('takes an erased user out of all rooms, and carries a new name into all, whenever that is', async () => {
    const [bob, eve, dave] = [await register('bob'), await register('eve'), await register('dave')];
    const rooms: string[] = [];
    for (let i = 0; i < ROOMS; i++) {
      const { room_id: roomId } = await must(server.url, 'POST', '/createRoom', {
        token: bob,
        body: { preset: 'public_chat' },
      });
      for (const token of [eve, dave]) await must(server.url, 'POST', `/join/${roomId}`, { token, body: {} });
      rooms.push(roomId);
    }
    const members = (roomId: string): Promise<Json> =>
      must(server.url, 'GET', `/rooms/${roomId}/joined_members`, { token: bob }).then(({ joined }) => joined);
    /** Rooms in which all is as it is to be in the end. */
    const left = async (): Promise<number> => {
      const all = await Promise.all(rooms.map(members));
      return all.filter((joined) => joined['@eve:localhost'] === undefined).length;
    };
    const renamed = async (): Promise<number> => {
      const all = await Promise.all(rooms.map(members));
      return all.filter((joined) => joined['@dave:localhost']?.display_name === 'Dave of late').length;
    };

    const done = async (): Promise<number> => (await left()) + (await renamed());
    // Neither job comes past this room.
    const held = await HeldRows.hold(
      database,
      'select 1 from member where room = (select nid from rooms where room_id = $1) for update',
      [rooms[ROOMS / 2]],
    );
    await must(server.url, 'PUT', '/profile/@dave:localhost/displayname', {
      token: dave,
      body: { displayname: 'Dave of late' },
    });
    await must(server.url, 'POST', '/account/deactivate', {
      token: eve,
      body: {
        erase: true,
        auth: { type: 'm.login.password', identifier: { type: 'm.id.user', user: 'eve' }, password: PASSWORD },
      },
    });
    await held.areWaitedFor();
    const before = await done();
    expect(before).to.be.within(1, 2 * ROOMS - 2);
    await server.kill('SIGKILL');
    await held.release();
    await server.launch();
    // Killed again when some more of it is done.
    await until('a job goes on', async () => (await done()) > before, PATIENCE_MS);
    await server.restart('SIGKILL');
    await until('she has left all rooms', async () => (await left()) === ROOMS, PATIENCE_MS);
    await until('his name is in all rooms', async () => (await renamed()) === ROOMS, PATIENCE_MS);
  });
});
