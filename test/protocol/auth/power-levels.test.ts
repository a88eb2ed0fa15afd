import { expect } from 'chai';
import fc from 'fast-check';
import { parseLevel, parsePowerLevels } from '#src/protocol/auth/power-levels.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import { ALL_VERSIONS, rules } from '../events/event-cases.ts';
import { ALICE, BOB, CAROL, CREATOR, Room } from './room.ts';

const NAMED = ['users_default', 'events_default', 'state_default', 'ban', 'redact', 'kick', 'invite'];

for (const version of ALL_VERSIONS) {
  const number = Number(version.id);

  describe(`power levels in v${version.id}`, () => {
    const create = new Room(version).create.pdu;

    it('reads integers, strings until v9 and floats until v5', () => {
      const cases: readonly (readonly [JsonValue | undefined, number | undefined])[] = [
        [50, 50],
        [-1, -1],
        ['50', number <= 9 ? 50 : undefined],
        [' 00100 ', number <= 9 ? 100 : undefined],
        [' +100 ', number <= 9 ? 100 : undefined],
        ['-100', number <= 9 ? -100 : undefined],
        [50.57, number <= 5 ? 50 : undefined],
        [-0.5, number <= 5 ? -0 : undefined],
        ['50.5', undefined],
        ['5e1', undefined],
        ['0x10', undefined],
        ['--1', undefined],
        ['+ 1', undefined],
        ['', undefined],
        ['ten', undefined],
        [null, undefined],
        [true, undefined],
        [[50], undefined],
        [{}, undefined],
        [undefined, undefined],
      ];
      for (const [value, level] of cases) expect(parseLevel(version, value), JSON.stringify(value)).to.equal(level);
    });

    it('has the defaults of the specification', () => {
      for (const content of [undefined, {}]) {
        const levels = parsePowerLevels(version, content, create);
        expect(levels).to.include({
          ban: 50,
          kick: 50,
          redact: 50,
          invite: 0,
          usersDefault: 0,
          eventsDefault: 0,
          stateDefault: 50,
        });
        expect(levels.eventLevel('x', true)).to.equal(50);
        expect(levels.eventLevel('x', false)).to.equal(0);
        expect(levels.userLevel(BOB)).to.equal(0);
      }
    });

    it('puts the creator at 100 where there are no power levels, and above all since v12', () => {
      expect(parsePowerLevels(version, undefined, create).userLevel(CREATOR)).to.equal(number < 12 ? 100 : Infinity);
      expect(parsePowerLevels(version, { users_default: 7 }, create).userLevel(CREATOR)).to.equal(
        number < 12 ? 7 : Infinity,
      );
    });

    it('is not fooled by names that every object has', () => {
      const levels = parsePowerLevels(version, { users: {}, events: {}, notifications: {} }, create);
      for (const name of ['constructor', '__proto__', 'toString']) {
        expect(levels.userLevel(name)).to.equal(0);
        expect(levels.eventLevel(name, false)).to.equal(0);
        expect(levels.notifications.get(name)).to.equal(undefined);
      }
    });

    // Alice, at 50, changes the power levels. m.room.power_levels itself needs 50.
    const users = { ...(number < 12 ? { [CREATOR]: 100 } : {}), [ALICE]: 50, [BOB]: 10 };
    const change = (current: JsonObject, next: JsonObject, sender = ALICE): boolean =>
      new Room(version, { members: { [ALICE]: 'join', [BOB]: 'join' }, power: { users, ...current } }).allows({
        type: 'm.room.power_levels',
        sender,
        stateKey: '',
        content: { users, ...next },
      });

    it('wants the level for m.room.power_levels', () => {
      expect(change({}, {})).to.equal(true);
      expect(change({}, {}, BOB)).to.equal(false);
    });

    for (const key of NAMED) {
      it(`lets ${key} be added, changed and removed up to the sender's own level`, () => {
        // Levels that keep Alice able to send the event at all.
        const ok = (current: JsonObject, next: JsonObject): boolean =>
          change(
            { events: { 'm.room.power_levels': 0 }, ...current },
            { events: { 'm.room.power_levels': 0 }, ...next },
          );
        expect(ok({}, { [key]: 50 })).to.equal(true);
        expect(ok({}, { [key]: 51 })).to.equal(false);
        expect(ok({ [key]: 50 }, { [key]: 49 })).to.equal(true);
        expect(ok({ [key]: 51 }, { [key]: 49 })).to.equal(false);
        expect(ok({ [key]: 49 }, { [key]: 51 })).to.equal(false);
        expect(ok({ [key]: 50 }, {})).to.equal(true);
        expect(ok({ [key]: 51 }, {})).to.equal(false);
        expect(ok({ [key]: 51 }, { [key]: 51 })).to.equal(true);
      });
    }

    for (const [property, since] of [
      ['events', 1],
      ['notifications', 6],
    ] as const) {
      it(`guards the entries of ${property} since v${since}`, () => {
        const guarded = (before: JsonObject | undefined, after: JsonObject | undefined): boolean =>
          change(before === undefined ? {} : { [property]: before }, after === undefined ? {} : { [property]: after });
        const unlessGuarded = number < since;
        expect(guarded(undefined, { x: 50 })).to.equal(true);
        expect(guarded(undefined, { x: 51 })).to.equal(unlessGuarded);
        expect(guarded({ x: 51 }, { x: 50 })).to.equal(unlessGuarded);
        expect(guarded({ x: 51 }, undefined)).to.equal(unlessGuarded);
        expect(guarded({ x: 51 }, {})).to.equal(unlessGuarded);
        expect(guarded({ x: 50 }, {})).to.equal(true);
        expect(guarded({ x: 51 }, { x: 51 })).to.equal(true);
        expect(guarded({ x: 40 }, { x: 50 })).to.equal(true);
        expect(guarded({ x: 40 }, { x: 51 })).to.equal(unlessGuarded);
      });
    }

    it('lets users be raised to the level of the sender and only lower ones be changed', () => {
      const to = (changed: JsonObject): boolean => change({}, { users: { ...users, ...changed } });
      expect(to({ [BOB]: 50 })).to.equal(true);
      expect(to({ [BOB]: 51 })).to.equal(false);
      expect(to({ [CAROL]: 50 })).to.equal(true);
      expect(to({ [CAROL]: 51 })).to.equal(false);
      expect(to({ [ALICE]: 49 })).to.equal(true);
      expect(to({ [ALICE]: 51 })).to.equal(false);
      const equal = { users: { ...users, [CAROL]: 50 } };
      expect(change(equal, { users: { ...users, [CAROL]: 49 } })).to.equal(false);
      expect(change(equal, { users })).to.equal(false);
      const { [ALICE]: _alice, ...withoutAlice } = users;
      expect(change({}, { users: withoutAlice })).to.equal(true);
      const { [BOB]: _bob, ...withoutBob } = users;
      expect(change({}, { users: withoutBob })).to.equal(true);
    });

    it('wants users to be an object of user ids and levels', () => {
      const is = (value: JsonValue): boolean => change({}, { users: value }, CREATOR);
      expect(is({})).to.equal(true);
      for (const wrong of ['x', 1, [], { alice: 1 }, { '@a': 1 }, { [BOB]: 'high' }, { [BOB]: {} }, { [BOB]: null }])
        expect(is(wrong), JSON.stringify(wrong)).to.equal(false);
      expect(is({ [BOB]: '10' })).to.equal(number <= 9);
      expect(is({ [BOB]: 10.5 })).to.equal(number <= 5);
    });

    it('holds levels to integers since v10', () => {
      for (const key of NAMED) {
        expect(change({}, { [key]: '10' }), key).to.equal(number <= 9);
        expect(change({}, { [key]: null }), key).to.equal(number <= 9);
        expect(change({}, { [key]: 'ten' }), key).to.equal(false);
        expect(change({}, { [key]: [] }), key).to.equal(false);
      }
      expect(change({}, { events: { x: '10' } })).to.equal(number <= 9);
      expect(change({}, { events: [] })).to.equal(false);
      expect(change({}, { notifications: { room: '10' } })).to.equal(number <= 9);
      expect(change({}, { notifications: 'x' })).to.equal(number <= 5);
    });

    it('takes a string and its integer for the same level until v9', () => {
      if (number <= 9)
        expect(change({ ban: '100', events: { x: '60' } }, { ban: 100, events: { x: 60 } })).to.equal(true);
    });

    it('allows any first power levels of correct form', () => {
      const room = new Room(version);
      const first = (content: JsonObject): boolean =>
        room.allows({ type: 'm.room.power_levels', sender: CREATOR, stateKey: '', content });
      expect(first({ users: { [BOB]: 1000 }, ban: 1000 })).to.equal(true);
      expect(first({ users: [] })).to.equal(false);
    });

    it('does not list creators since v12', () => {
      const room = new Room(version, { creation: { additional_creators: [ALICE] } });
      const lists = (user: string): boolean =>
        room.allows({
          type: 'm.room.power_levels',
          sender: CREATOR,
          stateKey: '',
          content: { users: { [user]: 100 } },
        });
      expect(lists(CREATOR)).to.equal(number < 12);
      expect(lists(ALICE)).to.equal(number < 12);
      expect(lists(BOB)).to.equal(true);
    });
  });
}

