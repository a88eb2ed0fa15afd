import { expect } from 'chai';
import { Lazy } from '#src/kernel/caches/lazy.ts';

describe('what is made when it is first needed', () => {
  it('is made once, however many ask meanwhile', async () => {
    let count = 0;
    const lazy = new Lazy(async () => (count += 1));
    expect(lazy.made).to.equal(undefined);
    expect(await Promise.all([lazy.get(), lazy.get(), lazy.made])).to.deep.equal([1, 1, 1]);
    expect(await lazy.get()).to.equal(1);
  });

  it('is made anew when it could not be made: all who waited for it are told why', async () => {
    let count = 0;
    const lazy = new Lazy(async () => {
      count += 1;
      if (count === 1) throw new Error('not now');
      return count;
    });
    const told = await Promise.allSettled([lazy.get(), lazy.get()]);
    expect(told.map((one) => (one.status === 'rejected' ? String(one.reason) : one.value))).to.deep.equal([
      'Error: not now',
      'Error: not now',
    ]);
    expect(lazy.made).to.equal(undefined);
    expect(await lazy.get()).to.equal(2);
  });
});
