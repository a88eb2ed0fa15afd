import { expect } from 'chai';
import fc from 'fast-check';
import {
  CryptoEvent,
  type GeneratedSecretStorageKey,
  VerificationPhase,
  VerifierEvent,
} from 'matrix-js-sdk/lib/crypto-api/index.js';
import type { MatrixEvent } from 'matrix-js-sdk';
import { ChildServer } from '#test/support/child-server.ts';
import { must } from '#test/support/http.ts';
import { PASSWORD, SdkClient } from '#test/support/sdk-client.ts';
import { until } from '#test/support/until.ts';

/** Random histories; more by TSUDOI_CRYPTO_RUNS. */
const RUNS = Number(process.env['TSUDOI_CRYPTO_RUNS'] ?? 3);
const ENCRYPTION = { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } };
describe('encryption between js-sdk clients', function () {
  this.timeout(120_000 + RUNS * 30_000);
  let server: ChildServer;
  const clients: SdkClient[] = [];

  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.stop();
  });
  after(() => server?.dispose());

  /** Secrets that a client unlocked, as a person would type them in. */
  const secretKeys = new Map<string, [string, Uint8Array<ArrayBuffer>]>();
  const started = async (make: (options: object) => Promise<SdkClient>): Promise<SdkClient> => {
    const owner: { client?: SdkClient } = {};
    const cryptoCallbacks = {
      getSecretStorageKey: () => Promise.resolve(secretKeys.get(owner.client?.userId ?? '') ?? null),
      cacheSecretStorageKey: (keyId: string, _info: unknown, key: Uint8Array<ArrayBuffer>) => {
        secretKeys.set(owner.client?.userId ?? '', [keyId, key]);
      },
    };
    const client = await make({ cryptoCallbacks });
    owner.client = client;
    clients.push(client);
    await client.client.initRustCrypto({ useIndexedDB: false });
    return client.start();
  };
  const registered = (name: string): Promise<SdkClient> =>
    started((options) => SdkClient.register(server.url, name, options));
  const loggedIn = (name: string): Promise<SdkClient> =>
    started((options) => SdkClient.logIn(server.url, name, options));
  const cryptoOf = ({ client }: SdkClient) => {
    const crypto = client.getCrypto();
    if (crypto === undefined) throw new Error('the client has no crypto');
    return crypto;
  };
  /** Makes a user's cross-signing keys, secret storage and key backup. */
  const bootstrap = async (user: SdkClient): Promise<void> => {
    const crypto = cryptoOf(user);
    await crypto.bootstrapCrossSigning({
      authUploadDeviceSigningKeys: async (makeRequest) => {
        await makeRequest({
          type: 'm.login.password',
          identifier: { type: 'm.id.user', user: user.userId },
          password: PASSWORD,
        } as never);
      },
    });
    const key: GeneratedSecretStorageKey = await crypto.createRecoveryKeyFromPassphrase();
    await crypto.bootstrapSecretStorage({
      createSecretStorageKey: () => Promise.resolve(key),
      setupNewSecretStorage: true,
      setupNewKeyBackup: true,
    });
  };
  /** The text of an event as the client shows it, once it is decrypted. */
  const shown = async (reader: SdkClient, roomId: string, eventId: string): Promise<string> => {
    const event = await reader.until<MatrixEvent>(`event ${eventId}`, () =>
      reader.client.getRoom(roomId)?.findEventById(eventId),
    );
    await reader.until(
      `the text of ${eventId}`,
      () => event.getType() === 'm.room.message' && !event.isDecryptionFailure(),
    );
    expect(event.isEncrypted()).to.equal(true);
    return String(event.getContent()['body']);
  };
  const say = async ({ client }: SdkClient, roomId: string, text: string): Promise<string> =>
    (await client.sendTextMessage(roomId, text)).event_id;
  const roomOf = async (creator: SdkClient, ...others: readonly SdkClient[]): Promise<string> => {
    const { room_id: roomId } = await creator.client.createRoom({
      initial_state: [ENCRYPTION],
      invite: others.map(({ userId }) => userId),
    });
    for (const other of others) {
      await other.room(roomId);
      await other.client.joinRoom(roomId);
      await creator.until(`${other.userId} is in`, () => creator.membership(roomId, other.userId) === 'join');
    }
    for (const member of [creator, ...others])
      await until('it is encrypted', () => cryptoOf(member).isEncryptionEnabledInRoom(roomId));
    return roomId;
  };

  it('lets those in the room read, in both directions and on every device, also when the server is killed in between', async () => {
    const alice = await registered('enc-alice');
    const bob = await registered('enc-bob');
    const phone = await loggedIn('enc-bob');
    const roomId = await roomOf(alice, bob);
    const first = await say(alice, roomId, '秘密です');
    expect(await shown(bob, roomId, first)).to.equal('秘密です');
    expect(await shown(phone, roomId, first)).to.equal('秘密です');
    const second = await say(bob, roomId, 'はい');
    expect(await shown(alice, roomId, second)).to.equal('はい');
    await server.restart('SIGKILL');
    await Promise.all([alice, bob, phone].map((client) => client.reconnect()));
    const third = await say(alice, roomId, 'after the kill');
    expect(await shown(bob, roomId, third)).to.equal('after the kill');
    expect(await shown(phone, roomId, third)).to.equal('after the kill');
  });

  it('keeps what is said from who has left', async () => {
    const alice = await registered('enc-carol');
    const bob = await registered('enc-dave');
    const roomId = await roomOf(alice, bob);
    expect(await shown(bob, roomId, await say(alice, roomId, 'before'))).to.equal('before');
    await bob.client.leave(roomId);
    await alice.until('bob has left', () => alice.membership(roomId, bob.userId) === 'leave');
    const after = await say(alice, roomId, 'after');
    await alice.sees(roomId, after);
    expect(bob.client.getRoom(roomId)?.findEventById(after)).to.equal(undefined);
  });

  it('gives a third device the keys of old messages out of the backup, once its user unlocks it', async () => {
    const alice = await registered('enc-erin');
    const bob = await registered('enc-frank');
    await bootstrap(alice);
    const roomId = await roomOf(alice, bob);
    const old = await say(bob, roomId, '昔の話');
    expect(await shown(alice, roomId, old)).to.equal('昔の話');
    const { access_token: token } = alice.login;
    await until('the key is in the backup', async () => {
      const { count } = await must(server.url, 'GET', '/room_keys/version', { token });
      return count > 0;
    });
    alice.stop();
    const laptop = await loggedIn('enc-erin');
    const crypto = cryptoOf(laptop);
    expect(await crypto.userHasCrossSigningKeys(laptop.userId, true)).to.equal(true);
    await crypto.bootstrapCrossSigning({});
    await crypto.loadSessionBackupPrivateKeyFromSecretStorage();
    const { imported } = await crypto.restoreKeyBackup();
    expect(imported).to.be.greaterThan(0);
    expect(await shown(laptop, roomId, old)).to.equal('昔の話');
    expect(
      (await crypto.getDeviceVerificationStatus(laptop.userId, laptop.login.device_id))?.crossSigningVerified,
    ).to.equal(true);
  });

  it('gives a new device what was said while all others of its user were off, by way of a dehydrated one', async () => {
    const alice = await registered('enc-iris');
    const bob = await registered('enc-jack');
    await bootstrap(alice);
    expect(await cryptoOf(alice).isDehydrationSupported()).to.equal(true);
    await cryptoOf(alice).startDehydration();
    const roomId = await roomOf(alice, bob);
    expect(await shown(alice, roomId, await say(bob, roomId, 'before'))).to.equal('before');
    alice.stop();
    // A session whose keys nobody but the dehydrated device is given.
    await cryptoOf(bob).forceDiscardSession(roomId);
    const away = await say(bob, roomId, '留守の間に');
    await server.restart('SIGKILL');
    await bob.reconnect();
    const laptop = await loggedIn('enc-iris');
    expect(await cryptoOf(laptop).userHasCrossSigningKeys(laptop.userId, true)).to.equal(true);
    await cryptoOf(laptop).bootstrapCrossSigning({});
    await cryptoOf(laptop).startDehydration();
    expect(await shown(laptop, roomId, away)).to.equal('留守の間に');
  });

  it('shows a user who is invited with the history what was said before', async () => {
    const alice = await registered('enc-kate');
    const bob = await registered('enc-liam');
    await bootstrap(alice);
    await bootstrap(bob);
    const roomId = await roomOf(alice);
    const old = await say(alice, roomId, '招待の前に');
    expect(await shown(alice, roomId, old)).to.equal('招待の前に');
    await alice.client.invite(roomId, bob.userId);
    await bob.room(roomId);
    await bob.client.joinRoom(roomId);
    const room = await bob.room(roomId);
    await bob.until('he is in', () => bob.membership(roomId, bob.userId) === 'join');
    if (room.findEventById(old) === undefined) await bob.client.scrollback(room, 50);
    expect(await shown(bob, roomId, old)).to.equal('招待の前に');
  });

  it('leaves nothing that cannot be read, whatever clients and the server do in between', async () => {
    const alice = await registered('enc-mary');
    const bob = await registered('enc-nick');
    const phone = await loggedIn('enc-nick');
    const roomId = await roomOf(alice, bob);
    const act = fc.constantFrom('alice', 'bob', 'phone', 'kill', 'new session', 'rename');
    let texts = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(act, { minLength: 2, maxLength: 6 }), async (acts) => {
        const speakers = { alice, bob, phone };
        const said: [string, string][] = [];
        for (const one of acts) {
          if (one === 'kill') {
            await server.restart('SIGKILL');
            await Promise.all([alice, bob, phone].map((client) => client.reconnect()));
          } else if (one === 'new session') await cryptoOf(alice).forceDiscardSession(roomId);
          else if (one === 'rename') await bob.client.setDisplayName(`nick ${(texts += 1)}`);
          else {
            const text = `${one} ${(texts += 1)}`;
            said.push([await say(speakers[one], roomId, text), text]);
          }
        }
        for (const reader of [alice, bob, phone])
          for (const [eventId, text] of said) expect(await shown(reader, roomId, eventId)).to.equal(text);
      }),
      { numRuns: RUNS, endOnFailure: true },
    );
  });

  it('lets two users verify each other by emoji', async () => {
    const alice = await registered('enc-gina');
    const bob = await registered('enc-hugo');
    await bootstrap(alice);
    await bootstrap(bob);
    const roomId = await roomOf(alice, bob);
    // Each knows the keys of the other.
    expect(await shown(bob, roomId, await say(alice, roomId, 'hello'))).to.equal('hello');
    expect(await shown(alice, roomId, await say(bob, roomId, 'hello'))).to.equal('hello');
    const asked = new Promise<void>((resolve) => {
      bob.client.on(CryptoEvent.VerificationRequestReceived, (request) => {
        void request.accept().then(() => resolve());
      });
    });
    const request = await cryptoOf(alice).requestVerificationDM(bob.userId, roomId);
    await asked;
    await alice.until('bob is ready', () => request.phase === VerificationPhase.Ready);
    const theirs = cryptoOf(bob).findVerificationRequestDMInProgress(roomId, alice.userId);
    if (theirs === undefined) throw new Error('bob has no request');
    const verifier = await request.startVerification('m.sas.v1');
    const answering = await bob.until('it has begun', () => theirs.verifier);
    const seen: string[] = [];
    const confirm = async (one: typeof verifier): Promise<void> =>
      new Promise((resolve, reject) => {
        one.on(VerifierEvent.ShowSas, (sas) => {
          seen.push((sas.sas.emoji ?? []).map(([emoji]) => emoji).join(''));
          sas.confirm().then(resolve, reject);
        });
      });
    await Promise.all([confirm(verifier), confirm(answering), verifier.verify(), answering.verify()]);
    expect(seen).to.have.length(2);
    expect(seen[0]).to.equal(seen[1]);
    await alice.until('it is done', () => request.phase === VerificationPhase.Done);
    for (const [reader, other] of [
      [alice, bob],
      [bob, alice],
    ] as const) {
      await until(`${reader.userId} trusts ${other.userId}`, async () =>
        (await cryptoOf(reader).getUserVerificationStatus(other.userId)).isVerified(),
      );
    }
  });
});
