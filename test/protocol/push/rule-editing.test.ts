import { expect } from 'chai';
import { DEFAULT_RULES } from '#src/protocol/push/default-rules.ts';
import type { PushRuleKind, PushRuleset } from '#src/protocol/push/push-ruleset.ts';
import {
  type PushRulesetChange,
  addRule,
  copyRoomRules,
  findRule,
  removeRule,
  setRuleActions,
  setRuleEnabled,
} from '#src/protocol/push/rule-editing.ts';
import { parsePushRule } from '#src/protocol/push/rule-validation.ts';

const ALICE = '@alice:example.org';

function done(change: PushRulesetChange): PushRuleset {
  if (!change.ok) throw new Error(`refused: ${change.errcode} ${change.message}`);
  return change.ruleset;
}

const errcode = (change: { readonly ok: boolean; readonly errcode?: string }): string | undefined => change.errcode;

function add(
  ruleset: PushRuleset,
  kind: PushRuleKind,
  id: string,
  place: { before?: string; after?: string } = {},
): PushRuleset {
  const parsed = parsePushRule(kind, id, { actions: ['notify'], ...(kind === 'content' ? { pattern: id } : {}) });
  if (!parsed.ok) throw new Error(parsed.message);
  return done(addRule(ruleset, kind, parsed.value, place));
}

const ids = (ruleset: PushRuleset, kind: PushRuleKind): string[] =>
  ruleset[kind].map((rule) => rule.rule_id).filter((id) => !id.startsWith('.'));

describe('adding push rules', () => {
  it('makes a new rule the most important of the user, but below the master rule', () => {
    const ruleset = add(add(DEFAULT_RULES.of(ALICE), 'override', 'a'), 'override', 'b');
    expect(ruleset.override.slice(0, 4).map((rule) => rule.rule_id)).to.deep.equal([
      '.m.rule.master',
      'b',
      'a',
      '.m.rule.suppress_notices',
    ]);
    expect(add(DEFAULT_RULES.of(ALICE), 'underride', 'u').underride[0]!.rule_id).to.equal('u');
  });

  it('puts a rule next before or next after another', () => {
    let ruleset = DEFAULT_RULES.of(ALICE);
    for (const id of ['c', 'b', 'a']) ruleset = add(ruleset, 'content', id);
    expect(ids(add(ruleset, 'content', 'x', { before: 'b' }), 'content')).to.deep.equal(['a', 'x', 'b', 'c']);
    expect(ids(add(ruleset, 'content', 'x', { after: 'b' }), 'content')).to.deep.equal(['a', 'b', 'x', 'c']);
    expect(ids(add(ruleset, 'content', 'x', { before: 'a', after: 'c' }), 'content')).to.deep.equal([
      'x',
      'a',
      'b',
      'c',
    ]);
    expect(ids(add(ruleset, 'content', 'a', { after: 'b' }), 'content')).to.deep.equal(['b', 'a', 'c']);
    expect(ids(add(ruleset, 'content', 'c', { before: 'a' }), 'content')).to.deep.equal(['c', 'a', 'b']);
    expect(ids(add(ruleset, 'content', 'b', { before: 'b' }), 'content')).to.deep.equal(['a', 'b', 'c']);
  });

  it('updates a rule in its place and leaves it disabled', () => {
    let ruleset = DEFAULT_RULES.of(ALICE);
    for (const id of ['b', 'a']) ruleset = add(ruleset, 'content', id);
    ruleset = done(setRuleEnabled(ruleset, 'content', 'b', false));
    ruleset = add(ruleset, 'content', 'b');
    expect(ids(ruleset, 'content')).to.deep.equal(['a', 'b']);
    expect(findRule(ruleset, 'content', 'b')!.enabled).to.equal(false);
  });

  it('refuses places beside rules that do not exist or belong to the server', () => {
    const rule = { rule_id: 'x', default: false, enabled: true, actions: [] };
    expect(errcode(addRule(DEFAULT_RULES.of(ALICE), 'override', rule, { before: 'nope' }))).to.equal('M_UNKNOWN');
    expect(errcode(addRule(DEFAULT_RULES.of(ALICE), 'override', rule, { after: '.m.rule.master' }))).to.equal(
      'M_INVALID_PARAM',
    );
  });

  it('refuses reserved and malformed rule ids', () => {
    for (const id of ['.mine', '.m.rule.master', 'a/b', 'a\\b', '']) {
      expect(errcode(parsePushRule('override', id, { actions: [] })), id).to.equal('M_INVALID_PARAM');
    }
  });

  it('refuses bodies that are not rules', () => {
    const code = (kind: PushRuleKind, body: Record<string, unknown>): string | undefined =>
      errcode(parsePushRule(kind, 'x', body));
    expect(code('override', {})).to.equal('M_MISSING_PARAM');
    expect(code('override', { actions: 'notify' })).to.equal('M_BAD_JSON');
    expect(code('override', { actions: ['shout'] })).to.equal('M_INVALID_PARAM');
    expect(code('override', { actions: [{ set_tweak: 1 }] })).to.equal('M_BAD_JSON');
    expect(code('override', { actions: [null] })).to.equal('M_BAD_JSON');
    expect(code('override', { actions: [], conditions: {} })).to.equal('M_BAD_JSON');
    expect(code('override', { actions: [], conditions: ['event_match'] })).to.equal('M_BAD_JSON');
    expect(code('override', { actions: [], conditions: [{ kind: 'event_match', key: 'type' }] })).to.equal(
      'M_BAD_JSON',
    );
    expect(code('override', { actions: [], conditions: [{ kind: 'room_member_count', is: 'many' }] })).to.equal(
      'M_BAD_JSON',
    );
    expect(
      code('override', { actions: [], conditions: [{ kind: 'event_property_is', key: 'a', value: [] }] }),
    ).to.equal('M_BAD_JSON');
    expect(code('content', { actions: [] })).to.equal('M_MISSING_PARAM');
    expect(code('content', { actions: [], pattern: 1 })).to.equal('M_BAD_JSON');
  });

  it('refuses ids, keys and patterns that are too long', () => {
    const match = (key: string, pattern: string): Record<string, unknown> => ({
      actions: [],
      conditions: [{ kind: 'event_match', key, pattern }],
    });
    expect(errcode(parsePushRule('content', 'x', { actions: [], pattern: 'p'.repeat(512) }))).to.equal(undefined);
    expect(errcode(parsePushRule('content', 'x', { actions: [], pattern: '?'.repeat(513) }))).to.equal('M_TOO_LARGE');
    expect(errcode(parsePushRule('override', 'x', match('k', '?'.repeat(513))))).to.equal('M_TOO_LARGE');
    expect(errcode(parsePushRule('underride', 'x', match('k'.repeat(1001), 'x')))).to.equal('M_TOO_LARGE');
    expect(errcode(parsePushRule('room', `!${'é'.repeat(256)}`, { actions: [] }))).to.equal('M_TOO_LARGE');
  });

  it('keeps conditions it does not know, and the historical actions, which clients look for', () => {
    const unknown = { kind: 'org.example.moon_phase', phase: 'full' };
    const parsed = parsePushRule('override', 'x', {
      actions: ['dont_notify', 'coalesce', 'notify'],
      conditions: [unknown],
    });
    expect(parsed).to.deep.equal({
      ok: true,
      value: {
        rule_id: 'x',
        default: false,
        enabled: true,
        actions: ['dont_notify', 'coalesce', 'notify'],
        conditions: [unknown],
      },
    });
  });
});

