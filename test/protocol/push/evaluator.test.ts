import { expect } from 'chai';
import { DEFAULT_RULES, DEFAULT_RULES_WITH_LEGACY_MENTIONS } from '#src/protocol/push/default-rules.ts';
import { defaultClassOf, personallyConcerned, saysOnlyDefaults } from '#src/protocol/push/default-class.ts';
import { type PushVerdict, compileRuleset } from '#src/protocol/push/evaluator.ts';
import { evaluateFairly } from '#src/protocol/push/fair-evaluation.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { type PushContext, type PushEvent, PushSubject } from '#src/protocol/push/push-event.ts';
import type { PushCondition, PushRule, PushRuleset } from '#src/protocol/push/push-ruleset.ts';

const ALICE = '@alice:example.org';
const BOB = '@bob:example.org';

function event(content: Record<string, unknown>, members: Partial<PushEvent> = {}): PushEvent {
  return { type: 'm.room.message', sender: BOB, room_id: '!room:example.org', content, ...members };
}

function context(members: Partial<PushContext> = {}): PushContext {
  return { userId: ALICE, memberCount: 5, senderPowerLevel: 0, ...members };
}

const text = (body: string): PushEvent => event({ msgtype: 'm.text', body });

const EMPTY: PushRuleset = { override: [], content: [], postcontent: [], room: [], sender: [], underride: [] };

function rule(members: Partial<PushRule>): PushRule {
  return { rule_id: 'r', default: false, enabled: true, actions: ['notify'], ...members };
}

/** Whether the condition matches. */
function matches(condition: PushCondition, subject: PushEvent, ctx = context()): boolean {
  return compileRuleset({ ...EMPTY, override: [rule({ conditions: [condition] })] }).evaluate(subject, ctx).notify;
}

describe('the default push rules', () => {
  const rules = compileRuleset(DEFAULT_RULES.of(ALICE));
  const say = (subject: PushEvent, ctx = context()): PushVerdict => rules.evaluate(subject, ctx);

  it('notify of messages, with a sound in rooms of two', () => {
    expect(say(text('hello'))).to.deep.equal({ notify: true, highlight: false, actions: ['notify'] });
    expect(say(text('hello'), context({ memberCount: 2 })).actions).to.deep.equal([
      'notify',
      { set_tweak: 'sound', value: 'default' },
    ]);
    expect(say(event({}, { type: 'm.room.encrypted' })).notify).to.equal(true);
    expect(say(event({}, { type: 'm.call.invite' })).actions).to.deep.equal([
      'notify',
      { set_tweak: 'sound', value: 'ring' },
    ]);
  });

  it('treat the beginning and the end of a poll like a message, and answers to it in silence', () => {
    const poll = (what: string): PushEvent => event({}, { type: `org.matrix.msc3381.poll.${what}` });
    for (const what of ['start', 'end']) {
      expect(say(poll(what)).actions).to.deep.equal(['notify']);
      expect(say(poll(what), context({ memberCount: 2 })).actions).to.deep.equal([
        'notify',
        { set_tweak: 'sound', value: 'default' },
      ]);
    }
    // Also for whoever wants to hear of everything in the room.
    const ruleset = { ...DEFAULT_RULES.of(ALICE), room: [rule({ rule_id: '!room:example.org' })] };
    expect(compileRuleset(ruleset).evaluate(poll('response'), context()).notify).to.equal(false);
    expect(compileRuleset(ruleset).evaluate(poll('start'), context()).notify).to.equal(true);
  });

  it('never notify the sender', () => {
    expect(say(event({ body: 'x' }, { sender: ALICE })).notify).to.equal(false);
  });

  it('are silent about notices, memberships, reactions, server ACLs, edits and unknown events', () => {
    expect(say(event({ msgtype: 'm.notice', body: 'x' })).notify).to.equal(false);
    expect(say(event({ membership: 'join' }, { type: 'm.room.member', state_key: BOB })).notify).to.equal(false);
    expect(
      say(event({ membership: 'invite' }, { type: 'm.room.member', state_key: '@carol:example.org' })).notify,
    ).to.equal(false);
    expect(say(event({}, { type: 'm.reaction' })).notify).to.equal(false);
    expect(say(event({}, { type: 'm.room.server_acl', state_key: '' })).notify).to.equal(false);
    expect(say(event({ body: '* x', 'm.relates_to': { rel_type: 'm.replace', event_id: '$x' } })).notify).to.equal(
      false,
    );
    expect(say(event({}, { type: 'm.room.topic', state_key: '' })).notify).to.equal(false);
  });

  it('notify of my invitation', () => {
    expect(say(event({ membership: 'invite' }, { type: 'm.room.member', state_key: ALICE })).notify).to.equal(true);
  });

  it('highlight a mention of me, also in an edit', () => {
    const mention = { 'm.mentions': { user_ids: ['@x:example.org', ALICE] } };
    expect(say(event({ body: 'x', ...mention }))).to.include({ notify: true, highlight: true });
    expect(say(event({ body: 'x', ...mention, 'm.relates_to': { rel_type: 'm.replace' } })).highlight).to.equal(true);
    expect(say(event({ body: 'x', 'm.mentions': { user_ids: ALICE } })).highlight).to.equal(false);
  });

  it('highlight a room mention only from those who may', () => {
    const mention = event({ body: 'x', 'm.mentions': { room: true } });
    expect(say(mention, context({ senderPowerLevel: 49 }))).to.include({ notify: true, highlight: false });
    expect(say(mention, context({ senderPowerLevel: 50 })).highlight).to.equal(true);
    expect(say(mention, context({ senderPowerLevel: 10, notificationPowerLevels: { room: 10 } })).highlight).to.equal(
      true,
    );
    expect(say(mention, context({ senderPowerLevel: Infinity })).highlight).to.equal(true);
    expect(
      say(event({ body: 'x', 'm.mentions': { room: 'true' } }), context({ senderPowerLevel: 100 })).highlight,
    ).to.equal(false);
  });

  it('highlight a tombstone, but not an event that only looks like one', () => {
    expect(say(event({}, { type: 'm.room.tombstone', state_key: '' })).highlight).to.equal(true);
    expect(say(event({}, { type: 'm.room.tombstone' })).notify).to.equal(false);
  });

  it('are all silent when the master rule is enabled', () => {
    const ruleset = DEFAULT_RULES.of(ALICE);
    const muted = {
      ...ruleset,
      override: ruleset.override.map((r) => (r.rule_id === '.m.rule.master' ? { ...r, enabled: true } : r)),
    };
    expect(compileRuleset(muted).evaluate(text('x'), context()).notify).to.equal(false);
  });
});

