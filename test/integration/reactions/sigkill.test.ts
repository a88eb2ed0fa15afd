import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { must } from '#test/support/http.ts';
import { until } from '#test/support/until.ts';

const PASSWORD = 'a long password';
const ROOMS = 25;
/** The jobs of a killed process are taken up once it has not been heard of for a while. */
const PATIENCE_MS = 90_000;

// What is expected in it the test says itself.
// oxlint-disable-next-line typescript/no-explicit-any
type Json = any;

describe('a whole server that is killed while its jobs run', function () {
  this.timeout(400_000);
  let server: ChildServer;
  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
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
    // Killed right after the answers, and again when some of it is done.
    const seen: number[] = [];
    for (let kills = 0; kills < 3; kills++) {
      await server.restart('SIGKILL');
      const before = (await left()) + (await renamed());
      seen.push(before);
      if (before === 2 * ROOMS) break;
      await until('a job goes on', async () => (await left()) + (await renamed()) > before, PATIENCE_MS);
    }
    await until('she has left all rooms', async () => (await left()) === ROOMS, PATIENCE_MS);
    await until('his name is in all rooms', async () => (await renamed()) === ROOMS, PATIENCE_MS);
    expect(seen).to.deep.equal(seen.toSorted((a, b) => a - b));
  });
});
