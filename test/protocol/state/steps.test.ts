import { expect } from 'chai';
import type { IdentifiedPdu, Pdu } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { compareEventIds } from '#src/protocol/state/event-order.ts';
import { authDifference, conflictedStateSubgraph, withAuthChains } from '#src/protocol/state/full-conflicted-set.ts';
import { iterativeAuthChecks } from '#src/protocol/state/iterative-auth-checks.ts';
import { mainlineOf, mainlineOrdering, mainlinePosition } from '#src/protocol/state/mainline-ordering.ts';
import {
  isPowerEvent,
  reverseTopologicalPowerOrdering,
  selectPowerEvents,
} from '#src/protocol/state/power-ordering.ts';
import {
  authGraphOf,
  Numbering,
  packedAuthDifference,
  packedConflictedSubgraph,
} from '#src/protocol/state/packed/auth-graph.ts';
import { packResolution } from '#src/protocol/state/packed/packed-resolution.ts';
import { resolvePacked } from '#src/protocol/state/packed/resolve-packed.ts';
import { separate, separateV1 } from '#src/protocol/state/separate.ts';
import { stateMapKey } from '#src/protocol/state/state-map.ts';
import type { StateResolutionAccess } from '#src/protocol/state/state-map.ts';
import { rules } from '../events/event-cases.ts';

const V11 = rules('11');
const A = '@a:a';
const B = '@b:b';

interface Draft {
  readonly type?: string;
  readonly sender?: string;
  readonly key?: string;
  readonly content?: JsonObject;
  readonly ts?: number;
  readonly auth?: readonly string[];
  readonly rejected?: boolean;
}

function accessTo(drafts: Readonly<Record<string, Draft>>): StateResolutionAccess<string> {
  const event = (id: string): IdentifiedPdu | undefined => {
    const draft = drafts[id];
    if (draft === undefined) return undefined;
    const pdu: Pdu = {
      type: draft.type ?? 'x.y',
      sender: draft.sender ?? A,
      state_key: draft.key ?? '',
      content: draft.content ?? {},
      origin_server_ts: draft.ts ?? 0,
      depth: 1,
      prev_events: draft.type === 'm.room.create' ? [] : ['$p'],
      auth_events: [],
      hashes: {},
      signatures: {},
      room_id: '!r:a',
    };
    return { eventId: id, pdu, ...(draft.rejected === undefined ? {} : { rejected: draft.rejected }) };
  };
  return { create: '$create', event, authEvents: (id) => drafts[id]?.auth ?? [] };
}

const CREATE: Draft = { type: 'm.room.create', content: { room_version: '11' } };
const levels = (users: JsonObject, ...auth: string[]): Draft => ({
  type: 'm.room.power_levels',
  content: { users },
  auth,
});

