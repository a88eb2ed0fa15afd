import { expect } from 'chai';
import fc from 'fast-check';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';
import { changed, changes } from '#test/support/strange-json.ts';

/** EDUs of each type. More by TSUDOI_FUZZ_RUNS, others by TSUDOI_FUZZ_SEED. */
const RUNS = Number(process.env['TSUDOI_FUZZ_RUNS'] ?? 15);
const SEED = Number(process.env['TSUDOI_FUZZ_SEED'] ?? 20_261_130);
const PAT = '@pat:p.test';

describe('EDUs that are strange in any part of them', function () {
  this.timeout(600_000);
  let federation: Federation;
  let server: InProcessServer;
  let p: RemotePartner;
  let roomId: string;
  let said: string;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test'],
      server: { config: { presence: { federate: true } } },
    });
    server = federation.server('a.test');
    p = federation.partner('p.test');
    roomId = await server.room('alice', { preset: 'public_chat' });
    const room = await PartnerRoom.join(server, p, roomId, [PAT]);
    said = await server.say('alice', roomId, 'hello');
    await room.catchUp();
  });
  after(() => federation?.stop());

  const keys = {
    user_id: PAT,
    device_id: 'PHONE',
    algorithms: ['m.olm.v1.curve25519-aes-sha2'],
    keys: { 'ed25519:PHONE': 'a'.repeat(43), 'curve25519:PHONE': 'b'.repeat(43) },
    signatures: { [PAT]: { 'ed25519:PHONE': 'c'.repeat(86) } },
  };
  const crossSigning = (usage: string): JsonObject => ({
    user_id: PAT,
    usage: [usage],
    keys: { [`ed25519:${'k'.repeat(43)}`]: 'k'.repeat(43) },
    signatures: { [PAT]: { 'ed25519:PHONE': 'c'.repeat(86) } },
  });

  let n = 0;
  /** Each type as it should be. */
  const edus: Readonly<Record<string, () => JsonObject>> = {
    'm.typing': () => ({ room_id: roomId, user_id: PAT, typing: true }),
    'm.receipt': () => ({
      [roomId]: { 'm.read': { [PAT]: { event_ids: [said], data: { ts: 1, thread_id: 'main' } } } },
    }),
    'm.presence': () => ({
      push: [{ user_id: PAT, presence: 'online', last_active_ago: 5, currently_active: true, status_msg: 'here' }],
    }),
    'm.device_list_update': () => ({
      user_id: PAT,
      device_id: 'PHONE',
      device_display_name: 'Phone',
      stream_id: (n += 1),
      prev_id: [n - 1],
      deleted: false,
      keys,
    }),
    'm.signing_key_update': () => ({
      user_id: PAT,
      master_key: crossSigning('master'),
      self_signing_key: crossSigning('self_signing'),
    }),
    'm.direct_to_device': () => ({
      sender: PAT,
      type: 'm.room_key_request',
      message_id: `m${(n += 1)}`,
      messages: { '@alice:a.test': { DEVICE: { action: 'request' }, '*': { a: 1 } } },
    }),
  };

  for (const [type, content] of Object.entries(edus))
    it(`are acknowledged, and keep nobody from anything: ${type}`, async () => {
      await server.session('alice');
      await fc.assert(
        fc.asyncProperty(changes, async (strange) => {
          const good: JsonObject = { edu_type: type, content: content() };
          const edu = strange.reduce<JsonValue>((value, one) => changed(value, one), good);
          const { body, status } = await p.transact('a.test', { edus: [edu, good] });
          // What is nested too deep is no body at all.
          const outcome = status === 400 ? body.errcode : status;
          expect([200, 'M_BAD_JSON'], `${JSON.stringify(edu).slice(0, 1_000)}: ${JSON.stringify(body)}`).to.include(
            outcome,
          );
          await server.idle();
          const logged = server.lines.filter(({ level }) => level === 'error');
          expect(
            logged.map(({ fields, message }) => `${message} ${String((fields['err'] as Error | undefined)?.stack)}`),
            JSON.stringify(edu).slice(0, 1_000),
          ).to.deep.equal([]);
        }),
        { numRuns: RUNS, seed: SEED, endOnFailure: true },
      );
      const { body, status } = await server.ask('alice', 'GET', '/sync?timeout=0');
      expect(status, JSON.stringify(body)).to.equal(200);
      await server.must('alice', 'POST', '/keys/query', { device_keys: { [PAT]: [] } });
    });
});
