import { expect } from 'chai';
import { ClientGone } from '#src/kernel/event-loop/client-gone.ts';
import { doing, Work } from '#src/kernel/event-loop/work.ts';
import { type Database, sql } from '#src/storage/database.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { isUnavailable } from '#src/storage/failures.ts';
import { LargeWrites } from '#src/storage/large-writes.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

const SELECT = sql('test_large_writes', 'select $1::int as number');

describe('transactions of requests with large bodies', () => {
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

  it('run one at a time, users in turn, and others do not wait for them', async () => {
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

  it('are not begun when the client of their request is gone by then, and the next one is', async () => {
    const { promise: mayEnd, resolve: end } = Promise.withResolvers<void>();
    let begun = 0;
    const begin = (work: Work): Promise<string> =>
      doing(work, () =>
        database.write(async (tx) => {
          begun += 1;
          await tx.query(SELECT, [1]);
          await mayEnd;
        }),
      ).then(
        () => 'done',
        (error: unknown) => (error instanceof ClientGone ? 'given up' : String(error)),
      );
    const gone = request(LARGE, 'a');
    const all = [begin(request(LARGE, 'a')), begin(gone), begin(request(LARGE, 'a'))];
    while (begun === 0) await new Promise((resolve) => setImmediate(resolve));
    gone.isUnwanted = () => true;
    end();
    expect(await Promise.all(all)).to.deep.equal(['done', 'given up', 'done']);
    expect(begun).to.equal(2);
  });

  it('are refused as too many when their turn does not come in time, and not as if the database were away', async () => {
    const clock = new ManualClock();
    const writes = new LargeWrites(10_000, clock);
    const { promise: isOver, resolve } = Promise.withResolvers<void>();
    const first = doing(request(LARGE, 'a'), () => writes.run(() => isOver));
    const second = doing(request(LARGE, 'b'), () => writes.run(() => Promise.resolve())).catch(
      (error: unknown) => error,
    );
    await clock.advance(10_000);
    const refusal: unknown = await second;
    expect(refusal).to.be.instanceOf(MatrixError);
    const error = refusal as MatrixError;
    expect([error.status, error.errcode, error.fields['retry_after_ms']]).to.deep.equal([
      429,
      'M_LIMIT_EXCEEDED',
      5_000,
    ]);
    expect(isUnavailable(error)).to.equal(false);
    resolve();
    await first;
  });

  it('begin others within their transaction, read without waiting, and make no one wait after a failure', async () => {
    const running = Promise.withResolvers<void>();
    const begun = Promise.withResolvers<void>();
    const first = doing(request(LARGE, 'a'), () =>
      database.write(async () => {
        await database.write((tx) => tx.query(SELECT, [7]));
        begun.resolve();
        await running.promise;
      }),
    );
    await begun.promise;
    const read = await doing(request(LARGE, 'b'), () => database.query<{ number: number }>(SELECT, [1]));
    expect(read).to.deep.equal([{ number: 1 }]);
    running.resolve();
    await first;
    const failing = doing(request(LARGE, 'a'), () => database.write(() => Promise.reject(new Error('no'))));
    await failing.catch(() => undefined);
    const both = await doing(request(LARGE, 'b'), () =>
      Promise.all([1, 2].map((number) => database.write((tx) => tx.query<{ number: number }>(SELECT, [number])))),
    );
    expect(both.flat()).to.deep.equal([{ number: 1 }, { number: 2 }]);
  });
});
