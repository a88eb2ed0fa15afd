import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import type { Endpoint } from '#src/http/endpoint.ts';
import { ChildServer } from '#test/support/child-server.ts';
import { type Answer, ask, must } from '#test/support/http.ts';

const UNKNOWN = `!${'a'.repeat(43)}`;
const EVENT = `$${'b'.repeat(43)}`;

/** "The room was not found on the homeserver" is an answer that the specification gives to reports. */
const TELL = new Set(['reportRoom']);

const BODIES: Readonly<Record<string, object>> = {
  inviteUser: { user_id: '@somebody:localhost' },
  kick: { user_id: '@somebody:localhost' },
  ban: { user_id: '@somebody:localhost' },
  unban: { user_id: '@somebody:localhost' },
  sendMessage: { msgtype: 'm.text', body: 'x' },
  sendMessageWithoutTransaction: { msgtype: 'm.text', body: 'x' },
  setRoomStateWithKey: { name: 'x' },
  setTyping: { typing: true },
  setReadMarker: { 'm.fully_read': EVENT },
  upgradeRoom: { new_version: '11' },
  setRoomVisibilityOnDirectory: { visibility: 'public' },
  updateAppserviceRoomDirectoryVisibility: { visibility: 'public' },
  scheduleDelayedEvent: { delay_ms: 60_000, content: { msgtype: 'm.text', body: 'x' } },
  reportEvent: { reason: 'x' },
};
const QUERIES: Readonly<Record<string, string>> = { getEventByTimestamp: '?ts=1&dir=f' };
/** Keys of rooms lie in the user's own backup. */
const ofBackup = (operationId: string): boolean => operationId.includes('RoomKey');

type Naming = readonly [method: string, path: (roomId: string) => string, body?: (roomId: string) => object];

const searchIn = (roomId: string): object => ({
  search_categories: { room_events: { search_term: 'x', filter: { rooms: [roomId] } } },
});
const SIGNED = { sender: '@owner:localhost', mxid: '@stranger:localhost', token: 'x', signatures: {} };

describe('a private room', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let hidden: string;
  const people: { token: string | undefined; userId: string; who: string }[] = [];
  before(async () => {
    const env = { TSUDOI_REGISTRATION__ENABLED: 'true', TSUDOI_REGISTRATION__GUESTS: 'true' };
    server = await ChildServer.start({ database: 'shared', env });
    const register = async (who: string, query = ''): Promise<(typeof people)[number]> => {
      const body = query === '' ? { username: who, password: 'a password', auth: { type: 'm.login.dummy' } } : {};
      const { access_token: token, user_id: userId } = await must(server.url, 'POST', `/register${query}`, { body });
      return { who, token, userId };
    };
    const owner = await register('owner');
    people.push(await register('stranger'), await register('guest', '?kind=guest'));
    people.push({ who: 'somebody without an account', token: undefined, userId: '@nobody:localhost' });
    const made = { preset: 'private_chat', visibility: 'private' };
    hidden = (await must(server.url, 'POST', '/createRoom', { token: owner.token!, body: made })).room_id;
  });
  after(() => server.dispose());

  const pathOf = ({ path }: Endpoint, roomId: string, userId: string): string =>
    path.replaceAll(/\{(\w+)\}/g, (_, name: string) => {
      const known: Record<string, string> = {
        roomId,
        roomIdOrAlias: roomId,
        userId,
        eventId: EVENT,
        eventType: 'm.room.name',
        relType: 'm.thread',
        receiptType: 'm.read',
        stateKey: '',
        txnId: 'once',
        type: 'org.example.x',
        tag: 'u.x',
      };
      return encodeURIComponent(known[name] ?? 'x');
    });
  const askOf = (endpoint: Endpoint, roomId: string, { token, userId }: (typeof people)[number]): Promise<Answer> => {
    const { method, operationId } = endpoint;
    const path = pathOf(endpoint, roomId, userId) + (QUERIES[operationId] ?? '');
    return ask(server.url, method, path, {
      ...(token === undefined ? {} : { token }),
      ...(method === 'GET' || method === 'DELETE' ? {} : { body: BODIES[operationId] ?? {} }),
    });
  };
  /** What an answer says, whichever room it is about. */
  const said = ({ status, body }: Answer, roomId: string): string =>
    `${status} ${JSON.stringify(body)
      .replaceAll(roomId, '!room')
      .replaceAll(/"delay_id":"\w+"/g, '"delay_id"')}`;

  const ofRooms = ENDPOINTS.filter(
    ({ auth, path, operationId }) =>
      auth !== 'admin' && /\{roomId/.test(path) && !TELL.has(operationId) && !ofBackup(operationId),
  );

  for (const [index, who] of ['a stranger', 'a guest', 'somebody without an account'].entries())
    it(`answers ${who} as a room that does not exist, whatever they ask`, async () => {
      expect(ofRooms.length).to.be.greaterThan(40);
      const person = people[index]!;
      const different: string[] = [];
      for (const endpoint of ofRooms) {
        const unknown = said(await askOf(endpoint, UNKNOWN, person), UNKNOWN);
        const known = said(await askOf(endpoint, hidden, person), hidden);
        if (person.token !== undefined && /M_(MISSING_PARAM|BAD_JSON|NOT_JSON|UNRECOGNIZED)/.test(unknown))
          different.push(`${endpoint.operationId} was not asked in earnest: ${unknown}`);
        if (known !== unknown) different.push(`${endpoint.operationId}: ${known} is not ${unknown}`);
      }
      expect(different).to.deep.equal([]);
    });

  it('is not told by requests that name a room elsewhere than in the path', async () => {
    const [stranger] = people;
    for (const [method, path, bodyOf] of [
      ['PUT', () => '/directory/room/%23x:localhost', (room_id: string) => ({ room_id })],
      ['GET', (roomId: string) => `/events?timeout=0&room_id=${roomId}`],
      ['POST', () => '/search', (roomId: string) => searchIn(roomId)],
      ['POST', (roomId: string) => `/rooms/${roomId}/join`, () => ({ third_party_signed: SIGNED })],
      [
        'PUT',
        (roomId: string) => `/rooms/${roomId}/state/m.room.member/${stranger!.userId}`,
        () => ({ membership: 'join' }),
      ],
      [
        'PUT',
        (roomId: string) => `/rooms/${roomId}/state/m.room.member/${stranger!.userId}`,
        () => ({ membership: 'leave' }),
      ],
      [
        'PUT',
        (roomId: string) => `/rooms/${roomId}/state/m.room.member/@x:localhost`,
        () => ({ membership: 'invite' }),
      ],
    ] as const satisfies readonly Naming[]) {
      const answer = async (roomId: string): Promise<string> => {
        const body = (bodyOf as Naming[2])?.(roomId);
        const got = await ask(server.url, method, path(roomId), {
          ...(stranger?.token === undefined ? {} : { token: stranger.token }),
          ...(body === undefined ? {} : { body }),
        });
        return said(got, roomId).replaceAll(/"(next_batch|start|end)":"[^"]*"/g, '"$1"');
      };
      expect(await answer(hidden), `${method} ${path('!room')}`).to.equal(await answer(UNKNOWN));
    }
  });
});
