import { expect } from 'chai';
import { authEventKeysFor, checkAuthEventsSelection } from '#src/protocol/auth/auth-events.ts';
import { redactionApplies } from '#src/protocol/auth/redactions.ts';
import { requiredSignatures } from '#src/protocol/auth/required-signatures.ts';
import { parsePowerLevels } from '#src/protocol/auth/power-levels.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { signJson } from '#src/protocol/signing/json-signatures.ts';
import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import { signingKeyFromSeed } from '#src/protocol/signing/signing-key.ts';
import { ALL_VERSIONS, KEY, rules } from '../events/event-cases.ts';
import { ALICE, BOB, CAROL, CREATOR, Room } from './room.ts';
import type { Draft } from './room.ts';

for (const version of ALL_VERSIONS) {
  const number = Number(version.id);

  describe(`authorization in v${version.id}`, () => {
    describe('m.room.create', () => {
      const create = (changes: Partial<Draft> = {}): boolean =>
        new Room(version).allows({
          type: 'm.room.create',
          sender: CREATOR,
          stateKey: '',
          content: { creator: CREATOR },
          ...(number >= 12 ? { roomId: null } : {}),
          ...changes,
        });

      it('allows one at the beginning only', () => {
        expect(create()).to.equal(true);
        expect(create({ prevEvents: ['$x:a'] })).to.equal(false);
      });
      it('wants the domain of the sender in the room id until v11, and no room id since v12', () => {
        expect(create({ roomId: '!room:a' })).to.equal(number <= 11);
        expect(create({ roomId: '!room:b' })).to.equal(false);
        expect(create({ roomId: null })).to.equal(number >= 12);
      });
      it('rejects room versions that nobody knows', () => {
        expect(create({ content: { creator: CREATOR, room_version: version.id } })).to.equal(true);
        for (const unknown of ['99', 1, null, ''])
          expect(create({ content: { creator: CREATOR, room_version: unknown } })).to.equal(false);
      });
      it('wants content.creator until v10', () => expect(create({ content: {} })).to.equal(number >= 11));
      it('wants additional_creators to be user ids since v12', () => {
        const additional = (value: JsonObject[string]): boolean =>
          create({ content: { creator: CREATOR, additional_creators: value } });
        expect(additional([])).to.equal(true);
        expect(additional([ALICE, BOB])).to.equal(true);
        for (const wrong of ['@a:b', [1], ['alice'], ['@a:b c'], {}, null, [`@${'a'.repeat(255)}:b`]])
          expect(additional(wrong)).to.equal(number < 12);
      });
    });

    it('rejects everything in a room without m.room.create', () => {
      const room = new Room(version);
      const event = room.event({ type: 'm.room.message', sender: CREATOR });
      expect(checkAuth(version, event, () => undefined)).to.have.property('ok', false);
    });

    it('ties events to the create event by the room id since v12', () => {
      const room = new Room(version);
      expect(room.allows({ type: 'x', sender: CREATOR })).to.equal(true);
      expect(room.allows({ type: 'x', sender: CREATOR, roomId: '!other:a' })).to.equal(number < 12);
      const rejected = { ...room.create, rejected: true };
      const state = (type: string, key: string): IdentifiedPdu | undefined =>
        type === 'm.room.create' ? rejected : room.state(type, key);
      expect(checkAuth(version, room.event({ type: 'x', sender: CREATOR }), state).ok).to.equal(number < 12);
    });

    it('wants the sender in the room', () => {
      for (const membership of ['leave', 'invite', 'knock', 'ban']) {
        expect(
          new Room(version, { members: { [BOB]: membership } }).allows({ type: 'm.room.message', sender: BOB }),
        ).to.equal(false);
      }
      expect(
        new Room(version, { members: { [BOB]: 'join' } }).allows({ type: 'm.room.message', sender: BOB }),
      ).to.equal(true);
      expect(new Room(version).allows({ type: 'm.room.message', sender: BOB })).to.equal(false);
    });

    it('holds message and state events to their levels', () => {
      const room = new Room(version, {
        members: { [ALICE]: 'join', [BOB]: 'join' },
        power: { users: { [ALICE]: 50 }, events: { 'x.high': 51, 'x.low': 0 }, events_default: 1 },
      });
      expect(room.allows({ type: 'm.room.message', sender: BOB })).to.equal(false);
      expect(room.allows({ type: 'm.room.message', sender: ALICE })).to.equal(true);
      expect(room.allows({ type: 'x.low', sender: BOB })).to.equal(true);
      expect(room.allows({ type: 'x.low', sender: BOB, stateKey: '' })).to.equal(true);
      expect(room.allows({ type: 'm.room.topic', sender: BOB, stateKey: '' })).to.equal(false);
      expect(room.allows({ type: 'm.room.topic', sender: ALICE, stateKey: '' })).to.equal(true);
      expect(room.allows({ type: 'x.high', sender: ALICE })).to.equal(false);
    });

    it('infers levels where there are no power levels', () => {
      const room = new Room(version, { members: { [BOB]: 'join' } });
      expect(room.allows({ type: 'm.room.topic', sender: CREATOR, stateKey: '' })).to.equal(true);
      expect(room.allows({ type: 'm.room.topic', sender: BOB, stateKey: '' })).to.equal(false);
      expect(room.allows({ type: 'm.room.message', sender: BOB })).to.equal(true);
    });

    it("keeps state keys that are another user's", () => {
      const room = new Room(version, { members: { [ALICE]: 'join' }, power: { users: { [ALICE]: 50 } } });
      expect(room.allows({ type: 'x', sender: ALICE, stateKey: ALICE })).to.equal(true);
      expect(room.allows({ type: 'x', sender: ALICE, stateKey: BOB })).to.equal(false);
      expect(room.allows({ type: 'x', sender: ALICE, stateKey: '@' })).to.equal(false);
      expect(room.allows({ type: 'x', sender: ALICE, stateKey: 'anything' })).to.equal(true);
    });

    it('lets servers set their aliases from outside until v5', () => {
      const room = new Room(version);
      const aliases = (sender: string, stateKey?: string): boolean =>
        room.allows({ type: 'm.room.aliases', sender, ...(stateKey === undefined ? {} : { stateKey }) });
      expect(aliases(BOB, 'b')).to.equal(number <= 5);
      expect(aliases(BOB, 'a')).to.equal(false);
      expect(aliases(CREATOR, 'a')).to.equal(true);
      expect(aliases(CREATOR, 'b')).to.equal(number >= 6);
      expect(aliases(CREATOR)).to.equal(number >= 6);
    });

    it('asks for the redact level or the same domain of event ids in v1 and v2', () => {
      const room = new Room(version, {
        members: { [ALICE]: 'join', [BOB]: 'join' },
        power: { users: { [ALICE]: 50 } },
      });
      const redacts = (sender: string, target: string): boolean =>
        room.allows({
          type: 'm.room.redaction',
          sender,
          redacts: target,
          eventId: '$redaction:b',
          content: { redacts: target },
        });
      expect(redacts(ALICE, '$x:z')).to.equal(true);
      expect(redacts(BOB, '$x:b')).to.equal(true);
      expect(redacts(BOB, '$x:z')).to.equal(number >= 3);
    });

    it('applies redactions by level or by domain of the senders since v3', () => {
      const room = new Room(version);
      const levels = parsePowerLevels(version, { users: { [ALICE]: 50 } }, room.create.pdu);
      const applies = (sender: string, author: string, target = '$m:a', roomId = room.roomId): boolean => {
        const message = room.event({ type: 'm.room.message', sender: author, eventId: '$m:a', roomId });
        const redaction = room.event({
          type: 'm.room.redaction',
          sender,
          eventId: '$r:a',
          ...(number < 11 ? { redacts: target } : { content: { redacts: target } }),
        });
        return redactionApplies(version, redaction, message, levels);
      };
      expect(applies(ALICE, BOB)).to.equal(true);
      expect(applies(BOB, '@other:b')).to.equal(true);
      expect(applies(BOB, ALICE)).to.equal(number < 3);
      expect(applies(ALICE, BOB, '$other:a')).to.equal(false);
      expect(applies(ALICE, BOB, '$m:a', '!elsewhere:a')).to.equal(false);
    });

    describe('third-party invites', () => {
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
              'ed25519:last':
                ((signed['signatures'] as JsonObject)['identity.example'] as JsonObject)['ed25519:1'] ?? '',
            },
          },
        };
        expect(invite(room({ public_key: KEY.publicKey }), flood)).to.equal(false);
      });
    });

    describe('auth events', () => {
      const room = new Room(version, {
        members: { [ALICE]: 'join', [BOB]: 'invite' },
        joinRule: 'invite',
        power: {},
        more: [{ type: 'm.room.third_party_invite', sender: ALICE, stateKey: 'tok' }],
      });
      const keys = (draft: Draft): string[] =>
        authEventKeysFor(version, room.event(draft).pdu).map(([type, key]) => `${type.slice(7)}|${key}`);
      const base = number < 12 ? ['create|', 'power_levels|'] : ['power_levels|'];

      it('are none for m.room.create', () =>
        expect(keys({ type: 'm.room.create', sender: CREATOR, stateKey: '' })).to.deep.equal([]));
      it('are create (until v11), power levels and the sender for a message', () => {
        expect(keys({ type: 'm.room.message', sender: ALICE })).to.deep.equal([...base, `member|${ALICE}`]);
      });
      it('have the join rules for join, invite and knock, and the target', () => {
        const member = (membership: string, stateKey: string, content = {}): string[] =>
          keys({ type: 'm.room.member', sender: ALICE, stateKey, content: { membership, ...content } });
        expect(member('join', ALICE)).to.deep.equal([...base, `member|${ALICE}`, 'join_rules|']);
        expect(member('invite', BOB)).to.deep.equal([...base, `member|${ALICE}`, `member|${BOB}`, 'join_rules|']);
        expect(member('knock', ALICE)).to.deep.equal([...base, `member|${ALICE}`, 'join_rules|']);
        expect(member('leave', BOB)).to.deep.equal([...base, `member|${ALICE}`, `member|${BOB}`]);
        expect(member('ban', BOB)).to.deep.equal([...base, `member|${ALICE}`, `member|${BOB}`]);
        expect(member('invite', BOB, { third_party_invite: { signed: { token: 'tok' } } })).to.include(
          'third_party_invite|tok',
        );
        expect(member('leave', BOB, { third_party_invite: { signed: { token: 'tok' } } })).not.to.include(
          'third_party_invite|tok',
        );
        expect(member('join', ALICE, { join_authorised_via_users_server: CAROL }).includes(`member|${CAROL}`)).to.equal(
          number >= 8,
        );
        expect(
          member('join', ALICE, { join_authorised_via_users_server: ALICE }).filter((key) => key === `member|${ALICE}`),
        ).to.have.length(1);
      });

      const event = room.event({ type: 'm.room.message', sender: ALICE });
      const at = (type: string, key: string): IdentifiedPdu => room.state(type, key) as IdentifiedPdu;
      const power = at('m.room.power_levels', '');
      const alice = at('m.room.member', ALICE);
      const selection = number < 12 ? [room.create, power, alice] : [power, alice];
      const check = (authEvents: readonly IdentifiedPdu[]): boolean =>
        checkAuthEventsSelection(version, event, authEvents).ok;

      it('are accepted as selected', () => expect(check(selection)).to.equal(true));
      it('need m.room.create until v11 and refuse it since v12', () => {
        expect(check([power, alice])).to.equal(number >= 12);
        expect(check([room.create, power, alice])).to.equal(number < 12);
      });
      it('are refused with duplicates', () =>
        expect(check([...selection, { ...power, eventId: '$other' }])).to.equal(false));
      it('are refused with what does not belong there', () => {
        expect(check([...selection, at('m.room.member', BOB)])).to.equal(false);
        expect(check([...selection, at('m.room.join_rules', '')])).to.equal(false);
        expect(check([...selection, room.event({ type: 'm.room.message', sender: ALICE })])).to.equal(false);
      });
      it('are refused if one was rejected', () =>
        expect(check([...selection.slice(0, -1), { ...alice, rejected: true }])).to.equal(false));
      it('are refused from another room', () => {
        expect(check([...selection.slice(0, -1), { ...alice, pdu: { ...alice.pdu, room_id: '!other:a' } }])).to.equal(
          false,
        );
      });
    });

    it('names the servers whose signatures an event needs', () => {
      const room = new Room(version);
      const needs = (draft: Draft): readonly string[] => requiredSignatures(version, room.event(draft).pdu);
      expect(needs({ type: 'x', sender: BOB, eventId: '$e:b' })).to.deep.equal(['b']);
      expect(needs({ type: 'x', sender: BOB, eventId: '$e:z' })).to.deep.equal(number <= 2 ? ['b', 'z'] : ['b']);
      expect(
        needs({
          type: 'm.room.member',
          sender: BOB,
          stateKey: CAROL,
          eventId: '$e:z',
          content: { membership: 'invite', third_party_invite: {} },
        }),
      ).to.deep.equal(number <= 2 ? ['z'] : []);
      expect(
        needs({
          type: 'm.room.member',
          sender: BOB,
          stateKey: BOB,
          eventId: '$e:b',
          content: { membership: 'join', join_authorised_via_users_server: ALICE },
        }),
      ).to.deep.equal(number >= 8 ? ['b', 'a'] : ['b']);
    });
  });
}

