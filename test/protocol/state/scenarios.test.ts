import { expect } from 'chai';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { resolveLargeState } from '#src/protocol/state/packed/resolve-large-state.ts';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { StateMap } from '#src/protocol/state/state-map.ts';
import { rules } from '../events/event-cases.ts';
import { entries } from './agreement.ts';
import { CREATOR, RoomDag } from './room-dag.ts';
import type { StateDraft } from './room-dag.ts';

const ALICE = '@alice:a';
const BOB = '@bob:b';
const EVE = '@eve:c';
const SINCE_V2 = ['2', '6', '11', '12'];

const member = (sender: string, target: string, membership: string, more: JsonObject = {}): StateDraft => ({
  type: 'm.room.member',
  sender,
  stateKey: target,
  content: { membership, ...more },
});
const topic = (sender: string, text: string): StateDraft => ({
  type: 'm.room.topic',
  sender,
  content: { topic: text },
});
const joinRule = (sender: string, rule: string): StateDraft => ({
  type: 'm.room.join_rules',
  sender,
  content: { join_rule: rule },
});

/** A room of Alice (who made it), Bob and, where he is let in, Eve. */
class Scenario {
  readonly room: RoomDag;
  tip: string;

  constructor(version: string, users: Readonly<Record<string, number>>, rule = 'public') {
    this.room = new RoomDag(rules(version));
    this.tip = this.room.must(member(CREATOR, CREATOR, 'join'), [this.room.create.eventId]);
    this.next(this.power(CREATOR, users));
    this.next(joinRule(CREATOR, 'public'));
    for (const user of [ALICE, BOB]) this.next(member(user, user, 'join'));
    if (rule !== 'public') this.next(joinRule(CREATOR, rule));
  }

  power(sender: string, users: Readonly<Record<string, number>>, more: JsonObject = {}): StateDraft {
    // The creator stands above all levels since v12 and may not be listed.
    const creator = this.room.version.auth.privilegedCreators ? {} : { [CREATOR]: 100 };
    return { type: 'm.room.power_levels', sender, content: { users: { ...creator, ...users }, ...more } };
  }

  next(draft: StateDraft): string {
    this.tip = this.room.must(draft, [this.tip]);
    return this.tip;
  }

  /** Events one after another from the present tip, which stays where it is. */
  fork(...drafts: readonly StateDraft[]): string[] {
    let last = this.tip;
    return drafts.map((draft) => (last = this.room.must(draft, [last])));
  }

  get state(): StateMap<string> {
    return this.room.stateAfter(this.tip);
  }

  /** The resolution of states, which the fast implementation must share. */
  resolve(...stateSets: readonly StateMap<string>[]): (type: string, stateKey?: string) => string | undefined {
    const resolved = resolveState(this.room.version, stateSets, this.room.access);
    const large = resolveLargeState(this.room.version, stateSets, this.room.access);
    expect(entries(large)).to.deep.equal(entries(resolved));
    return (type, stateKey = '') => resolved.get(stateMapKey(type, stateKey));
  }

  /** The resolution of the states after some events. */
  merge(...tips: readonly (string | undefined)[]): (type: string, stateKey?: string) => string | undefined {
    return this.resolve(...tips.map((tip) => this.room.stateAfter(tip ?? '')));
  }
}

const last = (ids: readonly string[]): string | undefined => ids.at(-1);
const changed = (state: StateMap<string>, entry: [string, string], id: string | undefined): StateMap<string> => {
  const copy = new Map(state);
  if (id === undefined) copy.delete(stateMapKey(...entry));
  else copy.set(stateMapKey(...entry), id);
  return copy;
};