describe('the steps of state resolution', () => {
  it('counts an entry that is missing somewhere as a conflict since v2, but not in v1', () => {
    const sets = [new Map([['k', 1], ['l', 2]]), new Map([['k', 1], ['m', 3]]), new Map([['k', 1], ['m', 4]])]; // prettier-ignore
    expect([...separate(sets).unconflicted]).to.deep.equal([['k', 1]]);
    expect([...separate(sets).conflicted.keys()]).to.deep.equal(['l', 'm']);
    expect([...separateV1(sets).unconflicted.keys()]).to.deep.equal(['k', 'l']);
    expect([...(separateV1(sets).conflicted.get('m') ?? [])]).to.deep.equal([3, 4]);
  });

  // 1 <- 2 <- 3 <- 4 and 2 <- 5 <- 6; 7 alone
  const auth: Readonly<Record<number, readonly number[]>> = { 2: [1], 3: [2, 1], 4: [3], 5: [2], 6: [5] };
  const graph = { create: 0, event: () => undefined, authEvents: (id: number) => auth[id] ?? [] };
  const states = (...sets: number[][]): Map<string, number>[] =>
    sets.map((ids) => new Map(ids.map((id) => [`${id}`, id])));

  it('follows auth chains to their ends', () => {
    expect([...withAuthChains(graph, [4])].sort()).to.deep.equal([1, 2, 3, 4]);
  });

  for (const { sets, difference } of [
    { sets: [[4], [6]], difference: [3, 4, 5, 6] },
    { sets: [[4, 6], [6]], difference: [3, 4] },
    { sets: [[2], [3], [4]], difference: [3, 4] },
    { sets: [[7], [1]], difference: [1, 7] },
    { sets: [[4], [4]], difference: [] },
  ]) {
    it(`finds the auth difference of ${JSON.stringify(sets)}`, () => {
      expect([...authDifference(graph, states(...sets))].sort()).to.deep.equal(difference);
      const numbering = new Numbering<number>();
      const packed = sets.map((ids) => Int32Array.from(ids, (id) => numbering.add(id)));
      const found = packedAuthDifference(authGraphOf(numbering, graph.authEvents), packed);
      expect([...found].map((number) => numbering.ids[number]).sort()).to.deep.equal(difference);
    });
  }

  for (const { conflicted, subgraph } of [
    { conflicted: [1, 4], subgraph: [1, 2, 3, 4] },
    { conflicted: [4, 6], subgraph: [4, 6] },
    { conflicted: [2, 4, 6], subgraph: [2, 3, 4, 5, 6] },
    { conflicted: [7], subgraph: [7] },
  ]) {
    it(`finds the conflicted state subgraph of ${JSON.stringify(conflicted)}`, () => {
      expect([...conflictedStateSubgraph(graph, new Set(conflicted))].sort()).to.deep.equal(subgraph);
      const numbering = new Numbering<number>();
      const numbers = Int32Array.from(conflicted, (id) => numbering.add(id));
      const found = packedConflictedSubgraph(authGraphOf(numbering, graph.authEvents), numbers);
      expect([...found].map((number) => numbering.ids[number]).sort()).to.deep.equal(subgraph);
    });
  }

  it('knows which events take something away from others', () => {
    const access = accessTo({
      $levels: { type: 'm.room.power_levels' },
      $rules: { type: 'm.room.join_rules' },
      $otherRules: { type: 'm.room.join_rules', key: 'x' },
      $ban: { type: 'm.room.member', key: B, content: { membership: 'ban' } },
      $kick: { type: 'm.room.member', key: B, content: { membership: 'leave' } },
      $leave: { type: 'm.room.member', key: A, content: { membership: 'leave' } },
      $invite: { type: 'm.room.member', key: B, content: { membership: 'invite' } },
      $topic: { type: 'm.room.topic' },
    });
    const ids = ['$levels', '$rules', '$otherRules', '$ban', '$kick', '$leave', '$invite', '$topic'];
    const power = ids.filter((id) => isPowerEvent((access.event(id) as IdentifiedPdu).pdu));
    expect(power).to.deep.equal(['$levels', '$rules', '$ban', '$kick']);
  });

  it('adds to the power events what they rest on, as far as it is in the full conflicted set', () => {
    const access = accessTo({
      $ban: { type: 'm.room.member', key: B, content: { membership: 'ban' }, auth: ['$in', '$out'] },
      $in: { auth: ['$deep'] },
      $deep: {},
      $out: {},
      $alone: {},
    });
    const selected = selectPowerEvents(access, new Set(['$ban', '$in', '$deep', '$alone']));
    expect([...selected].sort()).to.deep.equal(['$ban', '$deep', '$in']);
  });

  it('orders power events by auth events, then power, then time, then event id', () => {
    const access = accessTo({
      $create: CREATE,
      $levels: levels({ [A]: 100, [B]: 50 }, '$create'),
      $weak: { sender: B, ts: 1, auth: ['$create', '$levels'] },
      $strong: { sender: A, ts: 9, auth: ['$create', '$levels'] },
      $later: { sender: A, ts: 10, auth: ['$create', '$levels'] },
      $laterB: { sender: A, ts: 10, auth: ['$create', '$levels'] },
      $after: { sender: A, ts: 0, auth: ['$create', '$levels', '$weak'] },
    });
    const ids = new Set(['$after', '$laterB', '$weak', '$later', '$strong']);
    const ordering = ['$strong', '$later', '$laterB', '$weak', '$after'];
    expect(reverseTopologicalPowerOrdering(V11, access, ids)).to.deep.equal(ordering);
  });

  it('takes the creator for the only one with power where there are no power levels', () => {
    const access = accessTo({
      $create: { ...CREATE, sender: B },
      $1: { sender: A, ts: 0, auth: ['$create'] },
      $2: { sender: B, ts: 5, auth: ['$create'] },
    });
    expect(reverseTopologicalPowerOrdering(V11, access, new Set(['$1', '$2']))).to.deep.equal(['$2', '$1']);
  });

  it('orders the rest by the mainline, then time, then event id', () => {
    const access = accessTo({
      $p0: levels({}),
      $p1: levels({}, '$p0'),
      $p2: levels({}, '$p1'),
      $side: levels({}, '$p0'),
      $new: { ts: 0, auth: ['$p2'] },
      $middle: { ts: 50, auth: ['$p1'] },
      $viaSide: { ts: 99, auth: ['$side'] },
      $old: { ts: 99, auth: ['$p0'] },
      $older: { ts: 98, auth: ['$p0'] },
      $none: { ts: 100 },
    });
    const mainline = mainlineOf(access, '$p2');
    expect([...mainline]).to.deep.equal([['$p2', 0], ['$p1', 1], ['$p0', 2]]); // prettier-ignore
    expect(mainlinePosition(access, mainline, '$viaSide')).to.equal(2);
    expect(mainlinePosition(access, mainline, '$none')).to.equal(Infinity);
    const ids = ['$new', '$viaSide', '$none', '$older', '$old', '$middle'];
    const ordering = ['$none', '$older', '$old', '$viaSide', '$middle', '$new'];
    expect(mainlineOrdering(access, '$p2', ids)).to.deep.equal(ordering);
    expect(mainlineOrdering(access, undefined, ['$old', '$new', '$older'])).to.deep.equal(['$new', '$older', '$old']);
  });

  it('ends where auth events go in a circle, which only a liar can send', () => {
    const access = accessTo({ $x: levels({}, '$y'), $y: levels({}, '$x'), $e: { auth: ['$x'] }, $p: levels({}) });
    expect([...mainlineOf(access, '$x').keys()]).to.deep.equal(['$x', '$y']);
    expect(mainlinePosition(access, mainlineOf(access, '$p'), '$e')).to.equal(Infinity);
    const full = ['$e', '$x', '$y'];
    expect(resolvePacked(packResolution(V11, access, full, new Map()).packed).every((event) => event === -1)).to.equal(
      true,
    );
  });

  it('judges by the auth events what the state lacks, unless they were rejected', () => {
    const drafts = (rejected: boolean): Record<string, Draft> => ({
      $create: CREATE,
      $join: { type: 'm.room.member', key: A, content: { membership: 'join' }, auth: ['$create'], rejected },
      $topic: { type: 'm.room.topic', auth: ['$create', '$join'] },
    });
    const apply = (rejected: boolean): boolean => {
      const access = accessTo(drafts(rejected));
      const plain = iterativeAuthChecks(V11, access, new Map(), ['$topic']);
      const { packed } = packResolution(V11, access, ['$topic'], undefined);
      const large = resolvePacked(packed)[packed.keyNames.indexOf(stateMapKey('m.room.topic', ''))];
      expect(large).to.equal(plain.size === 1 ? 0 : -1);
      return plain.size === 1;
    };
    expect(apply(false)).to.equal(true);
    expect(apply(true)).to.equal(false);
  });

  it('lets the state weigh more than the auth events', () => {
    const access = accessTo({
      $create: CREATE,
      $join: { type: 'm.room.member', key: A, content: { membership: 'join' }, auth: ['$create'] },
      $ban: { type: 'm.room.member', sender: B, key: A, content: { membership: 'ban' } },
      $topic: { type: 'm.room.topic', auth: ['$create', '$join'] },
    });
    const banned = new Map([[stateMapKey('m.room.member', A), '$ban']]);
    expect(iterativeAuthChecks(V11, access, banned, ['$topic']).size).to.equal(1);
  });

  it('packs what can be cloned into another thread', () => {
    const access = accessTo({ $create: CREATE, $x: { auth: ['$create'] } });
    const { packed } = packResolution(V11, access, ['$x', '$unknown'], new Map([['k', '$create']]));
    expect(structuredClone(packed)).to.deep.equal(packed);
    expect(packed.fullCount).to.equal(1);
    expect(resolvePacked(structuredClone(packed))).to.deep.equal(resolvePacked(packed));
    expect(() => resolvePacked({ ...packed, roomVersion: 'x' })).to.throw(TypeError);
  });

  it('compares event ids by code points', () => {
    const ids = ['$\u{1F600}', '$\uFFFD', '$b', '$a', '$', '$aa', '$\uE000'];
    const bytes = (id: string): Buffer => Buffer.from(id);
    expect([...ids].sort(compareEventIds)).to.deep.equal([...ids].sort((x, y) => Buffer.compare(bytes(x), bytes(y))));
  });
});
