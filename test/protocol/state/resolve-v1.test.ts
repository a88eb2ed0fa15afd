import { expect } from 'chai';
import { hash } from 'node:crypto';
import { resolveState } from '#src/protocol/state/resolve-state.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import { rules } from '../events/event-cases.ts';
import { CREATOR, RoomDag } from './room-dag.ts';
import type { StateDraft } from './room-dag.ts';

const ALICE = '@alice:a';
const BOB = '@bob:b';

describe('state resolution v1', () => {
  let room: RoomDag;
  let tip: string;
  const topic = (sender: string, depth: number): StateDraft => ({ type: 'm.room.topic', sender, depth });
  const power = (sender: string, users: Readonly<Record<string, number>>, depth: number): StateDraft => ({
    type: 'm.room.power_levels',
    sender,
    content: { users: { [CREATOR]: 100, ...users } },
    depth,
  });
  const sha1 = (id: string): string => hash('sha1', id, 'hex');
  const merged = (ids: readonly string[], type: string, stateKey = ''): string | undefined =>
    room.stateAt(ids).get(stateMapKey(type, stateKey));

  beforeEach(() => {
    room = new RoomDag(rules('1'));
    tip = room.must({ type: 'm.room.member', sender: CREATOR, stateKey: CREATOR, content: { membership: 'join' } }, [
      room.create.eventId,
    ]);
    for (const draft of [
      power(CREATOR, { [ALICE]: 100, [BOB]: 50 }, 2),
      { type: 'm.room.join_rules', sender: CREATOR, content: { join_rule: 'public' } },
      { type: 'm.room.member', sender: ALICE, stateKey: ALICE, content: { membership: 'join' } },
      { type: 'm.room.member', sender: BOB, stateKey: BOB, content: { membership: 'join' } },
    ])
      tip = room.must(draft, [tip]);
  });

  it('takes an entry that only some states have', () => {
    const id = room.must(topic(ALICE, 10), [tip]);
    expect(merged([tip, id], 'm.room.topic')).to.equal(id);
  });

  it('picks the topic of the highest depth', () => {
    const ids = [12, 30, 11].map((depth) => room.must(topic(ALICE, depth), [tip]));
    expect(merged(ids, 'm.room.topic')).to.equal(ids[1]);
  });

  it('picks the topic of the lowest SHA-1 of the event id among those of the same depth', () => {
    const ids = [1, 2, 3, 4].map(() => room.must(topic(ALICE, 10), [tip]));
    const lowest = [...ids].sort((x, y) => (sha1(x) < sha1(y) ? -1 : 1))[0];
    expect(merged(ids, 'm.room.topic')).to.equal(lowest);
  });

  it('passes over topics that the resolved power levels do not allow', () => {
    const allowed = room.must(topic(ALICE, 10), [tip]);
    const forbidden = room.must(topic(BOB, 50), [tip]);
    const demotion = room.must(power(ALICE, { [ALICE]: 100 }, 60), [tip]);
    expect(merged([allowed, forbidden], 'm.room.topic')).to.equal(forbidden);
    expect(merged([allowed, forbidden, demotion], 'm.room.topic')).to.equal(allowed);
  });

  it('keeps the topic of the lowest depth when none is allowed', () => {
    const ids = [40, 50].map((depth) => room.must(topic(BOB, depth), [tip]));
    const demotion = room.must(power(ALICE, { [ALICE]: 100 }, 60), [tip]);
    expect(merged([...ids, demotion], 'm.room.topic')).to.equal(ids[0]);
  });

  it('follows power levels in the order of depth up to the first that is not allowed', () => {
    const first = room.must(power(ALICE, { [ALICE]: 100, [BOB]: 0 }, 20), [tip]);
    const refused = room.must(power(BOB, { [ALICE]: 100, [BOB]: 50, '@x:b': 50 }, 30), [tip]);
    const never = room.must(power(ALICE, { [ALICE]: 100, [BOB]: 0, '@x:b': 10 }, 40), [tip]);
    expect(merged([first, never], 'm.room.power_levels')).to.equal(never);
    expect(merged([first, refused, never], 'm.room.power_levels')).to.equal(first);
  });

  it('resolves power levels first, then join rules, then memberships', () => {
    const demotion = room.must(power(ALICE, { [ALICE]: 100 }, 20), [tip]);
    const promotion = room.must(power(ALICE, { [ALICE]: 100, [BOB]: 50 }, 10), [tip]);
    const open = room.must({ type: 'm.room.join_rules', sender: ALICE, content: { join_rule: 'public' }, depth: 10 }, [
      promotion,
    ]);
    const closed = room.must({ type: 'm.room.join_rules', sender: BOB, content: { join_rule: 'invite' }, depth: 30 }, [
      promotion,
    ]);
    expect(merged([open, closed], 'm.room.join_rules')).to.equal(closed);
    expect(merged([open, closed, demotion], 'm.room.join_rules')).to.equal(open);
  });

  it('is the state itself for one state, and empty for none', () => {
    const state = room.stateAfter(tip);
    expect(resolveState(room.version, [state], room.access)).to.equal(state);
    expect(resolveState(room.version, [], room.access).size).to.equal(0);
  });
});
