import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import { federationFetch } from '#test/support/federation/federation-fetch.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { Answer } from '#test/support/http.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';

const TYPE = 'm.room.third_party_invite';

describe('invites by address of which an identity server tells', function () {
  this.timeout(120_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;
  const key = generateSigningKey((count) => systemRandom.bytes(count));
  let tokens = 0;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test']);
    a = federation.server('a.test');
    b = federation.server('b.test');
    await b.account('bob');
    await a.account('carol');
  });
  after(() => federation?.stop());

  /** A private room with an invite by address, and the invite as the identity server knows it. */
  const invited = async (mxid: string, signer = key): Promise<Json> => {
    const roomId = await a.room('alice', { preset: 'private_chat' });
    const token = `token${(tokens += 1)}`;
    const publicKey = { public_key: key.publicKey, key_validity_url: 'https://id.test/valid' };
    await a.setState('alice', roomId, TYPE, { display_name: 'b...', ...publicKey, public_keys: [publicKey] }, token);
    const signed = signJson({ mxid, sender: '@alice:a.test', token }, 'id.test', signer);
    return { medium: 'email', address: 'b@mail.test', mxid, room_id: roomId, sender: '@alice:a.test', signed };
  };
  const tell = (server: string, mxid: string, invites: readonly unknown[]): Promise<Answer> =>
    federationFetch(federation.urlOf(server), 'PUT', '/_matrix/federation/v1/3pid/onbind', {
      raw: JSON.stringify({ medium: 'email', address: 'b@mail.test', mxid, invites }),
    });
  const membership = async (roomId: string, userId: string): Promise<string | undefined> =>
    (await a.must('alice', 'GET', `/rooms/${roomId}/members`)).chunk.find((event: Json) => event.state_key === userId)
      ?.content.membership;

  it('become invites of the user, through the inviter’s server', async () => {
    const invite = await invited('@bob:b.test');
    const { status, body } = await tell('b.test', '@bob:b.test', [invite]);
    expect([status, body]).to.deep.equal([200, {}]);
    expect(await membership(invite.room_id, '@bob:b.test')).to.equal('invite');
    expect((await b.must('bob', 'GET', '/sync')).rooms.invite).to.have.property(invite.room_id);
  });

  it('become invites of users of the inviter’s own server', async () => {
    const invite = await invited('@carol:a.test');
    await tell('a.test', '@carol:a.test', [invite]);
    expect(await membership(invite.room_id, '@carol:a.test')).to.equal('invite');
  });

  it('come to nothing when they are not signed by whom the room names, and keep no others from being taken', async () => {
    const forged = await invited(
      '@bob:b.test',
      generateSigningKey((count) => systemRandom.bytes(count)),
    );
    const good = await invited('@bob:b.test');
    const { status } = await tell('b.test', '@bob:b.test', [forged, good]);
    expect(status).to.equal(200);
    expect(await membership(forged.room_id, '@bob:b.test')).to.equal(undefined);
    expect(await membership(good.room_id, '@bob:b.test')).to.equal('invite');
  });
});
