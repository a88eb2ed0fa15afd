import { readFileSync } from 'node:fs';
import { createHash } from 'node:crypto';
import { expect } from 'chai';
import { systemTimers } from '#src/kernel/timers.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { ThirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';
import { AddressGuard } from '#src/remote/address-guard.ts';
import { type IdentityAccess, IdentityService } from '#src/remote/identity-service.ts';
import { OutboundHttp } from '#src/remote/outbound-http.ts';
import { IdentityServer, LOOPBACK_CA_FILE } from '#test/support/stand-ins/identity-server.ts';
import { names } from './outbound.ts';

const BOB: ThirdPartyId = { medium: 'email', address: 'bob@mail.test' };

describe('asking an identity server', () => {
  let server: IdentityServer;
  let http: OutboundHttp;
  let identity: IdentityService;
  let access: IdentityAccess;

  beforeEach(async () => {
    server = await IdentityServer.start();
    http = new OutboundHttp({
      guard: new AddressGuard({ deny: [], allow: [] }),
      timers: systemTimers,
      userAgent: 'Tsudoi/test',
      resolve: names.addresses,
      certificateAuthorities: [readFileSync(LOOPBACK_CA_FILE, 'utf8')],
    });
    identity = new IdentityService(http, { totalMs: 500 });
    access = { server: server.name, accessToken: server.token };
  });
  afterEach(async () => {
    await http.close();
    await server.stop();
  });

  const errorOf = async (promise: Promise<unknown>): Promise<MatrixError> => {
    try {
      await promise;
    } catch (error) {
      if (error instanceof MatrixError) return error;
      throw error;
    }
    throw new Error('it did not fail');
  };
  const refused = async (promise: Promise<unknown>, errcode: string): Promise<void> => {
    const error = await errorOf(promise);
    expect(error.errcode).to.equal(errcode);
    expect(error.message).not.to.contain(access.accessToken).and.not.to.contain(BOB.address);
  };
  const invite = {
    ...BOB,
    roomId: '!room:test',
    sender: '@alice:test',
    details: { room_name: 'Room', room_type: undefined },
  };

  it('finds who has bound an address without saying the address', async () => {
    server.bindings.set('bob@mail.test email', '@bob:far.test');
    expect(await identity.lookup(access, BOB)).to.equal('@bob:far.test');
    expect(await identity.lookup(access, { medium: 'msisdn', address: '447700900000' })).to.equal(undefined);
    expect(server.asked.map(({ path, token }) => `${path} ${token}`)).to.deep.equal([
      '/hash_details identity token',
      '/lookup identity token',
      '/hash_details identity token',
      '/lookup identity token',
    ]);
    expect(JSON.stringify(server.asked)).not.to.contain('bob@mail.test');
  });
  it('takes null for an address that nobody has bound', async () => {
    const query = createHash('sha256').update('bob@mail.test email matrixrocks').digest('base64url');
    server.replacements.set('/lookup', [[200, { mappings: { [query]: null } }]]);
    expect(await identity.lookup(access, BOB)).to.equal(undefined);
  });
  it("hashes as in the specification's examples", async () => {
    await identity.lookup(access, { medium: 'email', address: 'alice@example.com' });
    await identity.lookup(access, { medium: 'msisdn', address: '18005552067' });
    const bodies = server.asked.flatMap(({ body }) => body ?? []);
    expect(bodies).to.deep.equal([
      { algorithm: 'sha256', pepper: 'matrixrocks', addresses: ['4kenr7N9drpCJ4AfalmlGQVsOn3o2RHjkADUpXJWZUc'] },
      { algorithm: 'sha256', pepper: 'matrixrocks', addresses: ['nlo35_T5fzSGZzJApqu8lgIudJvmOQtDaHtr-I4rU7I'] },
    ]);
  });
  it('asks in clear text only where nothing else is offered', async () => {
    server.bindings.set('bob@mail.test email', '@bob:far.test');
    server.algorithms = ['none'];
    expect(await identity.lookup(access, BOB)).to.equal('@bob:far.test');
    expect(server.asked.at(-1)?.body).to.deep.equal({
      algorithm: 'none',
      pepper: 'matrixrocks',
      addresses: ['bob@mail.test email'],
    });
    server.algorithms = ['md5'];
    await refused(identity.lookup(access, BOB), 'M_CONNECTION_FAILED');
  });
  it('takes the new pepper when it was changed in between, once', async () => {
    server.bindings.set('bob@mail.test email', '@bob:far.test');
    const old = { lookup_pepper: 'old', algorithms: ['sha256'] };
    server.replacements.set('/hash_details', [[200, old]]);
    expect(await identity.lookup(access, BOB)).to.equal('@bob:far.test');
    expect(server.asked).to.have.length(4);
    server.asked.length = 0;
    server.replacements.set('/hash_details', [
      [200, old],
      [200, old],
      [200, old],
    ]);
    await refused(identity.lookup(access, BOB), 'M_CONNECTION_FAILED');
    expect(server.asked).to.have.length(4);
  });

  it('has an invitation kept', async () => {
    const stored = await identity.storeInvite(access, invite);
    if (typeof stored === 'string') throw new Error(stored);
    expect(server.asked.at(-1)?.body).to.deep.equal({
      medium: 'email',
      address: 'bob@mail.test',
      room_id: '!room:test',
      sender: '@alice:test',
      room_name: 'Room',
    });
    expect([stored.token, stored.displayName]).to.deep.equal(['stored_1', 's...@m...']);
    expect(stored.publicKeys).to.have.length(2);
    expect(stored.publicKeys[0].keyValidityUrl).to.match(/\/pubkey\/isvalid$/);
  });
  it('hears from a server that keeps no invitations of those it knows whom it knows', async () => {
    server.replacements.set('/store-invite', [
      [400, { errcode: 'M_THREEPID_IN_USE', error: 'known', mxid: '@bob:far.test' }],
    ]);
    expect(await identity.storeInvite(access, invite)).to.equal('@bob:far.test');
  });

  it('says what is wrong', async () => {
    const terms = [403, { errcode: 'M_TERMS_NOT_SIGNED', error: 'terms' }] as const;
    for (const [path, replacement, errcode] of [
      ['/hash_details', terms, 'M_TERMS_NOT_SIGNED'],
      ['/lookup', terms, 'M_TERMS_NOT_SIGNED'],
      ['/hash_details', [401, { errcode: 'M_UNAUTHORIZED', error: '' }], 'M_FORBIDDEN'],
      ['/lookup', [429, { errcode: 'M_LIMIT_EXCEEDED', error: '' }], 'M_LIMIT_EXCEEDED'],
      ['/lookup', [500, 'Internal Server Error'], 'M_CONNECTION_FAILED'],
      ['/lookup', [200, '<html>'], 'M_CONNECTION_FAILED'],
      ['/lookup', [200, []], 'M_CONNECTION_FAILED'],
      ['/lookup', [200, {}], 'M_CONNECTION_FAILED'],
      ['/hash_details', [200, { lookup_pepper: 1, algorithms: 'sha256' }], 'M_CONNECTION_FAILED'],
      ['/hash_details', [302, {}], 'M_CONNECTION_FAILED'],
      ['/hash_details', [200, JSON.stringify({ x: 'x'.repeat(200_000) })], 'M_CONNECTION_FAILED'],
      ['/hash_details', 'hang', 'M_CONNECTION_TIMEOUT'],
    ] as const) {
      server.replacements.set(path, [replacement]);
      await refused(identity.lookup(access, BOB), errcode);
      expect(server.replacements.get(path)).to.deep.equal([]);
    }
    for (const [replacement, errcode] of [
      [[400, { errcode: 'M_UNRECOGNIZED', error: '' }], 'M_THREEPID_MEDIUM_NOT_SUPPORTED'],
      [[400, { errcode: 'M_THREEPID_IN_USE', error: '', mxid: 'nobody' }], 'M_CONNECTION_FAILED'],
      [[200, { token: 'a b', display_name: 'x', public_keys: [] }], 'M_CONNECTION_FAILED'],
      [[200, { token: 'ab', display_name: 'x', public_keys: [{ public_key: 'x' }] }], 'M_CONNECTION_FAILED'],
    ] as const) {
      server.replacements.set('/store-invite', [replacement]);
      await refused(identity.storeInvite(access, invite), errcode);
    }
  });
  it('does not take somebody who is no Matrix user for one', async () => {
    server.bindings.set('bob@mail.test email', 'bob');
    await refused(identity.lookup(access, BOB), 'M_CONNECTION_FAILED');
  });
  it('says when the server is not there, or its address is out of bounds', async () => {
    await refused(identity.lookup({ ...access, server: 'localhost:1' }, BOB), 'M_CONNECTION_FAILED');
    const guarded = new OutboundHttp({
      guard: new AddressGuard({ deny: ['127.0.0.0/8', '::1'], allow: [] }),
      timers: systemTimers,
      userAgent: 'Tsudoi/test',
      resolve: names.addresses,
    });
    await refused(new IdentityService(guarded).lookup(access, BOB), 'M_CONNECTION_FAILED');
    await guarded.close();
    expect(server.asked).to.deep.equal([]);
  });
});
