import { expect } from 'chai';
import fc from 'fast-check';
import { isWellFormedJson, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import type { Answer } from '#test/support/http.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { JoinableRoom } from '#test/support/federation/joinable-room.ts';
import type { PartnerAnswer, PartnerRequest } from '#test/support/federation/remote-partner.ts';
import { type Change, changed, changes, json } from '#test/support/strange-json.ts';

/** Answers to each question. More by TSUDOI_FUZZ_RUNS, others by TSUDOI_FUZZ_SEED. */
const RUNS = Number(process.env['TSUDOI_FUZZ_RUNS'] ?? 8);
const SEED = Number(process.env['TSUDOI_FUZZ_SEED'] ?? 20_261_130);

/** Statuses from 500 on that say what the specification says: nothing is broken. */
const MEANT = new Set(['M_NOT_YET_UPLOADED', 'M_CONNECTION_FAILED', 'M_CONNECTION_TIMEOUT', 'M_BAD_STATUS']);
/** What is about the client's own session or account: another server has no say in that. */
const OF_OWN_ACCOUNT = new Set([
  'M_UNKNOWN_TOKEN',
  'M_MISSING_TOKEN',
  'M_USER_LOCKED',
  'M_USER_SUSPENDED',
  'M_USER_DEACTIVATED',
  'M_UNAUTHORIZED',
  'M_UNRECOGNIZED',
  'M_RESOURCE_LIMIT_EXCEEDED',
  'ORG_MATRIX_EXPIRED_ACCOUNT',
]);

const errors = fc.record({
  status: fc.constantFrom(201, 204, 206, 300, 302, 304, 400, 401, 403, 404, 405, 413, 429, 499, 500, 502, 503, 599),
  body: fc.oneof(
    fc.record(
      {
        errcode: fc.oneof(
          fc.constantFrom<JsonValue>(
            'M_FORBIDDEN',
            'M_NOT_FOUND',
            'M_UNKNOWN_TOKEN',
            'M_USER_DEACTIVATED',
            'M_USER_SUSPENDED',
            'M_RESOURCE_LIMIT_EXCEEDED',
            'M_LIMIT_EXCEEDED',
            'M_INCOMPATIBLE_ROOM_VERSION',
            'M_UNRECOGNIZED',
            'ORG_MATRIX_EXPIRED_ACCOUNT',
            '__proto__',
          ),
          json as fc.Arbitrary<JsonValue>,
        ),
        error: json as fc.Arbitrary<JsonValue>,
        retry_after_ms: json as fc.Arbitrary<JsonValue>,
        room_version: json as fc.Arbitrary<JsonValue>,
        soft_logout: fc.constant(true),
        flows: fc.constant([{ stages: ['m.login.password'] }]),
      },
      { requiredKeys: [] },
    ),
    fc.constantFrom<JsonValue>('', '<html>', [], null),
  ),
});

const answers = fc.oneof(
  { arbitrary: fc.record({ changes }), weight: 4 },
  { arbitrary: fc.record({ error: errors }), weight: 1 },
);
type Strange = { readonly changes: readonly Change[] } | { readonly error: { status: number; body: JsonValue } };

/** A question of a client that this server passes on, with the answers that would be good. */
interface Question {
  readonly title: string;
  /** Asks as a client does. @param n tells one asking from the others */
  readonly ask: (n: number) => Promise<Answer>;
  /** Paths that are answered strangely, and what would be the answer. */
  readonly answers: readonly (readonly [string, RegExp, (request: PartnerRequest) => JsonValue])[];
  /** What is answered besides, as it should be. */
  readonly others?: readonly (readonly [string, RegExp, (request: PartnerRequest) => JsonValue])[];
}

describe('what another server answers at random', function () {
  this.timeout(600_000);
  let federation: Federation;
  let server: InProcessServer;
  let p: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test'] });
    server = federation.server('a.test');
    p = federation.partner('p.test');
    await server.session('alice');
  });
  after(() => federation?.stop());

  const enc = encodeURIComponent;
  const V = '/_matrix/federation/v\\d';
  const ask = (method: string, path: string, body?: unknown): Promise<Answer> =>
    server.ask('alice', method, path, body);

  const deviceKeys = (userId: string): JsonObject => ({
    user_id: userId,
    device_id: 'GOOD',
    algorithms: ['m.olm.v1.curve25519-aes-sha2'],
    keys: { 'ed25519:GOOD': 'a'.repeat(43), 'curve25519:GOOD': 'b'.repeat(43) },
    signatures: { [userId]: { 'ed25519:GOOD': 'c'.repeat(86) } },
    unsigned: { device_display_name: 'Phone' },
  });
  const crossSigning = (userId: string, usage: string): JsonObject => ({
    user_id: userId,
    usage: [usage],
    keys: { [`ed25519:${'k'.repeat(43)}`]: 'k'.repeat(43) },
    signatures: { [userId]: { 'ed25519:GOOD': 'c'.repeat(86) } },
  });
  const summary = (roomId: string): JsonObject => ({
    room_id: roomId,
    name: 'Room',
    topic: 'Topic',
    canonical_alias: '#room:p.test',
    avatar_url: 'mxc://p.test/face',
    num_joined_members: 3,
    world_readable: true,
    guest_can_join: true,
    join_rule: 'public',
    room_type: 'm.space',
    room_version: '11',
    encryption: 'm.megolm.v1.aes-sha2',
    allowed_room_ids: ['!other:p.test'],
  });

  const questions = (): Question[] => {
    const invited = new Map<string, JoinableRoom>();
    const joinable = (version: string, joinRule = 'public'): JoinableRoom => {
      const room = new JoinableRoom(p, version, joinRule);
      invited.set(room.roomId, room);
      return room;
    };
    const roomOf = ({ path }: PartnerRequest): JoinableRoom =>
      invited.get(decodeURIComponent(path.split('/')[5] ?? ''))!;
    const userOf = ({ path }: PartnerRequest): string => decodeURIComponent(path.split('/').at(-1) ?? '');
    return [
      {
        title: 'keys that are queried',
        ask: (n) => ask('POST', '/keys/query', { device_keys: { [`@x${n}:p.test`]: [] } }),
        answers: [
          [
            'POST',
            new RegExp(`${V}/user/keys/query$`),
            ({ body }) => {
              const [userId = ''] = Object.keys(body.device_keys);
              return {
                device_keys: { [userId]: { GOOD: deviceKeys(userId) } },
                master_keys: { [userId]: crossSigning(userId, 'master') },
                self_signing_keys: { [userId]: crossSigning(userId, 'self_signing') },
              };
            },
          ],
        ],
      },
      {
        title: 'keys that are claimed',
        ask: (n) => ask('POST', '/keys/claim', { one_time_keys: { [`@x${n}:p.test`]: { GOOD: 'signed_curve25519' } } }),
        answers: [
          [
            'POST',
            new RegExp(`${V}/user/keys/claim$`),
            ({ body }) => {
              const [userId = ''] = Object.keys(body.one_time_keys);
              const signatures = { [userId]: { 'ed25519:GOOD': 'c'.repeat(86) } };
              return {
                one_time_keys: {
                  [userId]: { GOOD: { 'signed_curve25519:AAAA': { key: 'k'.repeat(43), fallback: true, signatures } } },
                },
              };
            },
          ],
        ],
      },
      {
        title: 'the room of an alias',
        ask: (n) => ask('GET', `/directory/room/${enc(`#room${n}:p.test`)}`),
        answers: [
          ['GET', new RegExp(`${V}/query/directory$`), () => ({ room_id: '!r:p.test', servers: ['p.test', 'q.test'] })],
        ],
      },
      {
        title: 'a profile',
        ask: (n) => ask('GET', `/profile/${enc(`@x${n}:p.test`)}`),
        answers: [
          [
            'GET',
            new RegExp(`${V}/query/profile$`),
            () => ({ displayname: 'X', avatar_url: 'mxc://p.test/x', 'm.tz': 'UTC', 'org.example': { a: [1] } }),
          ],
        ],
      },
      ...(['GET', 'POST'] as const).map((method): Question => ({
        title: `a directory of rooms (${method})`,
        ask: (n) =>
          method === 'GET'
            ? ask('GET', `/publicRooms?server=p.test&limit=5&since=s${n}`)
            : ask('POST', '/publicRooms?server=p.test', { limit: 5, filter: { generic_search_term: `s${n}` } }),
        answers: [
          [
            method,
            new RegExp(`${V}/publicRooms$`),
            () => ({
              chunk: [summary('!one:p.test'), summary('!two:p.test')],
              next_batch: 'n',
              prev_batch: 'p',
              total_room_count_estimate: 2,
            }),
          ],
        ],
      })),
      ...[
        (n: number) => `/v1/rooms/${enc(`!space${n}:p.test`)}/hierarchy?via=p.test`,
        (n: number) => `/v1/room_summary/${enc(`!space${n}:p.test`)}?via=p.test`,
      ].map((path, index): Question => ({
        title: index === 0 ? 'a space' : 'a room',
        ask: (n) => ask('GET', path(n)),
        answers: [
          [
            'GET',
            new RegExp(`${V}/hierarchy/`),
            (request) => ({
              room: {
                ...summary(decodeURIComponent(request.path.split('/').at(-1)!)),
                children_state: [
                  {
                    type: 'm.space.child',
                    sender: '@x:p.test',
                    state_key: '!child:p.test',
                    content: { via: ['p.test'], order: 'a', suggested: true },
                    origin_server_ts: 1,
                  },
                ],
              },
              children: [summary('!child:p.test')],
              inaccessible_children: ['!closed:p.test'],
            }),
          ],
        ],
      })),
      ...['1', '6', '10', '11', '12'].flatMap((version): Question[] => [
        {
          title: `a join in room version ${version}`,
          ask: () => {
            const { roomId } = joinable(version);
            return ask('POST', `/join/${enc(roomId)}?server_name=p.test`, {});
          },
          answers: [
            ['GET', new RegExp(`${V}/make_join/`), (request) => roomOf(request).template('join', userOf(request))],
            ['PUT', new RegExp(`${V}/send_join/`), (request) => roomOf(request).joinAnswer()],
          ],
        },
      ]),
      ...['7', '11', '12'].map((version): Question => ({
        title: `a knock in room version ${version}`,
        ask: () => {
          const { roomId } = joinable(version, 'knock');
          return ask('POST', `/knock/${enc(roomId)}?server_name=p.test`, {});
        },
        answers: [
          ['GET', new RegExp(`${V}/make_knock/`), (request) => roomOf(request).template('knock', userOf(request))],
          [
            'PUT',
            new RegExp(`${V}/send_knock/`),
            (request) => ({ knock_room_state: [...roomOf(request).state.values()].map(({ pdu }) => pdu) }),
          ],
        ],
      })),
      ...['1', '10', '12'].map((version): Question => ({
        title: `an invite in room version ${version}`,
        ask: async (n) => {
          const roomId = await server.room('alice', { room_version: version });
          return ask('POST', `/rooms/${roomId}/invite`, { user_id: `@x${n}:p.test` });
        },
        answers: [
          ['PUT', /\/v2\/invite\//, ({ body }) => ({ event: body.event })],
          ['PUT', /\/v1\/invite\//, ({ body }) => [200, { event: body }]],
        ],
      })),
      ...['1', '10', '12'].map((version): Question => ({
        title: `the rejection of an invite in room version ${version}`,
        ask: async () => {
          const room = joinable(version);
          const draft = { type: 'm.room.member', sender: room.creator, stateKey: '@alice:a.test' };
          const { eventId, pdu } = room.build({ ...draft, content: { membership: 'invite' } });
          const path = `/_matrix/federation/v2/invite/${enc(room.roomId)}/${enc(eventId)}`;
          const state = [...room.state.values()].map((event) => event.pdu);
          await p.send('a.test', 'PUT', path, { room_version: version, event: pdu, invite_room_state: state });
          return ask('POST', `/rooms/${enc(room.roomId)}/leave`, {});
        },
        answers: [
          ['GET', /\/make_leave\//, (request) => roomOf(request).template('leave', userOf(request))],
          ['PUT', /\/v2\/send_leave\//, () => ({})],
          ['PUT', /\/v1\/send_leave\//, () => [200, {}]],
        ],
      })),
      ...[
        (room: string) => `/rooms/${room}/messages?dir=b&limit=50`,
        (room: string) => `/v1/rooms/${room}/timestamp_to_event?ts=1&dir=f`,
        (room: string) => `/rooms/${room}/event/${enc(`$${'x'.repeat(43)}`)}`,
      ].map((path, index): Question => ({
        title: ['the past of a room', 'the event of a time', 'an event'][index]!,
        ask: async () => {
          const room = joinable('10');
          room.serveJoins();
          await server.must('alice', 'POST', `/join/${enc(room.roomId)}?server_name=p.test`, {});
          await server.idle();
          return ask('GET', path(enc(room.roomId)));
        },
        answers: [
          [
            'GET',
            /\/v1\/backfill\//,
            (request) => ({
              origin: 'p.test',
              origin_server_ts: 1,
              pdus: [...roomOf(request).events.values()].map(({ pdu }) => pdu).toReversed(),
            }),
          ],
          [
            'GET',
            /\/v1\/timestamp_to_event\//,
            (request) => ({ event_id: roomOf(request).last.eventId, origin_server_ts: 1 }),
          ],
          [
            'GET',
            /\/v1\/event\//,
            () => ({ origin: 'p.test', origin_server_ts: 1, pdus: [[...invited.values()].at(-1)!.last.pdu] }),
          ],
          [
            'GET',
            /\/v1\/state_ids\//,
            (request) => {
              const ids = [...roomOf(request).events.keys()];
              return { pdu_ids: ids, auth_chain_ids: ids };
            },
          ],
          [
            'GET',
            /\/v1\/event_auth\//,
            (request) => ({ auth_chain: [...roomOf(request).events.values()].map(({ pdu }) => pdu) }),
          ],
        ],
      })),
    ];
  };

  const sent = (strange: Strange, good: JsonValue): PartnerAnswer =>
    'error' in strange
      ? { status: strange.error.status, body: strange.error.status === 204 ? '' : strange.error.body }
      : { body: JSON.stringify(strange.changes.reduce<JsonValue>((value, one) => changed(value, one), good)) };

  let n = 0;
  it('breaks nothing, says nothing of the client’s own session, and ends', async () => {
    for (const { answers: answered, ask: asks, title } of questions()) {
      await fc.assert(
        fc.asyncProperty(answers, fc.nat(answered.length - 1), async (strange, which) => {
          for (const [index, [method, path, good]] of answered.entries())
            p.on(method, path, (request) => sent(index === which ? strange : { changes: [] }, good(request)));
          n += 1;
          const { body, status } = await asks(n);
          const told = `${title}: ${JSON.stringify(strange).slice(0, 2_000)}: ${status} ${JSON.stringify(body).slice(0, 500)}`;
          expect(status < 500 || MEANT.has(body.errcode), told).to.equal(true);
          expect(isWellFormedJson(body), told).to.equal(true);
          expect(status === 200 || (status >= 400 && status !== 401), told).to.equal(true);
          if (status !== 200) expect(OF_OWN_ACCOUNT.has(body.errcode), told).to.equal(false);
          await server.idle();
          // Where it could not be reached, it is tried again.
          federation.clock.set(6_000);
          server.services.contacts.heardOf('p.test');
        }),
        { numRuns: RUNS, seed: SEED, endOnFailure: true },
      );
    }
    const logged = server.lines.filter(({ level }) => level === 'error');
    expect(
      logged.map(({ fields, message }) => `${message} ${String((fields['err'] as Error | undefined)?.stack)}`),
    ).to.deep.equal([]);
  });
});