describe('creators since v12', () => {
  const room = new Room(rules(12), {
    creation: { additional_creators: [ALICE] },
    members: { [ALICE]: 'join', [BOB]: 'join' },
    power: { users: { [BOB]: 1000 }, state_default: 5000, ban: 5000, kick: 5000 },
  });

  it('stand above every level', () => {
    for (const creator of [CREATOR, ALICE]) {
      expect(room.allows({ type: 'm.room.topic', sender: creator, stateKey: '' })).to.equal(true);
      expect(room.member(creator, BOB, 'ban')).to.equal(true);
      expect(room.member(BOB, creator, 'leave')).to.equal(false);
    }
    expect(room.allows({ type: 'm.room.topic', sender: BOB, stateKey: '' })).to.equal(false);
  });

  it('cannot remove each other', () => {
    expect(room.member(CREATOR, ALICE, 'ban')).to.equal(false);
    expect(room.member(CREATOR, ALICE, 'leave')).to.equal(false);
    expect(room.member(ALICE, ALICE, 'leave')).to.equal(true);
  });

  it('are let in by the first join only if they sent m.room.create', () => {
    const empty = new Room(rules(12), { creation: { additional_creators: [ALICE] }, members: { [CREATOR]: 'leave' } });
    expect(empty.member(ALICE, ALICE, 'join', {}, ['$create:a'])).to.equal(false);
    expect(empty.member(CREATOR, CREATOR, 'join', {}, ['$create:a'])).to.equal(true);
  });
});
