import { expect } from 'chai';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';

describe('work with a key', () => {
  it('waits for earlier work with the same key, also when that fails, and for no other', async () => {
    const serial = new SerialByKey<string>();
    const order: string[] = [];
    const step = (key: string, name: string, error?: Error) =>
      serial.run(key, async () => {
        order.push(`${name} begins`);
        await new Promise((resolve) => setImmediate(resolve));
        order.push(`${name} ends`);
        if (error !== undefined) throw error;
        return name;
      });
    const results = await Promise.allSettled([step('a', '1', new Error('no')), step('a', '2'), step('b', '3')]);
    expect(results.map(({ status }) => status)).to.deep.equal(['rejected', 'fulfilled', 'fulfilled']);
    expect(order.indexOf('2 begins')).to.be.above(order.indexOf('1 ends'));
    expect(order.indexOf('3 begins')).to.be.below(order.indexOf('1 ends'));
  });

  it('is forgotten when it is done', async () => {
    const serial = new SerialByKey<number>();
    await Promise.all([serial.run(1, async () => 1), serial.run(1, async () => 2)]);
    await Promise.resolve();
    expect(serial.busy).to.equal(0);
  });
});
