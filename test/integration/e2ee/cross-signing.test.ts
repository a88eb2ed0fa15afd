import { expect } from 'chai';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import {
  crossSigningKeyOf,
  deviceKeysOf,
  EncryptionServer,
  keyOf,
  named,
  type TestDevice,
} from './encryption-server.ts';

const PATH = '/keys/device_signing/upload';

describe('cross-signing', function () {
  this.timeout(60_000);
  let server: EncryptionServer;
  let alice: TestDevice;
  let bob: TestDevice;
  const [device, master, selfSigning, userSigning] = [1, 2, 3, 4].map(keyOf) as [
    ReturnType<typeof keyOf>,
    ReturnType<typeof keyOf>,
    ReturnType<typeof keyOf>,
    ReturnType<typeof keyOf>,
  ];

  before(async () => {
    server = await EncryptionServer.start();
  });
  after(() => server.stop());
  beforeEach(async () => {
    alice = await server.register();
    bob = await server.register();
  });

  const keysOf = ({ userId }: TestDevice, masterKey = master): object => ({
    master_key: crossSigningKeyOf(userId, 'master', masterKey),
    self_signing_key: crossSigningKeyOf(userId, 'self_signing', selfSigning, masterKey),
    user_signing_key: crossSigningKeyOf(userId, 'user_signing', userSigning, masterKey),
  });
  const query = (reader: TestDevice, user: TestDevice): ReturnType<EncryptionServer['must']> =>
    server.must(reader, 'POST', '/keys/query', { device_keys: { [user.userId]: [] } });
  const sign = (signer: TestDevice, signed: object): ReturnType<EncryptionServer['must']> =>
    server.must(signer, 'POST', '/keys/signatures/upload', signed);

  it('begins without authentication, and shows everybody the keys but for the user-signing one', async () => {
    await server.must(alice, 'POST', PATH, keysOf(alice));
    const own = await query(alice, alice);
    const others = await query(bob, alice);
    expect(own.master_keys[alice.userId]).to.deep.equal(crossSigningKeyOf(alice.userId, 'master', master));
    expect(Object.keys(own.user_signing_keys)).to.deep.equal([alice.userId]);
    expect(Object.keys(others.self_signing_keys)).to.deep.equal([alice.userId]);
    expect(others.user_signing_keys).to.deep.equal({});
  });

  it('takes the same keys again without authentication, and others only with it', async () => {
    await server.must(alice, 'POST', PATH, keysOf(alice));
    await server.must(alice, 'POST', PATH, keysOf(alice));
    const other = keysOf(alice, keyOf(9));
    const refused = await server.ask(alice, 'POST', PATH, other);
    expect(refused.status).to.equal(401);
    expect(refused.body.flows).to.deep.equal([{ stages: ['m.login.password'] }]);
    await server.must(alice, 'POST', PATH, { ...other, auth: server.proof(alice, refused.body.session) });
    const { master_keys: keys } = await query(bob, alice);
    expect(Object.values(keys[alice.userId].keys)).to.deep.equal([keyOf(9).publicKey]);
  });

  it('drops what the old master key vouched for when the master key alone is replaced', async () => {
    await server.must(alice, 'POST', PATH, keysOf(alice));
    const replaced = { master_key: crossSigningKeyOf(alice.userId, 'master', keyOf(9)) };
    const { body } = await server.ask(alice, 'POST', PATH, replaced);
    await server.must(alice, 'POST', PATH, { ...replaced, auth: server.proof(alice, body.session) });
    const found = await query(alice, alice);
    expect(found.self_signing_keys).to.deep.equal({});
    expect(found.user_signing_keys).to.deep.equal({});
  });

  it('refuses keys that are not signed by the master key, belong to somebody else, or come without any', async () => {
    const { userId } = alice;
    const refusals: readonly (readonly [object, number, string])[] = [
      [
        { ...keysOf(alice), self_signing_key: crossSigningKeyOf(userId, 'self_signing', selfSigning) },
        400,
        'M_INVALID_SIGNATURE',
      ],
      [
        { ...keysOf(alice), user_signing_key: crossSigningKeyOf(userId, 'user_signing', userSigning, keyOf(7)) },
        400,
        'M_INVALID_SIGNATURE',
      ],
      [{ self_signing_key: crossSigningKeyOf(userId, 'self_signing', selfSigning, master) }, 400, 'M_MISSING_PARAM'],
      [{ master_key: crossSigningKeyOf(bob.userId, 'master', master) }, 400, 'M_INVALID_PARAM'],
      [{ master_key: crossSigningKeyOf(userId, 'self_signing', master) }, 400, 'M_INVALID_PARAM'],
      [{ master_key: { user_id: userId, usage: ['master'], keys: { 'ed25519:a': 'b' } } }, 400, 'M_BAD_JSON'],
      [{ master_key: 'text' }, 400, 'M_BAD_JSON'],
      [{}, 400, 'M_MISSING_PARAM'],
    ];
    for (const [keys, status, errcode] of refusals) {
      const answer = await server.ask(alice, 'POST', PATH, keys);
      expect([answer.status, answer.body.errcode], JSON.stringify(keys)).to.deep.equal([status, errcode]);
    }
    const clash = await server.login(alice, master.publicKey);
    const answer = await server.ask(clash, 'POST', PATH, keysOf(alice));
    expect([answer.status, answer.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
  });

  it('lets a user sign their devices, their master key and the master keys of others, and shows each who may see it', async () => {
    await server.must(alice, 'POST', '/keys/upload', { device_keys: deviceKeysOf(alice, device) });
    await server.must(alice, 'POST', PATH, keysOf(alice));
    await server.must(bob, 'POST', PATH, keysOf(bob, keyOf(8)));
    const ownDevice = signJson(deviceKeysOf(alice, device), alice.userId, named(selfSigning, selfSigning.publicKey));
    const ownMaster = signJson(
      crossSigningKeyOf(alice.userId, 'master', master),
      alice.userId,
      named(device, alice.deviceId),
    );
    const bobsMaster = signJson(
      crossSigningKeyOf(bob.userId, 'master', keyOf(8)),
      alice.userId,
      named(userSigning, userSigning.publicKey),
    );
    const { failures } = await sign(alice, {
      [alice.userId]: { [alice.deviceId]: ownDevice, [master.publicKey]: ownMaster },
      [bob.userId]: { [keyOf(8).publicKey]: bobsMaster },
    });
    expect(failures).to.deep.equal({});
    const seenByBob = await query(bob, alice);
    expect(seenByBob.device_keys[alice.userId][alice.deviceId].signatures).to.deep.equal(ownDevice['signatures']);
    expect(seenByBob.master_keys[alice.userId].signatures).to.deep.equal(ownMaster['signatures']);
    expect((await query(alice, bob)).master_keys[bob.userId].signatures).to.deep.equal(bobsMaster['signatures']);
    expect((await query(bob, bob)).master_keys[bob.userId].signatures).to.equal(undefined);
  });

  it('refuses each signature that is wrong, by an unknown key, or of a changed or unknown key, and accepts the others', async () => {
    await server.must(alice, 'POST', '/keys/upload', { device_keys: deviceKeysOf(alice, device) });
    await server.must(alice, 'POST', PATH, keysOf(alice));
    await server.must(bob, 'POST', PATH, keysOf(bob, keyOf(8)));
    const signer = named(selfSigning, selfSigning.publicKey);
    const good = signJson(deviceKeysOf(alice, device), alice.userId, signer);
    const wrongKey = signJson(deviceKeysOf(alice, device), alice.userId, named(keyOf(6), selfSigning.publicKey));
    const unknownKey = signJson(deviceKeysOf(alice, device), alice.userId, named(keyOf(6), keyOf(6).publicKey));
    const changed = signJson({ ...deviceKeysOf(alice, device), algorithms: [] }, alice.userId, signer);
    const errcode = async (target: string, key: object): Promise<unknown> =>
      (await sign(alice, { [alice.userId]: { [target]: key } })).failures[alice.userId]?.[target]?.errcode;
    expect(await errcode(alice.deviceId, wrongKey)).to.equal('M_INVALID_SIGNATURE');
    expect(await errcode(alice.deviceId, unknownKey)).to.equal('M_INVALID_SIGNATURE');
    expect(await errcode(alice.deviceId, changed)).to.equal('M_INVALID_SIGNATURE');
    expect(await errcode('NONE', good)).to.equal('M_NOT_FOUND');
    const mixed = await sign(alice, { [alice.userId]: { [alice.deviceId]: good, NONE: good } });
    expect(Object.keys(mixed.failures[alice.userId])).to.deep.equal(['NONE']);
    // Only masters of others can be signed, and only by the user-signing key.
    const bobsSelfSigning = signJson(
      crossSigningKeyOf(bob.userId, 'self_signing', selfSigning, keyOf(8)),
      alice.userId,
      named(userSigning, userSigning.publicKey),
    );
    const { failures } = await sign(alice, { [bob.userId]: { [selfSigning.publicKey]: bobsSelfSigning } });
    expect(failures[bob.userId][selfSigning.publicKey].errcode).to.equal('M_NOT_FOUND');
  });

  it('forgets the signatures of a device whose keys change, and of one that is gone', async () => {
    await server.must(alice, 'POST', PATH, keysOf(alice));
    const other = await server.login(alice, 'SAMENAME');
    const signer = named(selfSigning, selfSigning.publicKey);
    await server.must(other, 'POST', '/keys/upload', { device_keys: deviceKeysOf(other, device) });
    await sign(alice, { [alice.userId]: { SAMENAME: signJson(deviceKeysOf(other, device), alice.userId, signer) } });
    await server.must(other, 'POST', '/keys/upload', { device_keys: deviceKeysOf(other, keyOf(5)) });
    const signers = async (): Promise<string[]> =>
      Object.keys((await query(bob, alice)).device_keys[alice.userId].SAMENAME.signatures[alice.userId]);
    expect(await signers()).to.deep.equal(['ed25519:SAMENAME']);
    await sign(alice, { [alice.userId]: { SAMENAME: signJson(deviceKeysOf(other, keyOf(5)), alice.userId, signer) } });
    await server.must(other, 'POST', '/logout', {});
    const again = await server.login(alice, 'SAMENAME');
    await server.must(again, 'POST', '/keys/upload', { device_keys: deviceKeysOf(again, keyOf(5)) });
    expect(await signers()).to.deep.equal(['ed25519:SAMENAME']);
  });
});
