import { expect } from 'chai';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import type { Answer, InProcessServer } from '#test/support/in-process-server.ts';
import { federationFetch } from '#test/support/federation/federation-fetch.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';

const PAT = '@pat:p.test';
const V1 = '/_matrix/federation/v1';
const V2 = '/_matrix/federation/v2';
const enc = encodeURIComponent;

describe('the standards of the API between servers', function () {
  this.timeout(60_000);
  let federation: Federation;
  let a: InProcessServer;
  let p: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test'] });
    a = federation.server('a.test');
    p = federation.partner('p.test');
  });
  after(() => federation?.stop());

  const codeOf = ({ body, status }: Answer): [number, string] => [status, body.errcode];

  describe('a server that a room denies', () => {
    let roomId: string;
    let room: PartnerRoom;
    let said: string;

    before(async () => {
      roomId = await a.room('alice', { preset: 'public_chat' });
      room = await PartnerRoom.join(a, p, roomId, [PAT]);
      said = await a.say('alice', roomId, 'one');
      await room.catchUp();
    });

    const member = (sender: string, target: string, membership: string): JsonObject =>
      room.build({ type: 'm.room.member', sender, stateKey: target, content: { membership } })
        .pdu as unknown as JsonObject;

    /** All that the specification protects, with a request that would be good otherwise. */
    const requests = (): [method: 'GET' | 'PUT' | 'POST', path: string, body?: JsonObject][] => {
      const at = enc(roomId);
      const id = enc(said);
      const join = member('@new:p.test', '@new:p.test', 'join');
      const knock = member('@new:p.test', '@new:p.test', 'knock');
      const leave = member(PAT, PAT, 'leave');
      const invite = member(PAT, '@bob:a.test', 'invite');
      const missing = { earliest_events: [said], latest_events: [...room.extremities], limit: 10 };
      return [
        ['GET', `${V1}/make_join/${at}/${enc('@new:p.test')}?ver=11`],
        ['GET', `${V1}/make_leave/${at}/${enc(PAT)}`],
        ['GET', `${V1}/make_knock/${at}/${enc('@new:p.test')}?ver=11`],
        ...[V1, V2].flatMap((version): [method: 'PUT', path: string, body: JsonObject][] => [
          ['PUT', `${version}/send_join/${at}/${id}`, join],
          ['PUT', `${version}/send_leave/${at}/${id}`, leave],
        ]),
        ['PUT', `${V1}/invite/${at}/${id}`, invite],
        ['PUT', `${V2}/invite/${at}/${id}`, { event: invite, room_version: '11', invite_room_state: [] }],
        ['PUT', `${V1}/send_knock/${at}/${id}`, knock],
        ['GET', `${V1}/state/${at}?event_id=${id}`],
        ['GET', `${V1}/state_ids/${at}?event_id=${id}`],
        ['GET', `${V1}/backfill/${at}?v=${id}&limit=10`],
        ['GET', `${V1}/event_auth/${at}/${id}`],
        ['POST', `${V1}/get_missing_events/${at}`, missing],
      ];
    };

    it('is told so by every endpoint of the room', async () => {
      await a.setState('alice', roomId, 'm.room.server_acl', { allow: ['*'], deny: ['p.test'] });
      for (const [method, path, body] of requests()) {
        expect(codeOf(await p.send('a.test', method, path, body)), path).to.deep.equal([403, 'M_FORBIDDEN']);
      }
    });
  });

  it('what is not known is 404 M_UNRECOGNIZED, and another method 405, in JSON', async () => {
    const unknown = [
      '/_matrix/federation/v1/nothing',
      '/_matrix/federation/v9/version',
      '/_matrix/key/v2/nothing',
      '/_matrix/federation',
    ];
    for (const path of unknown)
      for (const method of ['GET', 'PUT', 'POST'] as const) {
        const answer = await p.send('a.test', method, path, method === 'GET' ? undefined : {});
        expect([path, ...codeOf(answer)]).to.deep.equal([path, 404, 'M_UNRECOGNIZED']);
        expect(answer.headers.get('content-type')).to.match(/^application\/json/);
      }
    for (const [method, path] of [
      ['POST', `${V1}/send/txn`],
      ['GET', `${V1}/send/txn`],
      ['PUT', `${V1}/version`],
      ['POST', '/_matrix/key/v2/server'],
      ['GET', `${V1}/user/keys/query`],
    ] as const) {
      const answer = await p.send('a.test', method, path, method === 'GET' ? undefined : {});
      expect([path, ...codeOf(answer)]).to.deep.equal([path, 405, 'M_UNRECOGNIZED']);
    }
  });

  it('a body needs no Content-Type, but has to be an object of JSON in UTF-8', async () => {
    const good = await p.send(
      'a.test',
      'PUT',
      `${V1}/send/untyped`,
      { origin: 'p.test', origin_server_ts: 1, pdus: [] },
      {
        headers: { 'Content-Type': '' },
      },
    );
    expect(good.status).to.equal(200);
    const plain = await p.send(
      'a.test',
      'PUT',
      `${V1}/send/plain`,
      { origin: 'p.test', origin_server_ts: 1, pdus: [] },
      {
        headers: { 'Content-Type': 'text/plain' },
      },
    );
    expect(plain.status).to.equal(200);
    for (const raw of [
      '',
      '[]',
      '7',
      'null',
      '{',
      '{"pdus":[],"pdus":[]',
      Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
    ]) {
      const body = typeof raw === 'string' ? raw : new Uint8Array(raw);
      const answer = await p.send('a.test', 'PUT', `${V1}/send/bad`, {}, { raw: body });
      expect([raw, answer.status >= 400 && answer.status < 500]).to.deep.equal([raw, true]);
      expect(answer.body.errcode).to.match(/^M_/);
    }
  });

  it('what is not signed is 401 M_UNAUTHORIZED everywhere but where nobody has to sign', async () => {
    const url = federation.urlOf('a.test');
    for (const [method, path] of [
      ['GET', `${V1}/query/profile?user_id=${enc('@alice:a.test')}`],
      ['GET', `${V1}/publicRooms`],
      ['PUT', `${V1}/send/unsigned`],
      ['POST', `${V1}/user/keys/query`],
      ['GET', `${V1}/media/download/nothing`],
    ] as const) {
      const answer = await federationFetch(url, method, path, method === 'GET' ? {} : { raw: '{}' });
      expect([path, ...codeOf(answer)]).to.deep.equal([path, 401, 'M_UNAUTHORIZED']);
    }
    for (const path of [`${V1}/version`, '/_matrix/key/v2/server', '/_matrix/key/v2/query/a.test'])
      expect((await federationFetch(url, 'GET', path)).status, path).to.equal(200);
    expect((await federationFetch(url, 'GET', `${V1}/openid/userinfo?access_token=nothing`)).body.errcode).to.equal(
      'M_UNKNOWN_TOKEN',
    );
  });
});
