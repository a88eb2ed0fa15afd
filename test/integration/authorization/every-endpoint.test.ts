import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { ChildServer } from '#test/support/child-server.ts';
import { until } from '#test/support/until.ts';
import {
  asks,
  PUPPETEER,
  readable,
  type Role,
  ROLES,
  type RoomOfSecrets,
  roomOfSecrets,
  SECRET_STATE,
  secretsIn,
  VISIBILITIES,
} from './room-of-secrets.ts';

type Request = readonly [method: string, path: string, body?: object];

const DELAYED = '/_matrix/client/unstable/org.matrix.msc4140';
const filter = (more: object = {}): string =>
  encodeURIComponent(JSON.stringify({ room: { include_leave: true, timeline: { limit: 100 }, ...more } }));

/**
 * What each endpoint of a room is asked, by its operation. The requester knows every id and every token there is.
 * `reads` may tell what the reader may see; `writes` is refused to everybody who is not in the room.
 */
const reads = (room: RoomOfSecrets, role: Role): Readonly<Record<string, readonly Request[]>> => {
  const { roomId, messages, states, relating, tokens, beginning, people } = room;
  const path = `/rooms/${roomId}`;
  const v1 = `/_matrix/client/v1${path}`;
  const { userId } = people[role];
  const events = [...messages, ...states, ...relating];
  const of = (request: (id: string) => string): Request[] => events.map((id) => ['GET', request(id)]);
  const relations = (more: string): Request[] =>
    messages.flatMap((id) => ['b', 'f'].map((dir): Request => ['GET', `${v1}/relations/${id}${more}&dir=${dir}`]));
  return {
    getOneRoomEvent: of((id) => `${path}/event/${id}`),
    getOneEvent: of((id) => `/events/${id}`),
    getEventContext: of((id) => `${path}/context/${id}?limit=100`),
    getRelatingEvents: relations('?limit=100&recurse=true'),
    getRelatingEventsWithRelType: relations('/m.thread?limit=100&recurse=true'),
    getRelatingEventsWithRelTypeAndEventType: relations('/m.replace/m.room.message?limit=100'),
    getThreadRoots: [
      ['GET', `${v1}/threads?limit=100`],
      ['GET', `${v1}/threads?include=participated`],
    ],
    getRoomEvents: ['b', 'f'].flatMap((dir) =>
      ['', ...tokens.map((token) => `&from=${token}`), `&from=${tokens[0]}&to=${tokens[1]}`].map((from): Request => [
        'GET',
        `${path}/messages?dir=${dir}&limit=100${from}`,
      ]),
    ),
    getRoomState: [['GET', `${path}/state`]],
    getRoomStateWithKey: [
      ['GET', `${path}/state/${SECRET_STATE}/`],
      ['GET', `${path}/state/${SECRET_STATE}/?format=event`],
    ],
    getMembersByRoom: [['GET', `${path}/members`], ...tokens.map((at): Request => ['GET', `${path}/members?at=${at}`])],
    getJoinedMembersByRoom: [['GET', `${path}/joined_members`]],
    roomInitialSync: [['GET', `${path}/initialSync?limit=100`]],
    getEventByTimestamp: ['b', 'f'].flatMap((dir) =>
      [beginning, Date.now()].map((ts): Request => ['GET', `${v1}/timestamp_to_event?ts=${ts}&dir=${dir}`]),
    ),
    getSpaceHierarchy: [['GET', `${v1}/hierarchy`]],
    getRoomSummary: [['GET', `/_matrix/client/v1/room_summary/${roomId}`]],
    getLocalAliases: [['GET', `${path}/aliases`]],
    getRoomVisibilityOnDirectory: [['GET', `/directory/list/room/${roomId}`]],
    getAccountDataPerRoom: [['GET', `/user/${userId}${path}/account_data/m.tag`]],
    getRoomTags: [['GET', `/user/${userId}${path}/tags`]],
    sync: [
      `filter=${filter()}`,
      `filter=${filter()}&full_state=true`,
      `filter=${filter()}&use_state_after=true`,
      ...tokens.map((since) => `filter=${filter()}&since=${since}`),
      `filter=${filter()}&since=${tokens[0]}&full_state=true`,
    ].map((query): Request => ['GET', `/sync?${query}`]),
    initialSync: [
      ['GET', '/initialSync?limit=100'],
      ['GET', '/initialSync?limit=100&archived=true'],
    ],
    peekEvents: [`room_id=${roomId}&`, ''].flatMap((which) =>
      tokens.map((from): Request => ['GET', `/events?${which}from=${from}&timeout=0`]),
    ),
    getNotifications: [['GET', '/notifications']],
    getThreadSubscription: messages.map((event): Request => [
      'GET',
      `/_matrix/client/unstable/io.element.msc4306${path}/thread/${event}/subscription`,
    ]),
    search: [{}, { rooms: [roomId] }].map((rooms): Request => [
      'POST',
      '/search',
      {
        search_categories: {
          room_events: {
            search_term: 'secret',
            include_state: true,
            event_context: { before_limit: 20, after_limit: 20, include_profile: true },
            filter: { limit: 100, ...rooms },
          },
        },
      },
    ]),
  };
};

