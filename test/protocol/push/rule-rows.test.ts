import { expect } from 'chai';
import fc from 'fast-check';
import { DEFAULT_RULES } from '#src/protocol/push/default-rules.ts';
import type { PushRule, PushRuleKind, PushRuleset } from '#src/protocol/push/push-ruleset.ts';
import {
  addRule,
  copyRoomRules,
  type PushRulePlace,
  type PushRulesetChange,
  removeRule,
  setRuleActions,
  setRuleEnabled,
} from '#src/protocol/push/rule-editing.ts';
import {
  changeOfKeptRules,
  defaultKeptRules,
  type KeptRules,
  keptRulesFrom,
  type PushRuleRow,
} from '#src/protocol/push/rule-rows.ts';

const ALICE = '@alice:example.org';

/** The rows of one user as a table keeps them. */
class Table {
  readonly rows = new Map<string, PushRuleRow>();
  kept: KeptRules = defaultKeptRules(ALICE);

  /** @returns how many rows were written or removed */
  change(result: PushRulesetChange, placed?: { readonly kind: PushRuleKind; readonly ruleId: string }): number {
    if (!result.ok) return 0;
    const { after, written, removed } = changeOfKeptRules(this.kept, result.ruleset, ALICE, placed);
    for (const row of written)
      this.rows.set(`${row.kind} ${row.ruleId}`, JSON.parse(JSON.stringify(row)) as PushRuleRow);
    for (const { kind, ruleId } of removed) expect(this.rows.delete(`${kind} ${ruleId}`)).to.equal(true);
    this.kept = after;
    return written.length + removed.length;
  }

  put(kind: PushRuleKind, ruleId: string, place: PushRulePlace = {}, more: Partial<PushRule> = {}): number {
    const rule: PushRule = { rule_id: ruleId, default: false, enabled: true, actions: ['notify'], ...more };
    return this.change(addRule(this.kept.ruleset, kind, rule, place), { kind, ruleId });
  }

  read(): PushRuleset {
    return keptRulesFrom([...this.rows.values()], ALICE).ruleset;
  }
}

describe('what is kept of push rules', () => {
  it('is nothing for who changed nothing', () => {
    expect(keptRulesFrom([], ALICE).ruleset).to.deep.equal(DEFAULT_RULES.of(ALICE));
  });

  it('is a row for each rule that differs from the default rules', () => {
    const table = new Table();
    table.put('override', 'a');
    table.put('content', 'cake', {}, { pattern: 'cake' });
    table.change(setRuleEnabled(table.kept.ruleset, 'override', '.m.rule.suppress_notices', false));
    table.change(setRuleActions(table.kept.ruleset, 'underride', '.m.rule.message', []));
    expect([...table.rows.keys()]).to.have.members([
      'override a',
      'content cake',
      'override .m.rule.suppress_notices',
      'underride .m.rule.message',
    ]);
    expect(table.read()).to.deep.equal(table.kept.ruleset);
    table.change(setRuleEnabled(table.kept.ruleset, 'override', '.m.rule.suppress_notices', true));
    expect([...table.rows.keys()]).not.to.include('override .m.rule.suppress_notices');
    expect(table.read()).to.deep.equal(table.kept.ruleset);
  });

  it('is changed by one row, however many there are and wherever it is put, and by none where nothing changes', () => {
    const table = new Table();
    for (let i = 0; i < 200; i++) expect(table.put('override', `r${i}`)).to.equal(1);
    expect(table.put('override', 'r3', { before: 'r150' })).to.equal(1);
    expect(table.put('override', 'r150', { after: 'r7' })).to.equal(1);
    expect(table.put('override', 'new', { after: 'r0' })).to.equal(1);
    const { kept } = table;
    expect(table.change(setRuleEnabled(kept.ruleset, 'override', 'r9', false))).to.equal(1);
    expect(table.change(setRuleEnabled(table.kept.ruleset, 'override', 'r9', false))).to.equal(0);
    expect(table.change(setRuleActions(table.kept.ruleset, 'override', 'r9', ['notify']))).to.equal(0);
    expect(table.change(setRuleActions(table.kept.ruleset, 'override', '.m.rule.master', []))).to.equal(0);
    expect(table.change(removeRule(table.kept.ruleset, 'override', 'r100'))).to.equal(1);
    expect(table.read()).to.deep.equal(table.kept.ruleset);
  });

  it('finds room between two rules again and again', () => {
    const table = new Table();
    table.put('override', 'a');
    table.put('override', 'b');
    let written = 0;
    for (let i = 0; i < 300; i++) written += table.put('override', `x${i}`, { after: i === 0 ? 'b' : `x${i - 1}` });
    for (let i = 0; i < 300; i++) written += table.put('override', `y${i}`, { before: 'a' });
    expect(table.read()).to.deep.equal(table.kept.ruleset);
    // Now and then all of them get new places.
    expect(written).to.be.below(600 * 20);
  });

  it('comes back as it was, whatever is changed', () => {
    const kind = fc.constantFrom<PushRuleKind>('override', 'content', 'room', 'underride');
    const id = fc.constantFrom('a', 'b', 'c', 'd', 'e');
    const anyId = fc.oneof(id, fc.constantFrom('.m.rule.master', '.m.rule.message', '.m.rule.reaction'));
    const actions = fc.constantFrom([], ['notify'], ['notify', { set_tweak: 'highlight' }]);
    const step = fc.oneof(
      fc.record({ do: fc.constant('put' as const), kind, id, before: fc.option(id), after: fc.option(id), actions }),
      fc.record({ do: fc.constant('remove' as const), kind, id }),
      fc.record({ do: fc.constant('enable' as const), kind, id: anyId, enabled: fc.boolean() }),
      fc.record({ do: fc.constant('act' as const), kind, id: anyId, actions }),
      fc.record({ do: fc.constant('copy' as const), from: id, to: id }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const table = new Table();
        for (const one of steps) {
          const { ruleset } = table.kept;
          if (one.do === 'put') {
            const place = { before: one.before ?? undefined, after: one.after ?? undefined };
            table.put(one.kind, one.id, place, { actions: one.actions as PushRule['actions'] });
          } else if (one.do === 'remove') table.change(removeRule(ruleset, one.kind, one.id));
          else if (one.do === 'enable') table.change(setRuleEnabled(ruleset, one.kind, one.id, one.enabled));
          else if (one.do === 'act') table.change(setRuleActions(ruleset, one.kind, one.id, one.actions));
          else table.change({ ok: true, ruleset: copyRoomRules(ruleset, one.from, one.to) });
          expect(table.read()).to.deep.equal(table.kept.ruleset);
          expect(keptRulesFrom([...table.rows.values()], ALICE)).to.deep.equal(table.kept);
        }
      }),
      { numRuns: 300 },
    );
  });
});
