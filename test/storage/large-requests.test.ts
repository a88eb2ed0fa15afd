import { expect } from 'chai';
import { doing, Work } from '#src/kernel/work.ts';
import { type Database, sql } from '#src/storage/database.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

const SELECT = sql('test_large_requests', 'select $1::int as number');

describe('requests with large bodies', () => {
  let server: InProcessServer;
  let database: Database;
  before(async () => {
    server = await InProcessServer.start();
    ({ database } = server.services);
  });
  after(() => server.stop());

  const request = (bytesIn: number, party: string): Work => {
    const work = new Work('test.large');
    work.bytesIn = bytesIn;
    work.party = () => party;
    return work;
  };
  const LARGE = 1024 * 1024;

  it('use the database one at a time, users in turn, and others do not wait for them', async () => {
    const order: string[] = [];
    const gates = new Map<string, () => void>();
    const begin = (name: string, party: string, bytes = LARGE): Promise<void> =>
      doing(request(bytes, party), () =>
        database.write(async (tx) => {
          order.push(name);
          await tx.query(SELECT, [1]);
          await new Promise<void>((resolve) => gates.set(name, resolve));
        }),
      );
    const began = async (count: number): Promise<void> => {
      while (gates.size < count) await new Promise((resolve) => setImmediate(resolve));
    };
    const first = begin('a1', 'a');
    await began(1);
    const others = [begin('a2', 'a'), begin('a3', 'a'), begin('b1', 'b')];
    const small = begin('small', 'c', 1024);
    await began(2);
    expect(order).to.deep.equal(['a1', 'small']);
    gates.get('small')?.();
    await small;
    for (const [index, name] of ['a1', 'a2', 'b1', 'a3'].entries()) {
      await began(index + 2);
      expect(order.at(-1)).to.equal(index === 0 ? 'small' : name);
      gates.get(name)?.();
    }
    await Promise.all([first, ...others]);
  });

  it('read beside their own transaction without waiting for it, and make nobody wait after a failure', async () => {
    const inside = await doing(request(LARGE, 'a'), () =>
      database.write(async () => database.query<{ number: number }>(SELECT, [7])),
    );
    expect(inside).to.deep.equal([{ number: 7 }]);
    const failing = doing(request(LARGE, 'a'), () => database.write(() => Promise.reject(new Error('no'))));
    await failing.catch(() => undefined);
    await doing(request(LARGE, 'a'), () => database.query(SELECT, ['no number'])).catch(() => undefined);
    const both = await doing(request(LARGE, 'b'), () =>
      Promise.all([1, 2].map((number) => database.query<{ number: number }>(SELECT, [number]))),
    );
    expect(both.flat()).to.deep.equal([{ number: 1 }, { number: 2 }]);
  });
});