const writes = (room: RoomOfSecrets, role: Role): Readonly<Record<string, readonly Request[]>> => {
  const { roomId, messages, people, owner } = room;
  const path = `/rooms/${roomId}`;
  const [event] = messages;
  const { userId } = people[role];
  const message = { msgtype: 'm.text', body: 'intruded' };
  const someone = { user_id: (role === 'later' ? owner : people.later).userId };
  return {
    sendMessage: [['PUT', `${path}/send/m.room.message/intruding-${role}`, message]],
    sendMessageWithoutTransaction: [['POST', `${path}/send/m.room.message`, message]],
    setRoomStateWithKey: [
      ['PUT', `${path}/state/${SECRET_STATE}/`, { text: 'intruded' }],
      ['PUT', `${path}/state/m.room.member/${userId}`, { membership: 'join' }],
      ['PUT', `${path}/state/m.room.member/${people.later.userId}`, { membership: 'leave' }],
      ['PUT', `${path}/state/m.room.name/`, { name: 'intruded' }],
    ],
    redactEvent: [['PUT', `${path}/redact/${event}/intruding-${role}`, {}]],
    redactEventWithoutTransaction: [['POST', `${path}/redact/${event}`, {}]],
    redactUserEvents: [['POST', `/_matrix/client/unstable/org.matrix.msc4194${path}/redact/user/${owner.userId}`, {}]],
    inviteUser: [['POST', `${path}/invite`, { user_id: '@nobody-yet:localhost' }]],
    inviteBy3PID: [['POST', `${path}/invite`, { medium: 'email', address: 'somebody@mail.test' }]],
    kick: [['POST', `${path}/kick`, someone]],
    ban: [['POST', `${path}/ban`, someone]],
    unban: [['POST', `${path}/unban`, { user_id: people.outlawed.userId }]],
    setTyping: [['PUT', `${path}/typing/${userId}`, { typing: true, timeout: 1000 }]],
    postReceipt: [
      ['POST', `${path}/receipt/m.read/${event}`, {}],
      ['POST', `${path}/receipt/m.read.private/${event}`, {}],
    ],
    setReadMarker: [['POST', `${path}/read_markers`, { 'm.fully_read': event, 'm.read': event }]],
    upgradeRoom: [['POST', `${path}/upgrade`, { new_version: '11' }]],
    setRoomVisibilityOnDirectory: [['PUT', `/directory/list/room/${roomId}`, { visibility: 'public' }]],
    updateAppserviceRoomDirectoryVisibility: [
      ['PUT', `/directory/list/appservice/network/${roomId}`, { visibility: 'public' }],
    ],
    setRoomAlias: [['PUT', `/directory/room/%23intruded-${role}:localhost`, { room_id: roomId }]],
    reportEvent: [['POST', `${path}/report/${event}`, { reason: 'x' }]],
  };
};

/** Of these a stranger is told nothing either way, or they are anybody's: joining, leaving, one's own notes, complaints. */
const ANYBODYS = new Set([
  // Whether they may is asked when the time has come.
  'scheduleDelayedEvent',
  'joinRoomById',
  'joinRoom',
  'knockRoom',
  'leaveRoom',
  'forgetRoom',
  'setAccountDataPerRoom',
  'setRoomTag',
  'deleteRoomTag',
  'reportRoom',
  // Which threads they follow of those that they may see.
  'subscribeThread',
  'unsubscribeThread',
  // What users keep of their own, under whatever name.
  'putRoomKeysByRoomId',
  'putRoomKeyBySessionId',
  'getRoomKeysByRoomId',
  'getRoomKeyBySessionId',
  'deleteRoomKeysByRoomId',
  'deleteRoomKeyBySessionId',
]);