describe('the default push rules for clients that do not say whom they mention', () => {
  const rules = compileRuleset(DEFAULT_RULES_WITH_LEGACY_MENTIONS.of(ALICE));
  const say = (subject: PushEvent, ctx = context({ displayName: 'Alice in Chains' })): PushVerdict =>
    rules.evaluate(subject, ctx);
  const NOTHING_SAID = {};

  it('highlight the display name and the user name in a message', () => {
    for (const body of ['hey alice, look', 'ALICE', 'so: Alice In Chains!'])
      expect(say(text(body)), body).to.include({ notify: true, highlight: true });
    for (const body of ['malice', 'alice_', 'in chains'])
      expect(say(text(body)), body).to.include({ notify: true, highlight: false });
  });

  it('highlight @room for those who may', () => {
    expect(say(text('@room: lunch'), context({ senderPowerLevel: 50 })).highlight).to.equal(true);
    expect(say(text('@room: lunch'), context({ senderPowerLevel: 49 })).highlight).to.equal(false);
    expect(say(text('@roomy'), context({ senderPowerLevel: 50 })).highlight).to.equal(false);
    const room = { memberCount: 5, senderPowerLevel: 50 };
    expect(defaultClassOf(text('hi @room'), room, DEFAULT_RULES_WITH_LEGACY_MENTIONS)).to.equal('highlight');
    expect(defaultClassOf(text('hi @room'), room)).to.equal('notify');
  });

  it('never count for a message that says whom it mentions, be it nobody', () => {
    for (const mentions of [NOTHING_SAID, { user_ids: [BOB] }, 'nonsense', null]) {
      const subject = event({ msgtype: 'm.text', body: 'alice, @room', 'm.mentions': mentions });
      expect(say(subject, context({ senderPowerLevel: 100, displayName: 'alice' })).highlight).to.equal(false);
    }
    expect(say(event({ body: 'x', 'm.mentions': { user_ids: [ALICE] } })).highlight).to.equal(true);
  });

  it('are silent in notices, and can be switched off one by one', () => {
    expect(say(event({ msgtype: 'm.notice', body: 'alice' })).notify).to.equal(false);
    const off = DEFAULT_RULES_WITH_LEGACY_MENTIONS.of(ALICE);
    const without = compileRuleset({ ...off, content: off.content.map((one) => ({ ...one, enabled: false })) });
    expect(without.evaluate(text('alice'), context()).highlight).to.equal(false);
  });

  it('are not there where they are not wanted', () => {
    expect(
      compileRuleset(DEFAULT_RULES.of(ALICE)).evaluate(text('alice'), context({ displayName: 'alice' })).highlight,
    ).to.equal(false);
    const ids = (ruleset: PushRuleset): string[] =>
      [...ruleset.override, ...ruleset.content].map(({ rule_id: ruleId }) => ruleId);
    const known = ids(DEFAULT_RULES.of(ALICE));
    expect(ids(DEFAULT_RULES_WITH_LEGACY_MENTIONS.of(ALICE)).filter((id) => !known.includes(id))).to.deep.equal([
      '.m.rule.contains_display_name',
      '.m.rule.roomnotif',
      '.m.rule.contains_user_name',
    ]);
  });
});

