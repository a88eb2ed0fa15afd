import { expect } from 'chai';
import type { RequiredState } from '#src/services/sync/sliding/sliding-request.ts';
import { StateWanted } from '#src/services/sync/sliding/required-state.ts';
import { Dice } from '#test/protocol/state/random-dag.ts';
import { LookUps } from '#test/support/look-ups.ts';
import { collectGarbage } from '#test/support/room-eviction.ts';

type Pairs = RequiredState['include'];

describe('what is wanted of the state of rooms', function () {
  this.timeout(60_000);

  const ALICE = '@alice:test';
  const plain = (include: Pairs): RequiredState => ({ include, exclude: [], lazyMembers: false });

  it('is what any of the lists and subscriptions includes and does not itself exclude', () => {
    const dice = new Dice(1);
    const types = ['a', 'b', 'm.room.member', '*'];
    const keys = ['', ALICE, '@bob:test', '*'];
    const some = (most: number): Pairs =>
      Array.from({ length: dice.below(most) }, () => [types[dice.below(4)]!, keys[dice.below(4)]!] as const);
    const wish = (): RequiredState => ({ include: some(4), exclude: some(3), lazyMembers: dice.below(3) === 0 });
    const isWanted = (configs: readonly RequiredState[], type: string, key: string): boolean =>
      configs.some(({ include, exclude, lazyMembers }) => {
        const stands = ([t, k]: readonly [string, string]): boolean =>
          (t === type || t === '*') && (k === key || k === '*');
        const isLazy = lazyMembers && type === 'm.room.member';
        return include.some((pair) => stands(pair) && !(isLazy && pair[0] === '*')) && !exclude.some(stands);
      });
    let covered = 0;
    for (let round = 0; round < 3_000; round += 1) {
      const [before, now] = [dice.below(4), dice.below(3)].map((count) => Array.from({ length: count }, wish));
      const told = StateWanted.of(before!, ALICE);
      const wanted = StateWanted.of(now!, ALICE);
      const entries = ['a', 'b', 'm.room.member'].flatMap((type) =>
        ['', ALICE, '@bob:test'].map((key) => [type, key] as const),
      );
      for (const [type, key] of entries) expect(told.has(type, key)).to.equal(isWanted(before!, type, key));
      if (!told.covers(wanted)) continue;
      covered += now!.length > 0 ? 1 : 0;
      for (const [type, key] of entries)
        if (isWanted(now!, type, key))
          expect(isWanted(before!, type, key), JSON.stringify([before, now])).to.equal(true);
    }
    expect(covered).to.be.greaterThan(100);
  });

  it('is covered by what was wanted before if it is less, or the same in other lists', () => {
    const [a, b, c] = [['a', ''] as const, ['b', ''] as const, ['c', ''] as const];
    const before = StateWanted.of([plain([a]), plain([b, c])], ALICE);
    expect(before.covers(StateWanted.of([plain([a, b]), plain([c])], ALICE))).to.equal(true);
    expect(before.covers(StateWanted.of([plain([a]), plain([['d', '']])], ALICE))).to.equal(false);
    const excluding = { include: [['*', '*']] as Pairs, exclude: [a], lazyMembers: false };
    expect(
      StateWanted.of([excluding], ALICE).covers(StateWanted.of([{ ...excluding, exclude: [a, b] }], ALICE)),
    ).to.equal(true);
    expect(
      StateWanted.of([{ ...excluding, exclude: [a, b] }], ALICE).covers(StateWanted.of([excluding], ALICE)),
    ).to.equal(false);
  });

  it('is found out in a few steps for each pair of names, however many lists there are', () => {
    const LISTS = 100;
    const PAIRS = 50;
    const lists = (form: string, exclude: Pairs): RequiredState[] =>
      Array.from({ length: LISTS }, (_, list) => ({
        include: Array.from(
          { length: PAIRS },
          (_name, n) => ['x', n + 1 < PAIRS ? `${n}` : `z ${list < LISTS - 1 ? list : form}`] as const,
        ),
        exclude,
        lazyMembers: false,
      }));
    for (const exclude of [[], [['z', '']]] as Pairs[]) {
      const told = StateWanted.of(lists('a', exclude), ALICE);
      const wanted = StateWanted.of(lists('b', exclude), ALICE);
      const lookUps = new LookUps();
      told.covers(wanted);
      lookUps.end();
      expect(lookUps.all).to.be.at.most(20 * LISTS * PAIRS);
    }
    const many = {
      include: [['*', '*']] as Pairs,
      exclude: Array.from({ length: 500 }, (_, n) => ['x', `${n}`] as const),
      lazyMembers: false,
    };
    const wanted = StateWanted.of([many], ALICE);
    expect(wanted.has('x', '499')).to.equal(false);
    expect(wanted.has('x', '500')).to.equal(true);
    expect(wanted.configs).to.equal(1);
    expect(StateWanted.of(lists('c', []), ALICE).configs, 'those that exclude nothing are one').to.equal(1);
  });

  it('counts at least its memory, also with many short names', async () => {
    await collectGarbage();
    const before = process.memoryUsage().heapUsed;
    const wanted = Array.from({ length: 60 }, (_, list) =>
      StateWanted.of(
        [
          {
            include: Array.from({ length: 1_000 }, (_name, n): [string, string] => [`${list}.${n}`, '']),
            exclude: [],
            lazyMembers: false,
          },
        ],
        '@alice:test',
      ),
    );
    await collectGarbage();
    const grown = process.memoryUsage().heapUsed - before;
    const weight = wanted.reduce((sum, { size }) => sum + size, 0);
    expect(weight).to.be.within(0.8 * grown, 3 * grown);
  });
});
