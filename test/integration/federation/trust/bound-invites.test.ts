import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import { federationFetch } from '#test/support/federation/federation-fetch.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { Answer } from '../../../support/in-process-server.ts';
import { until } from '../../../support/until.ts';

const MEMBER = 'm.room.member';

describe('an identity server that tells who has bound an address', () => {
  let federation: Federation;
  let roomId: string;
  const key = generateSigningKey((count) => systemRandom.bytes(count));

  before(async () => {
    federation = await startFederation(['a.test', 'b.test'], { partners: ['p.test'] });
    const a = federation.server('a.test');
    roomId = await a.room('alice');
    for (const token of ['one', 'two', 'three', 'four'])
      await a.setState(
        'alice',
        roomId,
        'm.room.third_party_invite',
        {
          display_name: 'b...',
          public_keys: [{ public_key: key.publicKey }],
          public_key: key.publicKey,
          key_validity_url: 'https://id.test/',
        },
        token,
      );
    await Promise.all([a.account('bob', 'carol'), federation.server('b.test').account('bob')]);
  });
  after(() => federation.stop());

  const tell = async (
    server: string,
    mxid: string,
    token: string,
    changes: JsonObject = {},
    method: 'POST' | 'PUT' = 'PUT',
  ): Promise<Answer> => {
    const signed = signJson({ mxid, token }, 'id.test', key);
    const invite = {
      medium: 'email',
      address: 'b@x.test',
      mxid,
      room_id: roomId,
      sender: '@alice:a.test',
      signed,
      ...changes,
    };
    return federationFetch(federation.urlOf(server), method, '/_matrix/federation/v1/3pid/onbind', {
      raw: JSON.stringify({ medium: 'email', address: 'b@x.test', mxid, invites: [invite] }),
    });
  };
  const membership = async (userId: string): Promise<unknown> => {
    const path = `/rooms/${roomId}/state/${MEMBER}/${encodeURIComponent(userId)}`;
    return (await federation.server('a.test').ask('alice', 'GET', path)).body.membership;
  };

  it('has a user invited who is of the same server as the inviter, by POST as well', async () => {
    expect((await tell('a.test', '@bob:a.test', 'one', {}, 'POST')).status).to.equal(200);
    expect(await membership('@bob:a.test')).to.equal('invite');
  });

  it('has a user of another server invited by the inviter’s', async () => {
    expect((await tell('b.test', '@bob:b.test', 'two')).status).to.equal(200);
    expect(await membership('@bob:b.test')).to.equal('invite');
    await until('the invite at the other server', async () => {
      const { rooms } = await federation.server('b.test').must('bob', 'GET', '/sync');
      return rooms?.invite?.[roomId];
    });
  });

  it('gets nobody invited by what it has not signed, for whom it has not signed it, or who is not here', async () => {
    const stranger = generateSigningKey((count) => systemRandom.bytes(count));
    const forged = signJson({ mxid: '@carol:a.test', token: 'three' }, 'id.test', stranger);
    expect((await tell('a.test', '@carol:a.test', 'three', { signed: forged })).status).to.equal(200);
    const ofBob = signJson({ mxid: '@bob:a.test', token: 'three' }, 'id.test', key);
    expect((await tell('a.test', '@carol:a.test', 'three', { signed: ofBob })).status).to.equal(400);
    expect((await tell('a.test', '@carol:a.test', 'three', { room_id: '!nowhere:a.test' })).status).to.equal(200);
    expect((await tell('a.test', '@nobody:a.test', 'three')).status).to.equal(404);
    expect((await tell('a.test', '@bob:b.test', 'three')).status).to.equal(404);
    expect(await membership('@carol:a.test')).to.equal(undefined);
  });

  it('cannot, nor can the invited user’s server, say anything in the name of the inviter but the invite', async () => {
    const p = federation.partner('p.test');
    const mxid = '@pat:p.test';
    const answer = p.send(
      'a.test',
      'PUT',
      `/_matrix/federation/v1/exchange_third_party_invite/${encodeURIComponent(roomId)}`,
      {
        type: MEMBER,
        room_id: roomId,
        sender: '@alice:a.test',
        state_key: mxid,
        content: {
          membership: 'invite',
          displayname: 'Pat',
          reason: 'words that alice never said',
          'com.example': {},
          third_party_invite: { display_name: 'other', signed: signJson({ mxid, token: 'four' }, 'id.test', key) },
        },
      },
    );
    const { body } = await p.request('PUT', /v2\/invite/);
    await answer;
    const { content } = body.event;
    expect(Object.keys(content).toSorted()).to.deep.equal(['displayname', 'membership', 'third_party_invite']);
    expect(content.third_party_invite.display_name).to.equal('b...');
  });

  it('nor can that server exchange an invite for one to another room, or for what is none', async () => {
    const signed = signJson({ mxid: '@pat:p.test', token: 'five' }, 'id.test', key);
    const event = {
      type: MEMBER,
      room_id: roomId,
      sender: '@alice:a.test',
      state_key: '@pat:p.test',
      content: { membership: 'invite', third_party_invite: { display_name: '', signed } },
    };
    for (const changes of [
      { room_id: '!other:a.test' },
      { type: 'm.room.message' },
      { sender: '@pat:p.test' },
      { state_key: '@bob:a.test' },
      { content: { membership: 'join' } },
      { content: { membership: 'invite', third_party_invite: { signed: [] } } },
    ]) {
      const path = `/_matrix/federation/v1/exchange_third_party_invite/${encodeURIComponent(roomId)}`;
      const { body, status } = await federation.partner('p.test').send('a.test', 'PUT', path, { ...event, ...changes });
      expect([status, body.errcode], JSON.stringify(changes)).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
  });
});