describe('the rules on m.room.power_levels', () => {
  it('never let anyone end up with more power than the sender had', () => {
    const level = fc.integer({ min: 0, max: 100 });
    const table: fc.Arbitrary<Record<string, number>> = fc.record({ [ALICE]: level, [BOB]: level, [CAROL]: level });
    fc.assert(
      fc.property(
        table,
        table,
        fc.constantFrom(...NAMED),
        level,
        level,
        (before, after, key, beforeLevel, afterLevel) => {
          const senderLevel = before[ALICE] ?? 0;
          const common = { events: { 'm.room.power_levels': 0 } };
          const room = new Room(rules(11), {
            members: { [ALICE]: 'join' },
            power: { ...common, users: before, [key]: beforeLevel },
          });
          const content = { ...common, users: after, [key]: afterLevel };
          if (!room.allows({ type: 'm.room.power_levels', sender: ALICE, stateKey: '', content })) return;
          for (const user of [ALICE, BOB, CAROL]) {
            if (after[user] === before[user]) continue;
            expect(after[user]).to.be.at.most(senderLevel);
            if (user !== ALICE) expect(before[user]).to.be.below(senderLevel);
          }
          if (beforeLevel !== afterLevel) expect(Math.max(beforeLevel, afterLevel)).to.be.at.most(senderLevel);
        },
      ),
      { numRuns: 500 },
    );
  });
});
