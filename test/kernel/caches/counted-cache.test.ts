import { expect } from 'chai';
import { CountedCache } from '#src/kernel/caches/counted-cache.ts';

describe('a cache that is measured', () => {
  interface Grown {
    bytes: number;
  }

  it('weighs what has grown or shrunk in place as it is when it is stored again, and forgets others for it', () => {
    const disposed: string[] = [];
    const cache = new CountedCache<string, Grown>('test', {
      maxSize: 100,
      sizeCalculation: ({ bytes }) => bytes,
      dispose: (_value, key, reason) => void disposed.push(`${key} ${reason}`),
    });
    const growing = { bytes: 10 };
    cache.set('other', { bytes: 30 }).set('growing', growing);
    expect(cache.weight).to.equal(40);
    growing.bytes = 60;
    cache.set('growing', growing);
    expect([cache.weight, cache.size, disposed.length]).to.deep.equal([90, 2, 0]);
    growing.bytes = 80;
    cache.set('growing', growing);
    expect([cache.weight, cache.get('growing'), disposed.join()]).to.deep.equal([80, growing, 'other evict']);
    growing.bytes = 5;
    cache.set('growing', growing);
    expect(cache.weight).to.equal(5);
    expect(disposed).to.have.length(1);
  });

  it('keeps nothing that has outgrown it, and disposes of that', () => {
    const disposed: Grown[] = [];
    const cache = new CountedCache<string, Grown>('test', {
      maxSize: 100,
      sizeCalculation: ({ bytes }) => bytes,
      dispose: (value) => void disposed.push(value),
    });
    const growing = { bytes: 10 };
    cache.set('growing', growing);
    growing.bytes = 101;
    cache.set('growing', growing);
    expect(disposed).to.deep.equal([growing]);
    expect([cache.weight, cache.size, cache.peek('growing')]).to.deep.equal([0, 0, undefined]);
  });
});
