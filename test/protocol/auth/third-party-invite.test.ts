import { expect } from 'chai';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { signingKeyFromSeed } from '#src/protocol/signing/signing-key.ts';
import { ALL_VERSIONS, KEY } from '../events/event-cases.ts';
import { ALICE, BOB, CAROL, CREATOR, Room } from './room.ts';

for (const version of ALL_VERSIONS) {
  describe(`third-party invites in v${version.id}`, () => {
    const otherKey = signingKeyFromSeed('0', new Uint8Array(32));
    const signed = signJson({ mxid: BOB, token: 'tok' }, 'identity.example', KEY);
    const room = (content: JsonObject, changes: { sender?: string; bob?: string } = {}): Room =>
      new Room(version, {
        members: { [ALICE]: 'join', [BOB]: changes.bob ?? 'leave' },
        more: [{ type: 'm.room.third_party_invite', sender: changes.sender ?? ALICE, stateKey: 'tok', content }],
      });
    const invite = (target: Room, object: JsonObject[string], to = BOB): boolean =>
      target.member(ALICE, to, 'invite', { third_party_invite: { display_name: 'b', signed: object } });

    it('allows what any of the public keys signed', () => {
      expect(invite(room({ public_key: KEY.publicKey }), signed)).to.equal(true);
      expect(invite(room({ public_key: KEY.publicKey.replaceAll('+', '-').replaceAll('/', '_') }), signed)).to.equal(
        true,
      );
      expect(
        invite(
          room({
            public_key: otherKey.publicKey,
            public_keys: [{ public_key: 'nonsense' }, { public_key: KEY.publicKey }],
          }),
          signed,
        ),
      ).to.equal(true);
    });
    it('rejects what none of them signed', () => {
      expect(invite(room({ public_key: otherKey.publicKey }), signed)).to.equal(false);
      expect(invite(room({}), signed)).to.equal(false);
      expect(invite(room({ public_keys: 'x', public_key: 1 }), signed)).to.equal(false);
      expect(invite(room({ public_key: KEY.publicKey }), { ...signed, extra: 1 })).to.equal(false);
      expect(invite(room({ public_key: KEY.publicKey }), { mxid: BOB, token: 'tok' })).to.equal(false);
    });
    it('rejects it for other users, tokens and inviters, the banned, and without signed', () => {
      const good = { public_key: KEY.publicKey };
      expect(invite(room(good), signed, CAROL)).to.equal(false);
      expect(invite(room(good), signJson({ mxid: BOB, token: 'other' }, 'i', KEY))).to.equal(false);
      expect(invite(room(good), signJson({ mxid: BOB }, 'i', KEY))).to.equal(false);
      expect(invite(room(good), signJson({ token: 'tok' }, 'i', KEY))).to.equal(false);
      expect(invite(room(good, { sender: CREATOR }), signed)).to.equal(false);
      expect(invite(room(good, { bob: 'ban' }), signed)).to.equal(false);
      expect(invite(room(good), null)).to.equal(false);
      expect(room(good).member(ALICE, BOB, 'invite', { third_party_invite: 'x' })).to.equal(false);
    });
    it('wants the invite level for m.room.third_party_invite itself', () => {
      const guarded = new Room(version, {
        members: { [ALICE]: 'join', [BOB]: 'join' },
        power: { invite: 50, users: { [ALICE]: 50 } },
      });
      const send = (sender: string): boolean =>
        guarded.allows({ type: 'm.room.third_party_invite', sender, stateKey: 't' });
      expect(send(ALICE)).to.equal(true);
      expect(send(BOB)).to.equal(false);
      expect(
        new Room(version, { members: { [BOB]: 'join' } }).allows({
          type: 'm.room.third_party_invite',
          sender: BOB,
          stateKey: 't',
        }),
      ).to.equal(true);
    });
    it('gives up on an event that is made of signatures', () => {
      const signatures = Object.fromEntries(
        Array.from({ length: 400 }, (_, index) => [`ed25519:${index}`, 'A'.repeat(86)]),
      );
      const flood = {
        mxid: BOB,
        token: 'tok',
        signatures: {
          i: {
            ...signatures,
            'ed25519:last': ((signed['signatures'] as JsonObject)['identity.example'] as JsonObject)['ed25519:1'] ?? '',
          },
        },
      };
      expect(invite(room({ public_key: KEY.publicKey }), flood)).to.equal(false);
    });
  });
}
