import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { expect } from 'chai';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { MAX_STEPS } from '#src/services/push/classification/classifier.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { World } from './world.ts';

const ALICE = '@alice:test';
const BOB = '@bob:test';
const CAROL = '@carol:test';

describe('whom an event notifies', () => {
  let world: World;
  before(async () => {
    world = await World.begin();
  });
  after(() => world.end());

  const noted = async (
    room: Room,
    send: () => Promise<StoredEvent>,
  ): Promise<{ flags: number; exceptions: Record<string, number> }> => {
    const noted: { user: number; kind: number }[] = [];
    const stop = world.services.stream.on('appended', ({ events }) => {
      for (const { mentions } of events) for (const { user, kind } of mentions) noted.push({ user, kind });
    });
    const event = await send();
    stop();
    const rows = await world.services.database.query<{ user_nid: number; kind: number }>(
      { name: 'test_mentions_of', text: 'select user_nid, kind from mention where room = $1 and pos = $2' },
      [room.nid, event.nid],
    );
    const names = await world.services.interner.named({ users: noted.map(({ user }) => user) });
    const exceptions = Object.fromEntries(noted.map(({ user, kind }) => [names.userName(user), kind]));
    expect(Object.fromEntries(rows.map((row) => [names.userName(row.user_nid), row.kind]))).to.deep.equal(exceptions);
    return { flags: event.flags & (EVENT_FLAGS.notifies | EVENT_FLAGS.highlightsAll), exceptions };
  };
  const mention = (...userIds: string[]): { 'm.mentions': { user_ids: string[] } } => ({
    'm.mentions': { user_ids: userIds },
  });

  it('writes no row for a message, and none for those who are named but not here', async () => {
    const room = await world.room(ALICE, [BOB]);
    expect(await noted(room, () => world.say(room, ALICE, 'hello'))).to.deep.equal({ flags: 16, exceptions: {} });
    expect(
      await noted(room, () => world.say(room, ALICE, 'hi', mention(BOB, ALICE, '@nobody:test', '@x:elsewhere'))),
    ).to.deep.equal({
      flags: 16,
      exceptions: { [BOB]: 2 },
    });
    expect(
      await noted(room, () => world.say(room, ALICE, 'note', { msgtype: 'm.notice', ...mention(BOB) })),
    ).to.deep.equal({ flags: 0, exceptions: {} });
  });

  it('highlights for everybody when one with the power to says so', async () => {
    const room = await world.room(ALICE, [BOB]);
    const everybody = { 'm.mentions': { room: true } };
    expect(await noted(room, () => world.say(room, ALICE, '@room', everybody))).to.deep.equal({
      flags: 48,
      exceptions: {},
    });
    expect(await noted(room, () => world.say(room, BOB, '@room', everybody))).to.deep.equal({
      flags: 16,
      exceptions: {},
    });
  });

  it('notifies who is invited', async () => {
    const room = await world.room(ALICE);
    expect(await noted(room, () => world.member(room, ALICE, BOB, 'invite'))).to.deep.equal({
      flags: 0,
      exceptions: { [BOB]: 1 },
    });
  });

  it('follows changes of rules and members at once', async () => {
    const room = await world.room(ALICE, [BOB]);
    await world.services.pushRules.put(
      CAROL,
      'content',
      'cake',
      { pattern: 'cake', actions: ['notify', { set_tweak: 'highlight' }] },
      {},
    );
    expect((await noted(room, () => world.say(room, ALICE, 'cake'))).exceptions).to.deep.equal({});
    await world.join(room, CAROL);
    expect((await noted(room, () => world.say(room, ALICE, 'cake'))).exceptions).to.deep.equal({ [CAROL]: 2 });
    expect((await noted(room, () => world.say(room, ALICE, 'bread'))).exceptions).to.deep.equal({});
    await world.services.pushRules.put(BOB, 'sender', ALICE, { actions: [] }, {});
    expect((await noted(room, () => world.say(room, ALICE, 'cake'))).exceptions).to.deep.equal({
      [BOB]: 0,
      [CAROL]: 2,
    });
    await world.services.pushRules.remove(BOB, 'sender', ALICE);
    await world.member(room, CAROL, CAROL, 'leave');
    expect((await noted(room, () => world.say(room, ALICE, 'cake'))).exceptions).to.deep.equal({});
  });

  it('knows display names in the room where a rule asks for them', async () => {
    const room = await world.room(ALICE);
    await world.join(room, '@d9:test', { displayname: 'Dora the Explorer' });
    const rule = { actions: ['notify', { set_tweak: 'highlight' }], conditions: [{ kind: 'contains_display_name' }] };
    await world.services.pushRules.put('@d9:test', 'override', 'name', rule, {});
    expect((await noted(room, () => world.say(room, ALICE, 'where is dora the explorer?'))).exceptions).to.deep.equal({
      '@d9:test': 2,
    });
    await world.join(room, '@d9:test', { displayname: 'D' });
    expect((await noted(room, () => world.say(room, ALICE, 'where is dora the explorer?'))).exceptions).to.deep.equal(
      {},
    );
  });

  it('finds members by their names in messages that do not say whom they mention', async () => {
    const room = await world.room(ALICE, [BOB]);
    await world.join(room, CAROL, { displayname: 'Caroline the Great' });
    const exceptionsOf = async (body: string, content: JsonObject = {}): Promise<Record<string, number>> =>
      (await noted(room, () => world.say(room, ALICE, body, content))).exceptions;
    expect(await exceptionsOf('bob and caroline the great, come')).to.deep.equal({ [BOB]: 2, [CAROL]: 2 });
    expect(await exceptionsOf('alice speaks of herself')).to.deep.equal({});
    expect(await exceptionsOf('bob', { 'm.mentions': {} })).to.deep.equal({});
    expect(await exceptionsOf('bob', { 'm.mentions': { user_ids: [CAROL] } })).to.deep.equal({ [CAROL]: 2 });
    expect(await exceptionsOf('bob', { msgtype: 'm.notice' })).to.deep.equal({});
    await world.join(room, CAROL, { displayname: 'C' });
    expect(await exceptionsOf('caroline the great')).to.deep.equal({});
    await world.member(room, BOB, BOB, 'leave');
    expect(await exceptionsOf('bob')).to.deep.equal({});
    await world.join(room, BOB);
    await world.services.pushRules.setEnabled(BOB, 'content', '.m.rule.contains_user_name', false);
    expect(await exceptionsOf('bob')).to.deep.equal({});
    await world.services.pushRules.setEnabled(BOB, 'content', '.m.rule.contains_user_name', true);
    // Who wants to hear of mentions only hears of these.
    await world.services.pushRules.put(BOB, 'room', room.roomId, { actions: [] }, {});
    expect(await exceptionsOf('bob')).to.deep.equal({ [BOB]: 2 });
    expect(await exceptionsOf('nobody')).to.deep.equal({});
    await world.services.pushRules.remove(BOB, 'room', room.roomId);
  });

  it('looks at one member, not at all of them, when the rules of one have changed', async () => {
    const room = await world.room(ALICE, [BOB, CAROL]);
    await world.say(room, ALICE, 'warm');
    let walks = 0;
    const { members } = room;
    Object.defineProperty(room, 'members', {
      configurable: true,
      get: () => {
        walks += 1;
        return members;
      },
    });
    await world.services.pushRules.put(
      BOB,
      'content',
      'tea',
      { pattern: 'tea', actions: ['notify', { set_tweak: 'highlight' }] },
      {},
    );
    expect((await noted(room, () => world.say(room, ALICE, 'tea?'))).exceptions).to.deep.equal({ [BOB]: 2 });
    await world.services.pushRules.put('@elsewhere:test', 'content', 'tea', { pattern: 'tea', actions: [] }, {});
    await world.services.pushRules.setEnabled(BOB, 'content', 'tea', false);
    expect((await noted(room, () => world.say(room, ALICE, 'tea?'))).exceptions).to.deep.equal({});
    await world.services.pushRules.remove(BOB, 'content', 'tea');
    expect(walks).to.equal(0);
  });

  it('lets no message take more steps than it may, whatever rules its members have', async () => {
    const room = await world.room(ALICE, [BOB, CAROL]);
    const hostile = { pattern: `${'?'.repeat(480)}\u0001`, actions: ['notify'] };
    for (let i = 0; i < 20; i++) await world.services.pushRules.put(BOB, 'content', `h${i}`, hostile, {});
    await world.services.pushRules.put(
      CAROL,
      'content',
      'end',
      { pattern: 'the end', actions: ['notify', { set_tweak: 'highlight' }] },
      {},
    );
    let steps = 0;
    const { spend } = StepBudget.prototype;
    StepBudget.prototype.spend = function (this: StepBudget, some: number): void {
      steps += some;
      spend.call(this, some);
    };
    try {
      // Bob's share does not suffice: for him it is what it is for everybody. Carol's does.
      const { flags, exceptions } = await noted(room, () => world.say(room, ALICE, `${'a'.repeat(50_000)} the end`));
      expect({ flags, exceptions }).to.deep.equal({ flags: 16, exceptions: { [CAROL]: 2 } });
    } finally {
      StepBudget.prototype.spend = spend;
    }
    // Each step counts for its share, and the share for the whole.
    expect(steps).to.be.within(1, 2.2 * MAX_STEPS);
    for (let i = 0; i < 20; i++) await world.services.pushRules.remove(BOB, 'content', `h${i}`);
    await world.services.pushRules.remove(CAROL, 'content', 'end');
  });

  it('reads the rules of a whole room in one statement, the names in another, and nothing for a message after that', async function () {
    this.timeout(60_000);
    const members = Array.from({ length: 100 }, (_, i) => `@member${i}:test`);
    await world.services.interner.ensure({ users: members });
    const room = await world.room(ALICE);
    await world.services.events.sendAll(
      room,
      members.map((userId) => ({
        type: 'm.room.member',
        sender: userId,
        stateKey: userId,
        content: { membership: 'join' },
      })),
    );
    const said = mention();
    // The write itself, and the rules.
    expect(await world.statements(() => world.say(room, ALICE, 'first', said))).to.equal(2);
    expect(await world.statements(() => world.say(room, ALICE, 'second', mention('@member7:test')))).to.equal(1);
    // And the names, for the first message that does not say whom it mentions.
    expect(await world.statements(() => world.say(room, ALICE, 'third'))).to.equal(2);
    const { exceptions } = await noted(room, () => world.say(room, ALICE, 'hello member93'));
    expect(exceptions).to.deep.equal({ '@member93:test': 2 });
    expect(await world.statements(() => world.say(room, ALICE, 'hello member94'))).to.equal(1);
    await world.join(room, '@member50:test', { displayname: 'Fifty' });
    const statements = await world.statements(async () => {
      expect((await noted(room, () => world.say(room, ALICE, 'fifty?'))).exceptions).to.deep.equal({
        '@member50:test': 2,
      });
    });
    // `noted` reads what was written.
    expect(statements).to.equal(2);
  });
});