describe('state resolution v2 and v2.1 under attack', () => {
  for (const version of SINCE_V2) {
    describe(`room version ${version}`, () => {
      it('keeps who was banned out, even if they act on a fork that does not know of the ban', () => {
        const room = new Scenario(version, { [ALICE]: 100, [EVE]: 50 });
        const join = room.next(member(EVE, EVE, 'join'));
        const [ban] = room.fork({ ...member(ALICE, EVE, 'ban'), ts: 500 });
        const evasion = room.fork(
          { ...topic(EVE, 'mine'), ts: 1 },
          { ...member(EVE, EVE, 'join', { displayname: 'E' }), ts: 2 },
        );
        const resolved = room.merge(ban, last(evasion));
        expect(resolved('m.room.member', EVE)).to.equal(ban).and.not.equal(join);
        expect(resolved('m.room.topic')).to.equal(undefined);
      });

      it('applies a loss of power before what its loser did meanwhile', () => {
        const room = new Scenario(version, { [ALICE]: 100, [BOB]: 50 });
        const old = room.next(topic(ALICE, 'ours'));
        const [demotion] = room.fork({ ...room.power(ALICE, { [ALICE]: 100 }), ts: 900 });
        const abuse = room.fork({ ...topic(BOB, 'mine'), ts: 2 }, { ...joinRule(BOB, 'invite'), ts: 3 });
        const resolved = room.merge(demotion, last(abuse));
        expect(resolved('m.room.power_levels')).to.equal(demotion);
        expect(resolved('m.room.topic')).to.equal(old);
        expect(resolved('m.room.join_rules')).to.equal(room.state.get(stateMapKey('m.room.join_rules', '')));
      });

      it('keeps a stranger out who joins past a closing of the room', () => {
        const room = new Scenario(version, { [ALICE]: 100 });
        const [closing] = room.fork({ ...joinRule(ALICE, 'invite'), ts: 900 });
        const [intrusion] = room.fork({ ...member(EVE, EVE, 'join'), ts: 1 });
        const resolved = room.merge(closing, intrusion);
        expect(resolved('m.room.join_rules')).to.equal(closing);
        expect(resolved('m.room.member', EVE)).to.equal(undefined);
      });

      it('lets a ban and a change of power by the same person follow one another as sent', () => {
        const room = new Scenario(version, { [ALICE]: 100, [BOB]: 50 });
        const first = room.fork(room.power(ALICE, { [ALICE]: 100 }), member(ALICE, BOB, 'ban'));
        const second = room.fork(room.power(BOB, { [ALICE]: 100, [BOB]: 50 }, { users_default: 10 }));
        const resolved = room.merge(last(first), last(second));
        expect(resolved('m.room.member', BOB)).to.equal(first[1]);
        expect(resolved('m.room.power_levels')).to.equal(first[0]);
      });

      it('takes the later of two topics, whoever has more power', () => {
        const room = new Scenario(version, { [ALICE]: 100, [BOB]: 50 });
        const [early] = room.fork({ ...topic(ALICE, 'early'), ts: 100 });
        const [late] = room.fork({ ...topic(BOB, 'late'), ts: 200 });
        expect(room.merge(early, late)('m.room.topic')).to.equal(late);
        expect(room.merge(late, early)('m.room.topic')).to.equal(late);
      });

      it('puts a topic that was set under older power levels before one under newer, whatever their clocks say', () => {
        const room = new Scenario(version, { [ALICE]: 100, [BOB]: 50 });
        const [stale] = room.fork({ ...topic(BOB, 'from the future'), ts: 1_000_000 });
        const fresh = room.fork(room.power(ALICE, { [ALICE]: 100, [BOB]: 60 }), { ...topic(ALICE, 'now'), ts: 0 });
        expect(room.merge(stale, last(fresh))('m.room.topic')).to.equal(last(fresh));
      });

      it('does not bring back the past on a fork of nothing but chatter', () => {
        const room = new Scenario(version, { [ALICE]: 100, [BOB]: 50 });
        const old = room.tip;
        const levels = room.next(room.power(ALICE, { [ALICE]: 100, [BOB]: 75 }));
        const ban = room.next(member(BOB, EVE, 'ban'));
        const resolved = room.merge(room.tip, old);
        expect(resolved('m.room.power_levels')).to.equal(levels);
        expect(resolved('m.room.member', EVE)).to.equal(ban);
      });
    });
  }
});

