import { expect } from 'chai';
import fc from 'fast-check';
import { LiveCache } from '#src/kernel/caches/live-cache.ts';

interface Value {
  readonly version: number;
}

describe('a cache that hears of commits', () => {
  it('never hands out what was committed before somebody asked but was read earlier, in whatever order things happen', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(fc.constantFrom('get', 'set', 'forget'), { maxLength: 25 }),
        async (s, steps) => {
          let committed = 0;
          const cache = new LiveCache<Value>({ name: 'test', maxSize: 10 });
          // What a statement sees is decided when it runs; its answer comes some time after.
          const read = async (): Promise<Value> => {
            await s.schedule(Promise.resolve(), 'runs');
            const value = { version: committed };
            await s.schedule(Promise.resolve(), 'arrives');
            return value;
          };
          const asked: Promise<void>[] = [];
          const sequence = s.scheduleSequence(
            steps.map((step) => async () => {
              if (step === 'get') {
                const least = committed;
                asked.push(
                  cache
                    .get('key', read)
                    .then(({ version }) => expect(version).to.be.at.least(least))
                    .then(() => {}),
                );
                return;
              }
              committed += 1;
              if (step === 'set') cache.set('key', { version: committed });
              else cache.forget('key');
            }),
          );
          await s.waitFor(Promise.all([sequence.task, s.waitIdle()]));
          await Promise.all(asked);
          const last = cache.get('key', read);
          await s.waitFor(last);
          expect((await last).version).to.equal(committed);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('changes what is in memory and what is being read, so that no change is missing in either', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.scheduler(),
        fc.array(fc.constantFrom('get', 'both', 'change', 'forget'), { maxLength: 25, size: 'max' }),
        async (s, steps) => {
          const committed = new Set<number>();
          const cache = new LiveCache<{ readonly held: Set<number> }>({
            name: 'test',
            maxSize: 100,
            sizeOf: ({ held }) => 1 + held.size,
          });
          const readAll = async (keys: readonly string[]): Promise<Map<string, { readonly held: Set<number> }>> => {
            await s.schedule(Promise.resolve(), 'runs');
            const values = new Map(keys.map((key) => [key, { held: new Set(committed) }]));
            await s.schedule(Promise.resolve(), 'arrives');
            return values;
          };
          const asked: Promise<void>[] = [];
          const ask = (keys: readonly string[]): void => {
            const least = [...committed];
            const check = async (): Promise<void> => {
              const found = await cache.getAll(keys, readAll);
              for (const key of keys) expect([...(found.get(key)?.held ?? [])]).to.include.members(least);
            };
            asked.push(check());
          };
          const sequence = s.scheduleSequence(
            steps.map((step, index) => async () => {
              if (step === 'get') ask(['a']);
              else if (step === 'both') ask(['b', 'a']);
              else if (step === 'forget') cache.forgetAll((key) => key === 'a');
              else {
                committed.add(index);
                for (const key of ['a', 'b']) cache.update(key, ({ held }) => held.add(index));
              }
            }),
          );
          await s.waitFor(Promise.all([sequence.task, s.waitIdle()]));
          await Promise.all(asked);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('reads once for all who ask for the same at once', async () => {
    let reads = 0;
    const cache = new LiveCache<Value>({ name: 'test', maxSize: 10 });
    const read = async (): Promise<Value> => ({ version: (reads += 1) });
    const [one, other, different] = await Promise.all([
      cache.get('a', read),
      cache.get('a', read),
      cache.get('b', read),
    ]);
    expect(one).to.equal(other);
    expect([one.version, different.version].toSorted()).to.deep.equal([1, 2]);
    expect(await cache.get('a', read)).to.equal(one);
    expect(cache.peek('a')).to.equal(one);
  });

  it('reads again after a failure', async () => {
    const cache = new LiveCache<Value>({ name: 'test', maxSize: 10 });
    const failure = await cache.get('a', () => Promise.reject(new Error('away'))).catch((err: Error) => err.message);
    expect(failure).to.equal('away');
    expect(await cache.get('a', async () => ({ version: 1 }))).to.deep.equal({ version: 1 });
  });

  it('keeps no more than it may', async () => {
    const cache = new LiveCache<Value>({ name: 'test', maxSize: 30, sizeOf: ({ version }) => version });
    for (const key of ['a', 'b', 'c', 'd']) cache.set(key, { version: 10 });
    expect(['a', 'b', 'c', 'd'].map((key) => cache.peek(key) !== undefined)).to.deep.equal([false, true, true, true]);
  });
});
