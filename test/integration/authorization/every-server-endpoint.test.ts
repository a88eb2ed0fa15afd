import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { federationFetch } from '#test/support/federation/federation-fetch.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { Answer } from '#test/support/http.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import type { RemotePartner } from '#test/support/federation/remote-partner.ts';

const V1 = '/_matrix/federation/v1';
const V2 = '/_matrix/federation/v2';
const SECRET = 'nobody-else-reads-this';

type Method = 'GET' | 'PUT' | 'POST';
type Request = readonly [method: Method, path: string, content?: object];

/** What there is to be asked about. */
interface Things {
  readonly roomId: string;
  readonly room: string;
  readonly message: string;
  readonly join: string;
}

/**
 * What servers ask of a private room, by operation. Who asks knows all ids. `reads` is answered to a server that is in the room; `writes` is
 * refused to all, since what is sent is no event.
 */
const reads = ({ room, message }: Things): Readonly<Record<string, readonly Request[]>> => ({
  backfillRoom: [['GET', `${V1}/backfill/${room}?v=${message}&limit=10`]],
  getMissingPreviousEvents: [
    ['POST', `${V1}/get_missing_events/${room}`, { earliest_events: [], latest_events: [decoded(message)], limit: 10 }],
  ],
  getEventAuth: [['GET', `${V1}/event_auth/${room}/${message}`]],
  getRoomState: [['GET', `${V1}/state/${room}?event_id=${message}`]],
  getRoomStateIds: [['GET', `${V1}/state_ids/${room}?event_id=${message}`]],
  getEvent: [['GET', `${V1}/event/${message}`]],
  getEventByTimestamp: [['GET', `${V1}/timestamp_to_event/${room}?ts=0&dir=f`]],
  getSpaceHierarchy: [['GET', `${V1}/hierarchy/${room}`]],
});

const writes = (
  { room, roomId, message, join }: Things,
  origin: string,
): Readonly<Record<string, readonly Request[]>> => {
  const user = encodeURIComponent(`@x:${origin}`);
  const event = { type: 'm.room.member', sender: `@x:${origin}`, state_key: `@x:${origin}`, room_id: roomId };
  const member = (membership: string): object => ({ ...event, content: { membership } });
  return {
    makeJoin: [['GET', `${V1}/make_join/${room}/${user}?ver=12`]],
    makeKnock: [['GET', `${V1}/make_knock/${room}/${user}?ver=12`]],
    sendJoinV1: [['PUT', `${V1}/send_join/${room}/${join}`, member('join')]],
    sendJoinV2: [['PUT', `${V2}/send_join/${room}/${join}`, member('join')]],
    sendKnock: [['PUT', `${V1}/send_knock/${room}/${join}`, member('knock')]],
    sendLeaveV1: [['PUT', `${V1}/send_leave/${room}/${join}`, member('leave')]],
    sendLeaveV2: [['PUT', `${V2}/send_leave/${room}/${join}`, member('leave')]],
    sendInviteV1: [['PUT', `${V1}/invite/${room}/${message}`, member('invite')]],
    sendInviteV2: [['PUT', `${V2}/invite/${room}/${message}`, { event: member('invite'), room_version: '12' }]],
    exchangeThirdPartyInvite: [['PUT', `${V1}/exchange_third_party_invite/${room}`, member('invite')]],
  };
};

/** What has nothing to do with who is in which room, or answers each of several things for itself. */
const OTHERS: Readonly<Record<string, readonly Request[]>> = {
  // Members may leave, however the room is closed to others.
  makeLeave: [['GET', `${V1}/make_leave/!nowhere:a.test/%40x%3Anowhere.test`]],
  sendTransaction: [['PUT', `${V1}/send/txn-of-nothing`, { origin: 'x', origin_server_ts: 0, pdus: [], edus: [] }]],
  queryProfile: [['GET', `${V1}/query/profile?user_id=@alice:a.test`]],
  queryRoomDirectory: [['GET', `${V1}/query/directory?room_alias=%23nothing:a.test`]],
  queryInfo: [['GET', `${V1}/query/weather`]],
  getPublicRooms: [['GET', `${V1}/publicRooms`]],
  queryPublicRooms: [['POST', `${V1}/publicRooms`, {}]],
  getContent: [['GET', `${V1}/media/download/nothing`]],
  getContentThumbnail: [['GET', `${V1}/media/thumbnail/nothing?width=32&height=32`]],
  claimUserEncryptionKeys: [['POST', `${V1}/user/keys/claim`, { one_time_keys: {} }]],
  queryUserEncryptionKeys: [['POST', `${V1}/user/keys/query`, { device_keys: {} }]],
  getUserDevices: [['GET', `${V1}/user/devices/@nobody:a.test`]],
  askPolicyServerToSign: [['POST', '/_matrix/policy/v1/sign', {}]],
};

/** The status with which each of these is answered. */
const ANSWERS_TO_OTHERS: Readonly<Record<string, number>> = {
  makeLeave: 403,
  sendTransaction: 200,
  queryProfile: 200,
  queryRoomDirectory: 404,
  queryInfo: 404,
  getPublicRooms: 200,
  queryPublicRooms: 200,
  getContent: 404,
  getContentThumbnail: 404,
  claimUserEncryptionKeys: 200,
  queryUserEncryptionKeys: 200,
  getUserDevices: 200,
  askPolicyServerToSign: 404,
};