for (const visibility of VISIBILITIES)
  describe(`a private room with "${visibility}" history`, function () {
    this.timeout(120_000);
    let folder: string;
    let server: ChildServer;
    let room: RoomOfSecrets;
    before(async () => {
      folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-puppets-'));
      const registration = join(folder, 'puppeteer.yaml');
      await writeFile(registration, JSON.stringify(PUPPETEER));
      const env = { TSUDOI_REGISTRATION__ENABLED: 'true', TSUDOI_APPSERVICES__FILES: registration };
      server = await ChildServer.start({ database: 'shared', env });
      room = await roomOfSecrets(server, visibility);
    });
    after(async () => {
      await server.dispose();
      await rm(folder, { recursive: true, force: true });
    });

    it('is asked through every endpoint that has to do with rooms', () => {
      const asked = new Set([...Object.keys(reads(room, 'left')), ...Object.keys(writes(room, 'left')), ...ANYBODYS]);
      // Servers are told by who they are, and tests of their own ask as them.
      const ofRooms = ENDPOINTS.filter(
        ({ auth, path }) => auth !== 'server' && auth !== 'admin' && /\{roomId|\{roomIdOrAlias/.test(path),
      );
      expect(ofRooms.map(({ operationId }) => operationId).filter((name) => !asked.has(name))).to.deep.equal([]);
    });

    it("is nobody's but the administrators' to administrate", async () => {
      const accepted: string[] = [];
      for (const { method, operationId, path } of ENDPOINTS.filter(({ auth }) => auth === 'admin')) {
        if (!path.includes('{roomId')) continue;
        const target = path
          .replace(/\{roomId(OrAlias)?\}/, encodeURIComponent(room.roomId))
          .replace('{eventId}', encodeURIComponent(room.messages[0] ?? ''));
        for (const role of ROLES) {
          const { body, status } = await asks(
            room,
            room.people[role],
            method,
            target,
            method === 'GET' ? undefined : {},
          );
          if (status !== 403) accepted.push(`${operationId} by ${role}: ${status} ${JSON.stringify(body)}`);
        }
      }
      expect(accepted).to.deep.equal([]);
    });

    for (const role of ROLES) {
      it(`shows ${role} nothing that is not for them`, async () => {
        const allowed = new Set(readable(visibility, role));
        const leaks: string[] = [];
        const seen = new Set<string>();
        for (const [operation, requests] of Object.entries(reads(room, role)))
          for (const [method, path, body] of requests) {
            const answer = await asks(room, room.people[role], method, path, body);
            const mustAnswer = role !== 'guest' && OF_ALL_ROOMS.has(operation) && !path.includes('room_id=');
            if (mustAnswer && answer.status !== 200) leaks.push(`${operation} ${path}: ${answer.status}`);
            if (answer.status >= 500) leaks.push(`${operation} ${path}: ${answer.status}`);
            const found = secretsIn(JSON.stringify(answer.body));
            for (const secret of found) seen.add(secret);
            const bad = found.filter((secret) => !allowed.has(secret));
            if (bad.length > 0) leaks.push(`${operation} ${path}: ${answer.status} ${bad.join()}`);
            if (answer.status === 200 && operation === 'getEventByTimestamp') {
              const at = room.messages.indexOf(answer.body.event_id);
              if (at !== -1 && !allowed.has(`secret-m${at}`)) leaks.push(`${operation} ${path}: event of part ${at}`);
            }
          }
        expect(leaks).to.deep.equal([]);
        // What is theirs they do find.
        if (['left', 'kicked', 'later'].includes(role))
          expect([...allowed].filter((secret) => secret.startsWith('secret-m') && !seen.has(secret))).to.deep.equal([]);
      });

      it(`lets ${role} change nothing`, async () => {
        const before = await stateOf(room);
        const accepted: string[] = [];
        for (const [operation, requests] of Object.entries(writes(room, role)))
          for (const [method, path, body] of requests) {
            if (role === 'later' && !NEEDS_POWER.has(operation)) continue;
            // One's own coming and going.
            if (['invited', 'later'].includes(role) && path.includes(`m.room.member/${room.people[role].userId}`))
              continue;
            const answer = await asks(room, room.people[role], method, path, body);
            const isRefused =
              [403, 404].includes(answer.status) &&
              ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_GUEST_ACCESS_FORBIDDEN'].includes(answer.body.errcode);
            // The alias is of no namespace of the service.
            if (role === 'puppet' && answer.body.errcode === 'M_EXCLUSIVE') continue;
            if (!isRefused) accepted.push(`${operation} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
          }
        expect(accepted).to.deep.equal([]);
        await delayedAreGone(room, role);
        expect(await stateOf(room)).to.deep.equal(before);
      });
    }
  });

/** Never refused to anybody but guests, whatever rooms they had to do with. */
const OF_ALL_ROOMS = new Set(['sync', 'initialSync', 'peekEvents', 'getNotifications', 'search']);

/** What takes power beyond being in the room. */
const NEEDS_POWER = new Set([
  'setRoomStateWithKey',
  'redactEvent',
  'redactEventWithoutTransaction',
  'redactUserEvents',
  'kick',
  'ban',
  'unban',
  'upgradeRoom',
  'setRoomVisibilityOnDirectory',
  'updateAppserviceRoomDirectoryVisibility',
]);

/** Has somebody send a message later, and waits for what becomes of it. */
const delayedAreGone = async (room: RoomOfSecrets, role: Role): Promise<void> => {
  if (role === 'later') return;
  const person = room.people[role];
  const body = { delay_ms: 1, msgtype: 'm.text', body: 'intruded' };
  const path = `/rooms/${room.roomId}/send/m.room.message/delayed-${role}?org.matrix.msc4140.delay=1`;
  await asks(room, person, 'PUT', path, body);
  await until('the delayed event waits no more', async () => {
    const { body: list } = await asks(room, person, 'GET', `${DELAYED}/delayed_events`);
    return list.scheduled?.length === 0;
  });
};

const stateOf = async (room: RoomOfSecrets): Promise<unknown> => {
  const state = await asks(room, room.owner, 'GET', `/rooms/${room.roomId}/state`);
  const { body } = await asks(room, room.owner, 'GET', `/rooms/${room.roomId}/messages?dir=b&limit=1`);
  return [state.body.map((event: { event_id: string }) => event.event_id).toSorted(), body.chunk[0]?.event_id];
};
