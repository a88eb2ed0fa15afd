import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { signingKeyFromSeed } from '#src/protocol/signing/signing-key.ts';
import { Crowd } from '../load/people.ts';
import { inParallel } from '../load/socket.ts';
import { higher, lower, percentile, type Workload } from '../workload.ts';

const DEVICES = 500;
const RECIPIENTS = 200;
/** One-time keys of each device. */
const KEYS = 40;
const CLIENT = '/_matrix/client/v3';

interface Device {
  readonly userId: string;
  readonly deviceId: string;
  readonly token: string;
}

/** What encrypted rooms cost: keys that are asked for and claimed, and messages for devices. */
export const encryption: Workload = {
  id: 'encryption',
  title: `Keys of ${DEVICES} devices`,
  limitSeconds: 180,
  figures: [
    { id: 'encryption.query', title: `keys/query of ${DEVICES} devices, p50`, unit: 'ms', goal: lower(50, 15) },
    { id: 'encryption.claim', title: 'key claims, 32 in flight', unit: '/s', goal: higher(1_000, 2_000) },
    { id: 'encryption.to-device', title: `to-device to ${RECIPIENTS} devices, p50`, unit: 'ms', goal: lower(30, 10) },
  ],
  async run({ server, meter, pick, progress, report }) {
    const crowd = new Crowd(server.endpoint, 32);
    try {
      const key = signingKeyFromSeed('x', Buffer.alloc(32, 7));
      const devices: Device[] = [];
      await inParallel(DEVICES, 16, async () => {
        const { userId, token } = await crowd.register();
        const { device_id: deviceId } = await crowd.json<{ device_id: string }>(
          'GET',
          `${CLIENT}/account/whoami`,
          token,
        );
        const name = `ed25519:${deviceId}`;
        const identity = {
          user_id: userId,
          device_id: deviceId,
          algorithms: ['m.olm.v1.curve25519-aes-sha2', 'm.megolm.v1.aes-sha2'],
          keys: { [`curve25519:${deviceId}`]: 'q'.repeat(43), [name]: key.publicKey },
        };
        const oneTime = Object.fromEntries(
          Array.from({ length: KEYS }, (_, n) => [
            `signed_curve25519:AAAA${n}`,
            { key: 'k'.repeat(43), signatures: { [userId]: { [name]: 's'.repeat(86) } } },
          ]),
        );
        await crowd.json('POST', `${CLIENT}/keys/upload`, token, {
          device_keys: signJson(identity, userId, { ...key, keyId: name }),
          one_time_keys: oneTime,
        });
        devices.push({ userId, deviceId, token });
        if (devices.length % 100 === 0) progress(`${devices.length} of ${DEVICES} devices`);
      });
      const { token } = devices[0]!;

      const query = { device_keys: Object.fromEntries(devices.map(({ userId }) => [userId, []])) };
      const queries: number[] = [];
      const ask = async (): Promise<void> => {
        const start = performance.now();
        const { device_keys: found } = await crowd.json<{ device_keys: object }>(
          'POST',
          `${CLIENT}/keys/query`,
          token,
          query,
        );
        queries.push(performance.now() - start);
        if (Object.keys(found).length !== DEVICES) throw new Error('keys are missing');
      };
      for (let i = 0; i < 3; i += 1) await ask();
      queries.length = 0;
      const { cost } = await meter.during('keys-query', async () => {
        for (let i = 0; i < pick(30, 10); i += 1) await ask();
        return { operations: queries.length };
      });
      report('encryption.query', percentile(queries, 0.5), cost);

      const claims = DEVICES * pick(20, 6);
      let claimed = 0;
      const { cost: claimCost } = await meter.during('keys-claim', async () => {
        await inParallel(claims, 32, async (index) => {
          const { userId, deviceId } = devices[index % DEVICES]!;
          const { one_time_keys: keys } = await crowd.json<{ one_time_keys: Record<string, object> }>(
            'POST',
            `${CLIENT}/keys/claim`,
            token,
            { one_time_keys: { [userId]: { [deviceId]: 'signed_curve25519' } } },
          );
          if (userId in keys) claimed += 1;
        });
        return { operations: claims };
      });
      if (claimed !== claims) throw new Error(`${claimed} of ${claims} keys were claimed`);
      report('encryption.claim', claims / claimCost.seconds, claimCost);

      const messages = {
        messages: Object.fromEntries(
          devices
            .slice(0, RECIPIENTS)
            .map(({ userId, deviceId }) => [
              userId,
              { [deviceId]: { algorithm: 'm.olm.v1.curve25519-aes-sha2', ciphertext: 'c'.repeat(600) } },
            ]),
        ),
      };
      const sent: number[] = [];
      const { cost: sendCost } = await meter.during('to-device', async () => {
        for (let i = 0; i < pick(40, 15); i += 1) {
          const start = performance.now();
          await crowd.json('PUT', `${CLIENT}/sendToDevice/m.room.encrypted/bench-${i}`, token, messages);
          sent.push(performance.now() - start);
        }
        return { operations: sent.length };
      });
      report('encryption.to-device', percentile(sent, 0.5), sendCost);
    } finally {
      crowd.close();
    }
  },
};