describe('push conditions', () => {
  it('event_match takes the whole value, whatever its case', () => {
    const topic = (value: unknown): PushEvent => event({ topic: value });
    const condition = { kind: 'event_match', key: 'content.topic', pattern: 'lunc?*' };
    expect(matches(condition, topic('Lunch plans'))).to.equal(true);
    expect(matches(condition, topic('LUNCH'))).to.equal(true);
    expect(matches(condition, topic(' lunch'))).to.equal(false);
    expect(matches(condition, topic('lunc'))).to.equal(false);
    expect(matches({ ...condition, pattern: '*' }, topic(null))).to.equal(false);
    expect(matches({ ...condition, pattern: '*' }, event({}))).to.equal(false);
  });

  it('event_match takes words of content.body', () => {
    const condition = { kind: 'event_match', key: 'content.body', pattern: 'ex*ple' };
    expect(matches(condition, text('An example event.'))).to.equal(true);
    expect(matches(condition, text('An exciting triple-whammy'))).to.equal(true);
    expect(matches(condition, text('contexample'))).to.equal(false);
  });

  it('event_property_is compares without casting', () => {
    const condition = { kind: 'event_property_is', key: 'content.m\\.federate', value: true };
    expect(matches(condition, event({ 'm.federate': true }))).to.equal(true);
    expect(matches(condition, event({ 'm.federate': 'true' }))).to.equal(false);
    expect(matches(condition, event({ 'm.federate': 1 }))).to.equal(false);
    expect(matches({ ...condition, value: null }, event({ 'm.federate': null }))).to.equal(true);
    expect(matches({ ...condition, value: null }, event({}))).to.equal(false);
    expect(matches({ ...condition, value: { a: 1 } }, event({ 'm.federate': { a: 1 } }))).to.equal(false);
  });

  it('event_property_contains looks for an exact element', () => {
    const condition = { kind: 'event_property_contains', key: 'content.alt_aliases', value: '#myroom:example.com' };
    expect(matches(condition, event({ alt_aliases: ['#x:example.org', '#myroom:example.com'] }))).to.equal(true);
    expect(matches(condition, event({ alt_aliases: ['x#myroom:example.com'] }))).to.equal(false);
    expect(matches(condition, event({ alt_aliases: '#myroom:example.com' }))).to.equal(false);
  });

  it('contains_display_name looks for the name as a word and without wildcards', () => {
    const condition = { kind: 'contains_display_name' };
    expect(matches(condition, text('hi ALICE!'), context({ displayName: 'Alice' }))).to.equal(true);
    expect(matches(condition, text('malice'), context({ displayName: 'Alice' }))).to.equal(false);
    expect(matches(condition, text('anything'), context({ displayName: '*' }))).to.equal(false);
    expect(matches(condition, text('anything'), context({ displayName: '' }))).to.equal(false);
    expect(matches(condition, text('anything'))).to.equal(false);
  });

  it('room_member_count understands all its prefixes', () => {
    const of = (is: string, memberCount: number): boolean =>
      matches({ kind: 'room_member_count', is }, text('x'), context({ memberCount }));
    expect([of('2', 2), of('==2', 2), of('2', 3)]).to.deep.equal([true, true, false]);
    expect([of('<2', 1), of('<2', 2), of('<=2', 2), of('>2', 3), of('>2', 2), of('>=2', 2)]).to.deep.equal([
      true,
      false,
      true,
      true,
      false,
      true,
    ]);
    expect([of('=2', 2), of('two', 2), of('', 0), of(' 2', 2)]).to.deep.equal([false, false, false, false]);
  });

  it('of an unknown kind never match, whatever stands beside them', () => {
    expect(matches({ kind: 'org.matrix.msc3931.room_version_supports', feature: 'x' }, text('x'))).to.equal(false);
    const both = rule({
      conditions: [
        { kind: 'event_match', key: 'type', pattern: '*' },
        { kind: 'im.nheko.msc3664.related_event_match' },
      ],
    });
    expect(compileRuleset({ ...EMPTY, override: [both] }).evaluate(text('x'), context()).notify).to.equal(false);
  });
});