describe('state resets that a later algorithm mends', () => {
  // The membership of whoever changed the power levels is in conflict, so that v1 cannot check the change.
  for (const { version, holds } of [
    { version: '1', holds: false },
    { version: '2', holds: true },
    { version: '12', holds: true },
  ]) {
    it(`a change of power ${holds ? 'holds' : 'is lost'} in version ${version} while its sender renames herself`, () => {
      const room = new Scenario(version, { [ALICE]: 100 });
      const before = room.state.get(stateMapKey('m.room.power_levels', ''));
      const forkOne = room.fork(
        room.power(ALICE, { [ALICE]: 100, [BOB]: 50 }),
        member(ALICE, ALICE, 'join', { displayname: 'A' }),
      );
      const forkTwo = room.fork(member(ALICE, ALICE, 'join', { displayname: 'B' }));
      const resolved = room.merge(last(forkOne), last(forkTwo));
      expect(resolved('m.room.power_levels')).to.equal(holds ? forkOne[0] : before);
    });
  }

  // MSC4297: what is unconflicted (a room closed since) must not judge what happened before it.
  for (const { version, holds } of [
    { version: '11', holds: false },
    { version: '12', holds: true },
  ]) {
    it(`a member ${holds ? 'stays in' : 'drops out of'} a room of version ${version} closed since, when one state lost the join`, () => {
      const room = new Scenario(version, { [ALICE]: 100 }, 'invite');
      const join = room.state.get(stateMapKey('m.room.member', BOB));
      const without = changed(room.state, ['m.room.member', BOB], undefined);
      expect(room.resolve(room.state, without)('m.room.member', BOB)).to.equal(holds ? join : undefined);
    });
  }

  // MSC4297: what lies between two conflicted events must be replayed with them.
  for (const { version, holds } of [
    { version: '11', holds: false },
    { version: '12', holds: true },
  ]) {
    it(`power levels ${holds ? 'hold' : 'fall back'} in version ${version} when the step between old and new is in all auth chains`, () => {
      const room = new Scenario(version, { [ALICE]: 100 });
      const oldest = room.state.get(stateMapKey('m.room.power_levels', ''));
      room.next(room.power(ALICE, { [ALICE]: 100, [BOB]: 100 }));
      // Cites the step between, and stands in both states.
      room.next(topic(BOB, 'mine'));
      const newest = room.next(room.power(BOB, { [ALICE]: 100, [BOB]: 100 }, { ban: 75 }));
      const fallenBack = changed(room.state, ['m.room.power_levels', ''], oldest);
      expect(room.resolve(room.state, fallenBack)('m.room.power_levels')).to.equal(holds ? newest : oldest);
    });
  }
});

describe('creators in state resolution', () => {
  it('orders what a creator did before what anybody of level 100 did earlier, since v12', () => {
    const room = new Scenario('12', { [BOB]: 100 });
    const [ban] = room.fork({ ...member(BOB, ALICE, 'ban'), ts: 1 });
    const [demotion] = room.fork({ ...room.power(CREATOR, {}), ts: 900 });
    const resolved = room.merge(ban, demotion);
    expect(resolved('m.room.power_levels')).to.equal(demotion);
    expect(resolved('m.room.member', ALICE)).to.equal(room.state.get(stateMapKey('m.room.member', ALICE)));
  });

  it('orders them by time where both have level 100, until v11', () => {
    const room = new Scenario('11', { [BOB]: 100 });
    const [ban] = room.fork({ ...member(BOB, ALICE, 'ban'), ts: 1 });
    const [invitation] = room.fork({ ...room.power(CREATOR, { [BOB]: 100 }, { ban: 100 }), ts: 900 });
    const resolved = room.merge(ban, invitation);
    expect(resolved('m.room.power_levels')).to.equal(invitation);
    expect(resolved('m.room.member', ALICE)).to.equal(ban);
  });

  it('counts additional creators in', () => {
    const room = new RoomDag(rules('12'), { additional_creators: [ALICE] });
    let tip = room.must(member(CREATOR, CREATOR, 'join'), [room.create.eventId]);
    for (const draft of [joinRule(CREATOR, 'public'), member(ALICE, ALICE, 'join'), member(BOB, BOB, 'join')])
      tip = room.must(draft, [tip]);
    tip = room.must({ type: 'm.room.power_levels', sender: ALICE, content: { users: { [BOB]: 100 } } }, [tip]);
    const kick = room.must({ ...member(BOB, EVE, 'ban'), ts: 1 }, [tip]);
    const demotion = room.must({ type: 'm.room.power_levels', sender: ALICE, content: { users: {} }, ts: 900 }, [tip]);
    const resolved = room.stateAt([kick, demotion]);
    expect(resolved.get(stateMapKey('m.room.power_levels', ''))).to.equal(demotion);
    expect(resolved.has(stateMapKey('m.room.member', EVE))).to.equal(false);
  });
});
