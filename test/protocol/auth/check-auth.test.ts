import { expect } from 'chai';
import { redactionApplies } from '#src/protocol/auth/redactions.ts';
import { parsePowerLevels } from '#src/protocol/auth/power-levels.ts';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { checkAuth } from '#src/protocol/auth/check-auth.ts';
import { ALL_VERSIONS, rules } from '../events/event-cases.ts';
import { ALICE, BOB, CREATOR, Room } from './room.ts';
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
