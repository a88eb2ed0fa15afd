import { expect } from 'chai';
import fc from 'fast-check';
import { redact } from '#src/protocol/events/redaction.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { ALL_VERSIONS, rules } from './event-cases.ts';

const TOP = [
  'event_id',
  'type',
  'room_id',
  'sender',
  'state_key',
  'content',
  'hashes',
  'signatures',
  'depth',
  'prev_events',
  'auth_events',
  'origin_server_ts',
];
const POWER = ['ban', 'events', 'events_default', 'kick', 'redact', 'state_default', 'users', 'users_default'];

/** type -> [first version, keys of content that stay] from that version on. Room versions, "Redactions". */
const KEPT: Readonly<Record<string, readonly (readonly [number, readonly string[]])[]>> = {
  'm.room.member': [
    [1, ['membership']],
    [9, ['join_authorised_via_users_server', 'membership']],
    [11, ['join_authorised_via_users_server', 'membership', 'third_party_invite']],
  ],
  'm.room.create': [
    [1, ['creator']],
    [11, ['creator', 'm.federate', 'room_version']],
  ],
  'm.room.join_rules': [
    [1, ['join_rule']],
    [8, ['allow', 'join_rule']],
  ],
  'm.room.power_levels': [
    [1, POWER],
    [11, [...POWER, 'invite']],
  ],
  'm.room.aliases': [
    [1, ['aliases']],
    [6, []],
  ],
  'm.room.history_visibility': [[1, ['history_visibility']]],
  'm.room.redaction': [
    [1, []],
    [11, ['redacts']],
  ],
  'm.room.message': [[1, []]],
  'm.room.third_party_invite': [[1, []]],
};

const CONTENT: Readonly<Record<string, JsonObject>> = {
  'm.room.member': {
    membership: 'join',
    displayname: 'x',
    join_authorised_via_users_server: '@a:b',
    third_party_invite: { signed: { a: 1 }, display_name: 'x' },
  },
  'm.room.create': { creator: '@a:b', 'm.federate': true, room_version: '1' },
  'm.room.join_rules': { join_rule: 'public', allow: [], other: 1 },
  'm.room.power_levels': { ...Object.fromEntries(POWER.map((key) => [key, 1])), invite: 2, notifications: {} },
  'm.room.aliases': { aliases: [], other: 1 },
  'm.room.history_visibility': { history_visibility: 'shared', other: 1 },
  'm.room.redaction': { redacts: '$x', reason: 'y' },
  'm.room.message': { body: 'x', msgtype: 'm.text' },
  'm.room.third_party_invite': { public_key: 'x' },
};

describe('redact', () => {
  for (const version of ALL_VERSIONS) {
    for (const [type, history] of Object.entries(KEPT)) {
      const [, keys] = history.findLast(([since]) => since <= Number(version.id)) ?? [1, []];
      it(`leaves of ${type} in v${version.id}: ${keys.join(', ') || 'nothing'}`, () => {
        const redacted = redact(version, { type, content: CONTENT[type] ?? {}, unsigned: { age: 1 } });
        expect(Object.keys(redacted['content'] as JsonObject).sort()).to.deep.equal([...keys].sort());
      });
    }

    it(`leaves the top-level keys of v${version.id}`, () => {
      const legacy = ['origin', 'membership', 'prev_state'];
      const event = Object.fromEntries(
        [...TOP, ...legacy, 'unsigned', 'redacts', 'age_ts', 'other'].map((key) => [key, 'x']),
      );
      const expected = Number(version.id) >= 11 ? TOP : [...TOP, ...legacy];
      expect(Object.keys(redact(version, event)).sort()).to.deep.equal([...expected].sort());
    });

    it(`changes nothing the second time in v${version.id}`, () => {
      const types = fc.constantFrom(...Object.keys(KEPT));
      fc.assert(
        fc.property(types, fc.object(), fc.object(), (type, content, others) => {
          const once = redact(version, { ...others, type, content: { ...CONTENT[type], ...content } } as JsonObject);
          expect(redact(version, once)).to.deep.equal(once);
        }),
        { numRuns: 20 },
      );
    });
  }

  it('reduces third_party_invite to what was signed since v11', () => {
    const member = (invite: JsonObject[string]): JsonObject => ({
      type: 'm.room.member',
      content: { membership: 'invite', third_party_invite: invite },
    });
    const kept = (invite: JsonObject[string]): unknown => redact(rules(11), member(invite))['content'];
    expect(kept({ signed: { a: 1 }, display_name: 'x' })).to.deep.equal({
      membership: 'invite',
      third_party_invite: { signed: { a: 1 } },
    });
    expect(kept({ display_name: 'x' })).to.deep.equal({ membership: 'invite', third_party_invite: {} });
    expect(kept('x')).to.deep.equal({ membership: 'invite' });
  });

  it('leaves nothing of types that are named like the members of every object', () => {
    for (const type of ['constructor', '__proto__', 'toString'])
      expect(redact(rules(12), { type, content: { name: 1 } })['content'], type).to.deep.equal({});
  });

  it('does not change the event it was given', () => {
    const event = { type: 'm.room.message', content: { body: 'x' }, unsigned: {} };
    redact(rules(12), event);
    expect(event).to.deep.equal({ type: 'm.room.message', content: { body: 'x' }, unsigned: {} });
  });
});
