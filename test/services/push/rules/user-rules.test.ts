import { expect } from 'chai';
import { DEFAULT_RULES } from '#src/protocol/push/default-rules.ts';
import type { PushRule, PushRuleKind, PushRuleset } from '#src/protocol/push/push-ruleset.ts';
import { addRule, setRuleActions, setRuleEnabled } from '#src/protocol/push/rule-editing.ts';
import { classUnder, DEFAULT_USER_RULES, userRules } from '#src/services/push/rules/user-rules.ts';

const ALICE = '@alice:test';
const ROOM = '!Room:test';

const changed = (...changes: ((ruleset: PushRuleset) => ReturnType<typeof addRule>)[]): PushRuleset => {
  let ruleset = DEFAULT_RULES.of(ALICE);
  for (const change of changes) {
    const result = change(ruleset);
    if (!result.ok) throw new Error(result.message);
    ruleset = result.ruleset;
  }
  return ruleset;
};
const own = (kind: PushRuleKind, rule: Partial<PushRule>) => (ruleset: PushRuleset) =>
  addRule(ruleset, kind, { rule_id: 'x', default: false, enabled: true, actions: [], ...rule });
const mute = own('override', { rule_id: ROOM, conditions: [{ kind: 'event_match', key: 'room_id', pattern: ROOM }] });
const silence = (ruleId: string) => (ruleset: PushRuleset) => setRuleActions(ruleset, 'underride', ruleId, []);

describe('compiled push rules of a user', () => {
  it('are one shared object for all users without custom rules', () => {
    expect(userRules(DEFAULT_RULES.of(ALICE), ALICE)).to.equal(DEFAULT_USER_RULES);
    expect(userRules(changed(own('content', { pattern: 'x', enabled: false })), ALICE)).to.equal(DEFAULT_USER_RULES);
  });

  it('see a muted room and one with mentions only without being asked about every event', () => {
    const muted = userRules(changed(mute), ALICE);
    expect([muted.isPersonal, muted.modeIn(ROOM), muted.modeIn('!other:test')]).to.deep.equal([false, 'muted', 'all']);
    const mentions = userRules(changed(own('room', { rule_id: ROOM })), ALICE);
    expect([mentions.isPersonal, mentions.modeIn(ROOM), mentions.modeIn('!other:test')]).to.deep.equal([
      false,
      'mentions',
      'all',
    ]);
  });

  it('see that everything is off, or that only mentions count everywhere', () => {
    const off = userRules(
      changed(
        (ruleset) => setRuleEnabled(ruleset, 'override', '.m.rule.master', true),
        own('content', { pattern: 'x' }),
      ),
      ALICE,
    );
    expect([off.isPersonal, off.modeIn(ROOM)]).to.deep.equal([false, 'muted']);
    const all = DEFAULT_RULES.of(ALICE).underride.map((rule) => silence(rule.rule_id));
    const quiet = userRules(changed(...all), ALICE);
    expect([quiet.isPersonal, quiet.modeIn(ROOM)]).to.deep.equal([false, 'mentions']);
    const groups = userRules(changed(silence('.m.rule.message'), silence('.m.rule.encrypted')), ALICE);
    expect([groups.isPersonal, groups.modeIn(ROOM)]).to.deep.equal([true, 'mentions']);
  });

  it('are evaluated for every event if they match on its content', () => {
    for (const change of [
      own('content', { pattern: 'x' }),
      own('sender', { rule_id: '@bob:test' }),
      own('override', { conditions: [{ kind: 'contains_display_name' }] }),
      own('override', { conditions: [{ kind: 'event_match', key: 'room_id', pattern: '!*:test' }] }),
      own('room', { rule_id: ROOM, actions: ['notify'] }),
      (ruleset: PushRuleset) => setRuleEnabled(ruleset, 'override', '.m.rule.suppress_notices', false),
    ]) {
      expect(userRules(changed(change), ALICE).isPersonal).to.equal(true);
    }
    expect(
      userRules(changed(own('override', { conditions: [{ kind: 'contains_display_name' }] })), ALICE).needsDisplayName,
    ).to.equal(true);
  });

  it('take a changed sound for no change of what counts', () => {
    const rules = userRules(
      changed((ruleset) =>
        setRuleActions(ruleset, 'underride', '.m.rule.message', ['notify', { set_tweak: 'sound', value: 'x' }]),
      ),
      ALICE,
    );
    expect([rules.isPersonal, rules.modeIn(ROOM)]).to.deep.equal([false, 'all']);
  });

  it('let only what concerns everybody through where only mentions count', () => {
    expect(
      ['none', 'notify', 'highlight'].map((eventClass) => classUnder('mentions', eventClass as 'none')),
    ).to.deep.equal(['none', 'none', 'highlight']);
    expect(classUnder('muted', 'highlight')).to.equal('none');
    expect(classUnder('all', 'notify')).to.equal('notify');
  });
});
