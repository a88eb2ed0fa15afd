import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { contentHash, signedEventText } from '#src/protocol/events/event-hashes.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { signText } from '#src/protocol/signing/json-signatures.ts';
import { generateSigningKey, type SigningKey } from '#src/protocol/signing/signing-key.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';

const DAY = 24 * 3_600_000;

describe('events of other servers', () => {
  let federation: Federation;
  const old = generateSigningKey((count) => systemRandom.bytes(count));

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test', 'q.test', 'away.servers.test'] });
    const partner = federation.partner('p.test');
    const oldKeys = { [old.keyId]: { key: old.publicKey, expired_ts: federation.clock.now() - DAY } };
    partner.on('GET', '/_matrix/key/v2/server', () => ({ body: partner.publishedKeys({ old_verify_keys: oldKeys }) }));
    federation.path('a.test', 'away.servers.test').cut();
  });
  after(() => federation.stop());

  const keyOf = (serverName: string): SigningKey => federation.partner(serverName).signingKey;

  /** An event, hashed and signed; `changes` are made before, `after` what is changed when that is done. */
  const event = (
    versionId: string,
    changes: JsonObject = {},
    signers: readonly (readonly [string, SigningKey])[] = [['p.test', keyOf('p.test')]],
    after: JsonObject = {},
  ): JsonObject => {
    const version = roomVersion(versionId)!;
    const draft: JsonObject = {
      type: 'm.room.message',
      sender: '@u:p.test',
      room_id: versionId === '12' ? `!${'a'.repeat(43)}` : '!r:p.test',
      content: { body: 'hello' },
      origin_server_ts: federation.clock.now(),
      depth: 5,
      prev_events: [],
      auth_events: [],
      ...(versionId === '1' ? { event_id: '$e:p.test' } : {}),
      ...changes,
    };
    const hashed = { ...draft, hashes: { sha256: contentHash(version, draft) } };
    const text = signedEventText(version, hashed);
    const signatures: Record<string, Record<string, string>> = {};
    for (const [name, key] of signers) (signatures[name] ??= {})[key.keyId] = signText(text, key);
    return { ...hashed, signatures, ...after };
  };
  const verify = async (versionId: string, ...pdus: unknown[]) =>
    federation.server('a.test').services.eventVerifier.verify(roomVersion(versionId)!, pdus);
  const areGood = async (versionId: string, ...pdus: unknown[]): Promise<boolean[]> =>
    (await verify(versionId, ...pdus)).map(({ ok }) => ok);

  for (const versionId of ['1', '3', '6', '11', '12'])
    it(`are good when the sender's server has signed them, in room version ${versionId}`, async () => {
      const good = event(versionId);
      const forged = event(versionId, {}, [['p.test', { ...keyOf('q.test'), keyId: keyOf('p.test').keyId }]]);
      const elsewhere = event(versionId, {}, [['q.test', keyOf('q.test')]]);
      const changed = { ...good, sender: '@v:p.test' };
      expect(await areGood(versionId, good, forged, elsewhere, changed, good)).to.deep.equal([
        true,
        false,
        false,
        false,
        true,
      ]);
    });

  it('are redacted where only the content hash is wrong', async () => {
    const [verdict] = await verify('11', event('11', {}, undefined, { content: { body: 'another' } }));
    expect(verdict?.ok).to.equal(true);
    if (verdict?.ok === true) expect(verdict.event.pdu.content).to.deep.equal({});
    const [whole] = await verify('11', event('11'));
    if (whole?.ok === true && verdict?.ok === true) expect(whole.event.eventId).to.equal(verdict.event.eventId);
  });

  for (const versionId of ['1', '3', '10', '11'])
    it(`are no invites by address without a signature of the inviter's server once they are redacted, in room version ${versionId}`, async () => {
      const signed = { mxid: '@u:a.test', token: 'abc', signatures: { 'id.test': { 'ed25519:1': 'AAAA' } } };
      const content = { membership: 'invite', third_party_invite: { display_name: 'u', signed } };
      const draft = { type: 'm.room.member', sender: '@admin:q.test', state_key: '@u:a.test', content };
      // What is signed and hashed has another display name, which no redacted copy has.
      const forged = event(versionId, draft, undefined, {
        content: { ...content, third_party_invite: { display_name: 'v', signed } },
      });
      const [verdict] = await verify(versionId, forged);
      // Since version 11 what proves the invite survives the redaction.
      const invite = verdict?.ok === true ? verdict.event.pdu.content['third_party_invite'] : undefined;
      expect(verdict?.ok === true && invite === undefined).to.equal(false);
    });

  it('are refused with a reason when they are malformed, and others are judged all the same', async () => {
    const verdicts = await verify('11', null, {}, event('11', { depth: -1 }), event('11', {}, []), event('11'));
    expect(verdicts.map(({ ok }) => ok)).to.deep.equal([false, false, false, false, true]);
    for (const verdict of verdicts) if (!verdict.ok) expect(verdict.reason).to.match(/\S/);
  });

  it('of a time when a key had been retired are refused in the room versions that ask for that', async () => {
    const signed = [['p.test', old]] as const;
    const before = { origin_server_ts: federation.clock.now() - 2 * DAY };
    expect(await areGood('5', event('5', before, signed), event('5', {}, signed))).to.deep.equal([true, false]);
    expect(await areGood('4', event('4', before, signed), event('4', {}, signed))).to.deep.equal([true, true]);
    const later = { origin_server_ts: federation.clock.now() + 8 * DAY };
    expect(await areGood('5', event('5', later))).to.deep.equal([false]);
    expect(await areGood('4', event('4', later))).to.deep.equal([true]);
  });

  it('may have signatures of others, by keys that nobody knows, but no wrong one', async () => {
    const unknown = generateSigningKey((count) => systemRandom.bytes(count));
    const own = ['p.test', keyOf('p.test')] as const;
    const wrong = { ...keyOf('q.test'), keyId: old.keyId };
    expect(
      await areGood(
        '4',
        event('4', {}, [own, ['p.test', unknown]]),
        event('4', {}, [own, ['away.servers.test', unknown]]),
        event('4', {}, [own, ['p.test', wrong]]),
        event('4', { sender: '@u:away.servers.test' }, [['away.servers.test', unknown]]),
      ),
    ).to.deep.equal([true, true, false, false]);
  });

  it('are signed by the server in their id too, by who lets somebody in, and invites by address by nobody in particular', async () => {
    const p = ['p.test', keyOf('p.test')] as const;
    const q = ['q.test', keyOf('q.test')] as const;
    const ofQ = { event_id: '$e:q.test' };
    expect(await areGood('1', event('1', ofQ, [p]), event('1', ofQ, [p, q]))).to.deep.equal([false, true]);
    const join = {
      type: 'm.room.member',
      state_key: '@u:p.test',
      content: { membership: 'join', join_authorised_via_users_server: '@mod:q.test' },
    };
    expect(await areGood('10', event('10', join, [p]), event('10', join, [p, q]))).to.deep.equal([false, true]);
    expect(await areGood('7', event('7', join, [p]))).to.deep.equal([true]);
    const invite = {
      type: 'm.room.member',
      state_key: '@x:q.test',
      content: { membership: 'invite', third_party_invite: { signed: { mxid: '@x:q.test', token: 't' } } },
    };
    expect(await areGood('10', event('10', invite, [q]))).to.deep.equal([true]);
  });

  it('come by the hundred, and are verified together, with each key asked for once', async () => {
    const asked = federation.partner('q.test').asked.length;
    const pdus = Array.from({ length: 300 }, (_, n) =>
      event(
        '11',
        { sender: '@u:q.test', content: { n } },
        [['q.test', keyOf('q.test')]],
        n % 3 === 0 ? { depth: 6 } : {},
      ),
    );
    const verdicts = await areGood('11', ...pdus);
    expect(verdicts).to.deep.equal(pdus.map((_, n) => n % 3 !== 0));
    expect(federation.partner('q.test').asked.length - asked).to.be.at.most(1);
  });
});