describe('push rule evaluation', () => {
  it('checks override, content, postcontent, room, sender, underride in this order', () => {
    const tweak = (value: string): PushRule['actions'] => ['notify', { set_tweak: 'sound', value }];
    const all: Record<string, PushRule> = {
      override: rule({ actions: tweak('override') }),
      content: rule({ pattern: 'cake', actions: tweak('content') }),
      postcontent: rule({ actions: tweak('postcontent') }),
      room: rule({ rule_id: '!room:example.org', actions: tweak('room') }),
      sender: rule({ rule_id: BOB, actions: tweak('sender') }),
      underride: rule({ actions: tweak('underride') }),
    };
    const kinds = Object.keys(all);
    const order: unknown[] = [];
    for (let i = 0; i < kinds.length; i++) {
      const rest = Object.fromEntries(
        kinds.map((kind, k) => [kind, k < i ? [] : [all[kind]!]]),
      ) as unknown as PushRuleset;
      order.push((compileRuleset(rest).evaluate(text('the cake'), context()).actions[1] as { value: unknown }).value);
    }
    expect(order).to.deep.equal(kinds);
  });

  it('passes over disabled rules and stops at the first that matches, even if it does nothing', () => {
    const off = rule({ enabled: false });
    const silent = rule({ actions: [] });
    expect(
      compileRuleset({ ...EMPTY, override: [off, silent, rule({})] }).evaluate(text('x'), context()).notify,
    ).to.equal(false);
  });

  it('takes a highlight without a value for true, and no highlight without a notification', () => {
    const highlight = (actions: PushRule['actions']): boolean =>
      compileRuleset({ ...EMPTY, override: [rule({ actions })] }).evaluate(text('x'), context()).highlight;
    expect(highlight(['notify', { set_tweak: 'highlight' }])).to.equal(true);
    expect(highlight(['notify', { set_tweak: 'highlight', value: false }])).to.equal(false);
    expect(highlight([{ set_tweak: 'highlight' }])).to.equal(false);
  });

  it('takes some dozens of steps for a message under the default rules', () => {
    const budget = new StepBudget(1_000);
    const verdict = compileRuleset(DEFAULT_RULES.of(ALICE)).evaluateWithin(
      budget,
      new PushSubject(text('hello '.repeat(5_000))),
      context(),
    );
    expect(verdict?.notify).to.equal(true);
    expect(1_000 - budget.left).to.be.lessThan(200);
  });

  it('takes no step of its own for a keyword that is one word, however long the message', () => {
    const rules = compileRuleset({ ...EMPTY, content: [rule({ pattern: 'cake' }), rule({ pattern: 'tea' })] });
    const budget = new StepBudget(100);
    const subject = new PushSubject(text(`${'no '.repeat(20_000)}TEA`));
    expect(rules.evaluateWithin(budget, subject, context())?.notify).to.equal(true);
  });

  it('takes a bounded number of steps for all users together, whatever their rules say', () => {
    const hostile = (key: string, pattern: string): PushRuleset => ({
      ...EMPTY,
      override: Array.from({ length: 500 }, (_, i) =>
        rule({ rule_id: `${i}`, conditions: [{ kind: 'event_match', key, pattern: `${pattern}${i}` }] }),
      ),
    });
    const subject = new PushSubject(event({ body: 'a'.repeat(30_000), x: 'a'.repeat(30_000), list: [] }));
    const users = [
      compileRuleset({ ...EMPTY, content: [rule({ pattern: 'a*', actions: ['notify'] })] }),
      ...[
        hostile('content.body', '?'.repeat(500)),
        hostile('content.body', `${'*a?'.repeat(160)}b`),
        hostile('content.body', `${'a'.repeat(500)}b`),
        hostile('content.body', 'a b'),
        hostile('content.x', `*${'?'.repeat(500)}b`),
        hostile('content.x', `*${'a?'.repeat(240)}b*`),
        hostile('content.a.'.repeat(90), '*'),
      ].map((one) => compileRuleset(one)),
    ];
    const most = 200_000;
    const budget = new StepBudget(most);
    const verdicts = evaluateFairly(
      users.map((rules) => ({ rules, context: context() })),
      subject,
      budget,
    );
    // The first one keeps its share, whoever else is there.
    expect(verdicts[0]?.notify).to.equal(true);
    expect(verdicts.slice(1, 3)).to.deep.equal([undefined, undefined]);
    expect(most - budget.left).to.be.at.most(1.2 * most);
  });

  it('never matches a pattern or a key that is longer than may be set', () => {
    const condition = { kind: 'event_match', key: 'content.x', pattern: '*'.repeat(513) };
    expect(matches(condition, event({ x: 'y' }))).to.equal(false);
    expect(matches({ ...condition, pattern: '*'.repeat(512) }, event({ x: 'y' }))).to.equal(true);
    const long = 'k'.repeat(993);
    const key = { kind: 'event_property_is', value: 1 };
    expect(matches({ ...key, key: `content.${long}` }, event({ [long]: 1 }))).to.equal(false);
    expect(matches({ ...key, key: `content.${long.slice(1)}` }, event({ [long.slice(1)]: 1 }))).to.equal(true);
  });
});