describe('changing push rules', () => {
  it('removes rules of the user only', () => {
    const ruleset = add(DEFAULT_RULES.of(ALICE), 'room', '!a:example.org');
    expect(ids(done(removeRule(ruleset, 'room', '!a:example.org')), 'room')).to.deep.equal([]);
    expect(errcode(removeRule(ruleset, 'room', '!b:example.org'))).to.equal('M_NOT_FOUND');
    expect(errcode(removeRule(ruleset, 'override', '.m.rule.master'))).to.equal('M_INVALID_PARAM');
  });

  it('enables rules and sets actions, those of the server too, without touching the ruleset given', () => {
    const before = DEFAULT_RULES.of(ALICE);
    expect(
      findRule(done(setRuleEnabled(before, 'override', '.m.rule.master', true)), 'override', '.m.rule.master')!.enabled,
    ).to.equal(true);
    expect(
      findRule(
        done(setRuleActions(before, 'underride', '.m.rule.message', ['dont_notify'])),
        'underride',
        '.m.rule.message',
      )!.actions,
    ).to.deep.equal(['dont_notify']);
    expect(before).to.deep.equal(DEFAULT_RULES.of(ALICE));
    expect(errcode(setRuleEnabled(before, 'override', 'nope', true))).to.equal('M_NOT_FOUND');
    expect(errcode(setRuleEnabled(before, 'override', '.m.rule.master', 'yes'))).to.equal('M_BAD_JSON');
    expect(errcode(setRuleActions(before, 'content', 'nope', []))).to.equal('M_NOT_FOUND');
    expect(errcode(setRuleActions(before, 'override', '.m.rule.master', ['shout']))).to.equal('M_INVALID_PARAM');
  });

  it('copies the rules of a room to its successor once', () => {
    let ruleset = add(DEFAULT_RULES.of(ALICE), 'room', '!old:example.org');
    const mute = parsePushRule('override', '!old:example.org', {
      actions: [],
      conditions: [{ kind: 'event_match', key: 'room_id', pattern: '!old:example.org' }],
    });
    if (!mute.ok) throw new Error(mute.message);
    ruleset = done(addRule(ruleset, 'override', mute.value));
    const copied = copyRoomRules(ruleset, '!old:example.org', '!new');
    expect(ids(copied, 'room')).to.have.members(['!old:example.org', '!new']);
    expect(findRule(copied, 'override', '!new')!.conditions).to.deep.equal([
      { kind: 'event_match', key: 'room_id', pattern: '!new' },
    ]);
    expect(copied.override[0]!.rule_id).to.equal('.m.rule.master');
    expect(copyRoomRules(copied, '!old:example.org', '!new')).to.deep.equal(copied);
  });
});
