import { expect } from 'chai';
import type { MatrixEvent } from 'matrix-js-sdk';
import { must } from '#test/support/http.ts';
import { PASSWORD, SdkClient } from '#test/support/sdk-client.ts';
import { until } from '#test/support/until.ts';
import { inBothDirections, type Partner, type Rig } from './support/rig.ts';

const ENCRYPTION = { type: 'm.room.encryption', state_key: '', content: { algorithm: 'm.megolm.v1.aes-sha2' } };

export function encryption(rig: () => Rig): void {
  describe('encrypted conversations between matrix-js-sdk clients on both servers', function () {
    this.timeout(90_000);
    const clients: SdkClient[] = [];
    let names = 0;

    afterEach(() => {
      for (const client of clients.splice(0)) client.stop();
    });

    const started = async (making: Promise<SdkClient>): Promise<SdkClient> => {
      const client = await making;
      clients.push(client);
      await client.client.initRustCrypto({ useIndexedDB: false });
      return client.start();
    };
    const register = (partner: Partner, name: string): Promise<SdkClient> =>
      started(SdkClient.register(partner.url, `sdk-${name}-${(names += 1)}`));
    const cryptoOf = ({ client }: SdkClient) => client.getCrypto()!;
    const say = async ({ client }: SdkClient, roomId: string, text: string): Promise<string> =>
      (await client.sendTextMessage(roomId, text)).event_id;
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
    /** The session with whose key an event is encrypted. */
    const sessionOf = ({ client }: SdkClient, roomId: string, eventId: string): unknown => {
      const session: unknown = client.getRoom(roomId)?.findEventById(eventId)?.getWireContent()['session_id'];
      expect(session).to.be.a('string');
      return session;
    };
    const meet = async (creator: SdkClient, other: SdkClient): Promise<string> => {
      const { room_id: roomId } = await creator.client.createRoom({
        initial_state: [ENCRYPTION],
        invite: [other.userId],
      });
      await other.room(roomId);
      await other.client.joinRoom(roomId);
      await creator.until(`${other.userId} is in`, () => creator.membership(roomId, other.userId) === 'join');
      await other.until(`${creator.userId} is seen`, () => other.membership(roomId, creator.userId) === 'join');
      for (const member of [creator, other])
        await until('it is encrypted', () => cryptoOf(member).isEncryptionEnabledInRoom(roomId));
      return roomId;
    };

    inBothDirections((host, guest, title) => {
      it(`both read each other in a room ${title}, a device that is added reads on, and one that is deleted has no key of what comes then`, async () => {
        const alice = await register(rig()[host], 'alice');
        const bob = await register(rig()[guest], 'bob');
        const roomId = await meet(alice, bob);
        expect(await shown(bob, roomId, await say(alice, roomId, '秘密です'))).to.equal('秘密です');
        expect(await shown(alice, roomId, await say(bob, roomId, 'はい'))).to.equal('はい');

        const localpart = bob.userId.slice(1, bob.userId.indexOf(':'));
        const phone = await started(SdkClient.logIn(rig()[guest].url, localpart));
        await until('the new device is known', async () =>
          (await cryptoOf(alice).getUserDeviceInfo([bob.userId])).get(bob.userId)?.has(phone.login.device_id),
        );
        const shared = await say(alice, roomId, 'to both of you');
        expect(await shown(phone, roomId, shared)).to.equal('to both of you');
        expect(await shown(bob, roomId, shared)).to.equal('to both of you');

        phone.stop();
        const path = `/devices/${phone.login.device_id}`;
        const auth = {
          type: 'm.login.password',
          identifier: { type: 'm.id.user', user: bob.userId },
          password: PASSWORD,
        };
        await must(rig()[guest].url, 'DELETE', path, { token: bob.login.access_token, body: { auth } });
        await until('the device is gone', async () => {
          const devices = (await cryptoOf(alice).getUserDeviceInfo([bob.userId])).get(bob.userId);
          return devices !== undefined && !devices.has(phone.login.device_id);
        });
        const last = await say(alice, roomId, 'not to the phone');
        expect(await shown(bob, roomId, last)).to.equal('not to the phone');
        // The phone has the session of what came before.
        expect(sessionOf(bob, roomId, last)).not.to.equal(sessionOf(bob, roomId, shared));
      });

      it(`cross-signing keys of a user are seen by somebody else in a room ${title}, also when they are replaced`, async () => {
        const alice = await register(rig()[host], 'alice');
        const bob = await register(rig()[guest], 'bob');
        const roomId = await meet(alice, bob);
        await say(alice, roomId, 'so that keys are asked for');
        const bootstrap = (user: SdkClient, isNew: boolean): Promise<void> =>
          cryptoOf(user).bootstrapCrossSigning({
            setupNewCrossSigning: isNew,
            authUploadDeviceSigningKeys: async (makeRequest) => {
              await makeRequest({
                type: 'm.login.password',
                identifier: { type: 'm.id.user', user: user.userId },
                password: PASSWORD,
              } as never);
            },
          });
        const masterKey = async (asker: SdkClient, user: SdkClient): Promise<string | undefined> => {
          const body = { device_keys: { [user.userId]: [] } };
          const answer = await must(
            asker.login === alice.login ? rig()[host].url : rig()[guest].url,
            'POST',
            '/keys/query',
            {
              token: asker.login.access_token,
              body,
            },
          );
          return Object.values<string>(answer.master_keys?.[user.userId]?.keys ?? {})[0];
        };
        for (const [user, other] of [
          [alice, bob],
          [bob, alice],
        ] as const) {
          let last: string | undefined;
          for (const isNew of [false, true]) {
            await bootstrap(user, isNew);
            const own = await masterKey(user, user);
            expect(own).to.be.a('string').and.not.equal(last);
            await until('the master key is seen', async () => (await masterKey(other, user)) === own);
            await other.until('the application was told', () => {
              void cryptoOf(other).userHasCrossSigningKeys(user.userId, true);
              return other.syncs.some(({ body }) => body.device_lists?.changed?.includes(user.userId));
            });
            last = own;
          }
        }
      });
    });
  });
}