const decoded = (segment: string): string => decodeURIComponent(segment);
const isOfServers = ({ auth }: { readonly auth: string }): boolean => auth === 'server';

describe('endpoints for other servers', function () {
  this.timeout(120_000);
  let federation: Federation;
  let server: InProcessServer;
  let things: Things;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['m.test', 'l.test', 'n.test', 'd.test'],
      server: { config: { federation: { deny: ['d.test'] } } },
    });
    server = federation.server('a.test');
    const roomId = await server.room('alice', { preset: 'public_chat', topic: SECRET, name: SECRET });
    const room = await PartnerRoom.join(server, partner('m.test'), roomId, ['@m:m.test']);
    await PartnerRoom.join(server, partner('l.test'), roomId, ['@l:l.test']);
    const deny = { allow: ['*'], deny: ['l.test'] };
    await server.setState('alice', roomId, 'm.room.server_acl', deny);
    await server.setState('alice', roomId, 'm.room.history_visibility', { history_visibility: 'joined' });
    await server.setState('alice', roomId, 'm.room.join_rules', { join_rule: 'invite' });
    const message = await server.say('alice', roomId, SECRET);
    await room.catchUp();
    const join = encodeURIComponent(room.stateEvent('m.room.member', '@m:m.test') ?? '');
    things = { roomId, room: encodeURIComponent(roomId), message: encodeURIComponent(message), join };
  });
  after(() => federation?.stop());

  const partner = (name: string): RemotePartner => federation.partner(name);
  const known = new Set(ENDPOINTS.filter(isOfServers).map(({ operationId }) => operationId));
  const all = (origin: string): Request[] =>
    Object.entries({ ...reads(things), ...writes(things, origin), ...OTHERS }).flatMap(([operation, requests]) =>
      known.has(operation) ? requests : [],
    );
  const ask = (origin: string, [method, path, content]: Request): Promise<Answer> =>
    partner(origin).send('a.test', method, path, content as JsonObject | undefined);
  const told = ([method, path]: Request, { status, body }: Answer): string =>
    `${method} ${path}: ${status} ${JSON.stringify(body).slice(0, 200)}`;

  it('are all asked here: one that is added is listed above', () => {
    const listed = new Set(Object.keys({ ...reads(things), ...writes(things, 'x'), ...OTHERS }));
    expect(known.size).to.be.greaterThan(10);
    expect([...known].filter((name) => !listed.has(name))).to.deep.equal([]);
  });

  it('answer nobody who does not sign, signs with another key, or for another server', async () => {
    const faults: string[] = [];
    for (const request of all('n.test')) {
      const [method, path, content] = request;
      const raw = content === undefined ? {} : { raw: JSON.stringify(content) };
      const elsewhere = await partner('n.test').send(
        'a.test',
        method,
        `${path}${path.includes('?') ? '&' : '?'}more=1`,
        content as JsonObject | undefined,
        {
          headers: { authorization: 'X-Matrix origin="n.test",destination="a.test",key="ed25519:x",sig="AAAA"' },
        },
      );
      const answers = [await federationFetch(federation.urlOf('a.test'), method, path, raw), elsewhere];
      for (const answer of answers)
        if (answer.status !== 401 || answer.body.errcode !== 'M_UNAUTHORIZED') faults.push(told(request, answer));
    }
    expect(faults).to.deep.equal([]);
  });

  it('refuse everything to a server that the operator denies', async () => {
    const faults: string[] = [];
    for (const request of all('d.test')) {
      const answer = await ask('d.test', request);
      if (answer.status !== 403 || answer.body.errcode !== 'M_FORBIDDEN') faults.push(told(request, answer));
    }
    expect(faults).to.deep.equal([]);
  });

  for (const [origin, who] of [
    ['n.test', 'that is not in the room'],
    ['l.test', 'that the room’s ACL denies'],
  ] as const)
    it(`tell nothing of a private room to a server ${who}, and take nothing from it`, async () => {
      const faults: string[] = [];
      for (const request of [...Object.values(reads(things)), ...Object.values(writes(things, origin))].flat()) {
        const answer = await ask(origin, request);
        const isRefused = [400, 403, 404].includes(answer.status) && typeof answer.body.errcode === 'string';
        if (!isRefused || JSON.stringify(answer.body).includes(SECRET)) faults.push(told(request, answer));
      }
      expect(faults).to.deep.equal([]);
    });

  it('answer what is asked of a room by a server that is in it', async () => {
    const faults: string[] = [];
    for (const [operation, requests] of Object.entries(reads(things))) {
      if (!known.has(operation)) continue;
      for (const request of requests) {
        const answer = await ask('m.test', request);
        if (answer.status !== 200) faults.push(told(request, answer));
      }
    }
    expect(faults).to.deep.equal([]);
  });

  it('answer to anybody what is of no room, and break at nothing', async () => {
    for (const [operation, requests] of Object.entries(OTHERS))
      for (const request of requests) {
        const answer = await ask('n.test', request);
        expect(answer.status, told(request, answer)).to.equal(ANSWERS_TO_OTHERS[operation]);
        expect(JSON.stringify(answer.body)).not.to.contain(SECRET);
      }
  });
});
