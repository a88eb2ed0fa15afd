import { expect } from 'chai';
import { contentFault } from '#src/protocol/content/content-rules.ts';
import type { JsonObject, JsonValue } from '#src/protocol/json/json-value.ts';
import { ROOM_VERSIONS, roomVersion } from '#src/protocol/room-versions/room-versions.ts';

const ROOM = '!here:example.org';
const place = { serverName: 'example.org', roomId: ROOM, version: roomVersion('9')! };
const state = (type: string, content: JsonObject, stateKey = ''): string | undefined =>
  contentFault({ type, stateKey, content }, place);
const message = (content: JsonObject, type = 'm.room.message'): string | undefined =>
  contentFault({ type, stateKey: undefined, content }, place);

describe('the content that clients may send', () => {
  it('of a message has a msgtype and a textual body, which may be anything', () => {
    for (const wrong of [
      {},
      { body: 'x' },
      { msgtype: 'm.text' },
      { msgtype: 1, body: 'x' },
      { msgtype: 'm.text', body: null },
    ])
      expect(message(wrong as JsonObject), JSON.stringify(wrong)).to.match(
        /^(msgtype|body) (is missing: it )?must be a string\.$|^(msgtype|body) is missing: it must be a string\.$/,
      );
    for (const right of [
      { msgtype: 'm.text', body: '' },
      { msgtype: 'org.example.dance', body: 'x', more: [1, { a: null }] },
      { msgtype: '', body: '* edit', 'm.new_content': {}, 'm.relates_to': { rel_type: 'm.replace', event_id: '$a' } },
      { msgtype: 'm.key.verification.request', from_device: 'D', methods: [], to: '@a:b' },
    ])
      expect(message(right), JSON.stringify(right)).to.equal(undefined);
  });

  it('of other types is free, whatever it is', () => {
    for (const content of [{}, { body: 1 }, { algorithm: [] }] as JsonObject[]) {
      expect(message(content, 'm.room.encrypted')).to.equal(undefined);
      expect(message(content, 'm.reaction')).to.equal(undefined);
      expect(message(content, 'm.room.name')).to.equal(undefined);
      expect(state('org.example.any', content)).to.equal(undefined);
      expect(state('constructor', content)).to.equal(undefined);
      expect(state('m.room.name', { name: 1 }, 'another key')).to.equal(undefined);
      expect(state('m.room.message', content)).to.equal(undefined);
    }
  });

  it('mentions users by a list of ids, in every type', () => {
    for (const wrong of [[], 'x', { user_ids: '@a:b' }, { user_ids: [1] }, { room: 'yes' }, { user_ids: null }])
      expect(message({ 'm.mentions': wrong as JsonValue }, 'm.sticker'), JSON.stringify(wrong)).to.match(
        /^m\.mentions/,
      );
    expect(message({ 'm.mentions': { user_ids: ['@a:b', 'no id'], room: true, x: 1 } }, 'm.sticker')).to.equal(
      undefined,
    );
    expect(message({ 'm.mentions': {} }, 'm.sticker')).to.equal(undefined);
  });

  const kinds: readonly (readonly [string, readonly JsonObject[], readonly JsonObject[]])[] = [
    ['m.room.name', [{ name: 1 }, { name: null }], [{}, { name: '' }, { name: 'Tea', more: 1 }]],
    [
      'm.room.topic',
      [{ topic: [] }, { 'm.topic': 'x' }],
      [{}, { topic: 'x', 'm.topic': { 'm.text': [{ body: 'x' }] } }],
    ],
    ['m.room.avatar', [{ url: 1 }, { url: 'mxc://a/b', info: 'x' }], [{}, { url: '' }, { url: 'mxc://a/b', info: {} }]],
    ['m.room.pinned_events', [{ pinned: '$a' }, { pinned: [1] }], [{}, { pinned: [] }, { pinned: ['$a'] }]],
    [
      'm.room.join_rules',
      [{}, { join_rule: 'publik' }, { join_rule: null }],
      [{ join_rule: 'restricted', allow: 'x' }, { join_rule: 'private' }, { join_rule: 'public', x: 1 }],
    ],
    [
      'm.room.history_visibility',
      [{ history_visibility: 'everybody' }, { history_visibility: 1 }],
      [{}, { history_visibility: 'joined' }],
    ],
    ['m.room.guest_access', [{ guest_access: 'yes' }], [{}, { guest_access: 'forbidden' }]],
    [
      'm.room.encryption',
      [{}, { algorithm: null }, { algorithm: 'm.megolm.v1.aes-sha2', rotation_period_ms: '1' }],
      [{ algorithm: 'm.megolm.v1.aes-sha2', rotation_period_msgs: 100 }, { algorithm: 'org.example.new' }],
    ],
    [
      'm.room.server_acl',
      [{ allow: '*' }, { allow: ['*'], deny: [1] }, { allow: ['*'], allow_ip_literals: 'no' }],
      [{ allow: ['*'], deny: ['evil.example'], allow_ip_literals: false }],
    ],
    [
      'm.room.tombstone',
      [{ replacement_room: 1 }, { replacement_room: 'x' }, { body: 1 }],
      [{}, { body: 'closed' }, { body: 'moved', replacement_room: '!there:example.org' }],
    ],
    ['m.room.retention', [{ max_lifetime: -1 }, { min_lifetime: '1' }], [{}, { max_lifetime: 5, min_lifetime: 5 }]],
    ['m.room.policy', [{ via: 1 }, { public_keys: [] }], [{}, { via: 'a', public_keys: { ed25519: 'x' } }]],
  ];
  for (const [type, wrong, right] of kinds) {
    it(`of ${type} is of the kinds that its schema says, as far as it is there`, () => {
      for (const content of wrong) expect(state(type, content), JSON.stringify(content)).to.be.a('string');
      for (const content of right) expect(state(type, content), JSON.stringify(content)).to.equal(undefined);
    });
  }

  it('of state that has keys is looked at under every key', () => {
    for (const [type, wrong, right] of [
      ['m.space.child', { via: 'a' }, { via: ['a'], order: 1, suggested: true }],
      ['m.space.parent', { canonical: 'yes' }, {}],
      ['m.policy.rule.user', { entity: 1 }, { entity: '@spam*:*', recommendation: 'm.ban', reason: 'spam' }],
      ['m.room.third_party_invite', { public_keys: 'x' }, {}],
      ['m.room.image_pack', { images: [] }, { images: {}, pack: {} }],
    ] as const) {
      expect(state(type, wrong, 'some key'), type).to.be.a('string');
      expect(state(type, right as unknown as JsonObject, 'some key'), type).to.equal(undefined);
    }
    const join = { membership: 'join' };
    for (const wrong of [
      {},
      { membership: 'guest' },
      { ...join, displayname: 1 },
      { ...join, avatar_url: {} },
      { ...join, reason: [] },
    ])
      expect(state('m.room.member', wrong as JsonObject, '@a:b'), JSON.stringify(wrong)).to.be.a('string');
    expect(state('m.room.member', { ...join, displayname: null, more: 1 }, '@a:b')).to.equal(undefined);
    expect(state('m.room.member', join, 'nobody')).to.contain('the id of the user');
  });

  it('of power levels are integers in every version, whatever the version would let through', () => {
    for (const version of ROOM_VERSIONS.values()) {
      const fault = (content: JsonObject): string | undefined =>
        contentFault({ type: 'm.room.power_levels', stateKey: '', content }, { ...place, version });
      for (const wrong of ['50', null, 1.5, [], {}] as JsonValue[]) {
        for (const content of [
          { users: {}, ban: wrong },
          { users: {}, users_default: wrong },
          { users: { '@a:b': wrong } },
          { users: {}, events: { 'm.room.name': wrong } },
          { users: {}, notifications: { room: wrong } },
        ])
          expect(fault(content), JSON.stringify(content)).to.be.a('string');
      }
      for (const wrong of [[], 'x', null, { 'no id': 1 }] as JsonValue[])
        expect(fault({ users: wrong })).to.be.a('string');
      expect(fault({ users: { '@a:b': 100, '@b:b': -1 }, events: {}, 'org.example.more': 'x' })).to.equal(undefined);
    }
  });

  it('of power levels leaves the room to somebody: who gives power away says so in users', () => {
    expect(state('m.room.power_levels', { events_default: 10 })).to.contain('users is missing');
    expect(state('m.room.power_levels', { users_default: 50, ban: 0 })).to.equal(undefined);
    expect(state('m.room.power_levels', { events: { 'm.room.power_levels': 0 } })).to.equal(undefined);
    expect(state('m.room.power_levels', { users: {} })).to.equal(undefined);
    expect(state('m.room.power_levels', {}), 'a wish for the defaults').to.equal(undefined);
    const creators = new Set(['@a:b']);
    const later = (content: JsonObject): string | undefined =>
      contentFault(
        { type: 'm.room.power_levels', stateKey: '', content },
        { ...place, version: roomVersion('12')!, creators },
      );
    expect(later({})).to.equal(undefined);
    expect(later({ users: { '@a:b': 100 } })).to.contain('stand above all levels');
  });

  it('does not shut this server out, replace a room by itself, let nobody in, or say two things at once', () => {
    for (const content of [
      {},
      { allow: [] },
      { allow: ['*.example.org'] },
      { allow: ['*'], deny: ['*.org'] },
    ] as JsonObject[])
      expect(state('m.room.server_acl', content), JSON.stringify(content)).to.contain('example.org itself out');
    expect(state('m.room.tombstone', { replacement_room: ROOM })).to.contain('another room');
    expect(state('m.room.retention', { max_lifetime: 1, min_lifetime: 2 })).to.contain('must not be less');
    const rule = (join_rule: string, version: string): string | undefined =>
      contentFault(
        { type: 'm.room.join_rules', stateKey: '', content: { join_rule } },
        { ...place, version: roomVersion(version)! },
      );
    expect(
      [rule('knock', '6'), rule('restricted', '7'), rule('knock_restricted', '9')].every((fault) =>
        fault?.includes('nobody could join'),
      ),
    ).to.equal(true);
    expect([rule('knock', '7'), rule('restricted', '8'), rule('knock_restricted', '10')]).to.deep.equal([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('is never a second m.room.create, and no redaction as state', () => {
    expect(message({}, 'm.room.create')).to.contain('created once');
    expect(state('m.room.create', {}, 'x')).to.contain('created once');
    expect(state('m.room.redaction', {})).to.contain('no state');
  });
});