describe('the default notification class', () => {
  const room = { memberCount: 5, senderPowerLevel: 100 };
  const samples: PushEvent[] = [
    text('hello'),
    event({ msgtype: 'm.notice', body: 'x' }),
    event({ body: 'x', 'm.mentions': { room: true } }),
    event({ body: 'x', 'm.mentions': { user_ids: [ALICE] } }),
    event({ membership: 'invite' }, { type: 'm.room.member', state_key: ALICE }),
    event({ membership: 'leave' }, { type: 'm.room.member', state_key: ALICE }),
    event({}, { type: 'm.room.tombstone', state_key: '' }),
    event({}, { type: 'm.reaction' }),
    event({}, { type: 'm.room.encrypted' }),
    event({ body: 'y', 'm.mentions': { room: true }, 'm.relates_to': { rel_type: 'm.replace' } }),
    event({ body: 'y', 'm.relates_to': { rel_type: 'm.replace' } }),
  ];

  it('is what every user with default rules gets who is not concerned personally', () => {
    for (const sample of samples) {
      for (const userId of [ALICE, '@carol:example.org']) {
        if (personallyConcerned(sample).has(userId)) continue;
        const { notify, highlight } = compileRuleset(DEFAULT_RULES.of(userId)).evaluate(sample, { ...room, userId });
        expect(defaultClassOf(sample, room), JSON.stringify(sample)).to.equal(
          highlight ? 'highlight' : notify ? 'notify' : 'none',
        );
      }
    }
    expect(samples.map((sample) => defaultClassOf(sample, room))).to.include.members(['none', 'notify', 'highlight']);
  });

  it('names those whom an event mentions or invites', () => {
    expect([...personallyConcerned(samples[3]!)]).to.deep.equal([ALICE]);
    expect([...personallyConcerned(samples[4]!)]).to.deep.equal([ALICE]);
    expect([...personallyConcerned(samples[0]!)]).to.deep.equal([]);
    expect([...personallyConcerned(event({ 'm.mentions': { user_ids: [BOB, 7] } }))]).to.deep.equal([]);
  });

  it('holds only for users whose rules say what the default rules say', () => {
    const rules = DEFAULT_RULES.of(ALICE);
    expect(saysOnlyDefaults(rules, ALICE)).to.equal(true);
    expect(saysOnlyDefaults({ ...rules, content: [rule({ pattern: 'x' })] }, ALICE)).to.equal(false);
    expect(saysOnlyDefaults({ ...rules, content: [rule({ pattern: 'x', enabled: false })] }, ALICE)).to.equal(true);
    const changed = { ...rules, underride: rules.underride.map((r, i) => (i === 3 ? { ...r, actions: [] } : r)) };
    expect(saysOnlyDefaults(changed, ALICE)).to.equal(false);
  });
});
