import { expect } from 'chai';
import { StoreCondition } from '#src/services/media/store-condition.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('the condition of the store of media', () => {
  it('is bad after a failure, until something could be written, which whoever asks has tried every ten seconds', async () => {
    const clock = new ManualClock();
    let tries = 0;
    let works = false;
    const condition: StoreCondition = new StoreCondition(clock, 'media', async () => {
      tries += 1;
      if (works) condition.works();
      else condition.fails('unreachable');
    });
    const asked = async (): Promise<unknown> => {
      condition.failure();
      await condition.idle();
      return condition.failure();
    };
    expect([await asked(), tries]).to.deep.equal([undefined, 0]);
    condition.fails('full');
    for (let count = 0; count < 10; count += 1) expect(await asked()).to.equal('full');
    expect(tries).to.equal(0);
    await clock.advance(10_000);
    for (let count = 0; count < 10; count += 1) expect(await asked()).to.equal('unreachable');
    expect(tries).to.equal(1);
    works = true;
    await clock.advance(9_999);
    expect([await asked(), tries]).to.deep.equal(['unreachable', 1]);
    await clock.advance(1);
    expect([await asked(), tries]).to.deep.equal([undefined, 2]);
    condition.fails('full');
    condition.works();
    expect([condition.failure(), tries]).to.deep.equal([undefined, 2]);
  });
});
