import { expect } from 'chai';
import { FairGate } from '#src/kernel/limits/fair-gate.ts';
import type { Place } from '#src/kernel/limits/line.ts';

const of = (party: string, isPreferred = false): Place => ({ party, isPreferred });
const full = (): Error => new Error('full');

describe('a fair gate', () => {
  /** Lets `places` ask one after the other while the gate is taken, then opens it. In which order they got through, and who was refused. */
  const order = async (
    places: readonly Place[],
    maxWaiting = 100,
  ): Promise<{ through: string[]; refused: string[] }> => {
    const gate = new FairGate({ concurrency: 1, maxWaiting });
    const opened = Promise.withResolvers<void>();
    const through: string[] = [];
    const refused: string[] = [];
    const first = gate.run(of('first'), () => opened.promise, full);
    const all = places.map(async (place, index) => {
      const name = `${place.party}${index}`;
      await gate.run(place, async () => void through.push(name), full).catch(() => refused.push(name));
    });
    opened.resolve();
    await first;
    await Promise.all(all);
    expect(gate.waiting).to.equal(0);
    expect(await gate.run(of('after'), async () => 'through', full)).to.equal('through');
    return { through, refused };
  };

  it('lets clients take turns, so that one request does not wait behind many of another client', async () => {
    const { through } = await order([of('a'), of('a'), of('a'), of('b'), of('b'), of('c')]);
    expect(through).to.deep.equal(['a0', 'b3', 'c5', 'a1', 'b4', 'a2']);
  });
  it('leaves places to others where one client may have a part of them, however long its calls take', async () => {
    const gate = new FairGate({ concurrency: 4, concurrencyOfOne: 2, maxWaiting: 3 });
    const opened = Promise.withResolvers<void>();
    const begun: string[] = [];
    const call = (party: string): Promise<string> =>
      gate.run(
        of(party),
        async () => {
          begun.push(party);
          await opened.promise;
          return party;
        },
        full,
      );
    const outcomes = Promise.allSettled([...'aaaaaaabb'].map(call));
    await new Promise((resolve) => setImmediate(resolve));
    expect(begun).to.deep.equal(['a', 'a', 'b', 'b']);
    expect(gate.waiting).to.equal(3);
    opened.resolve();
    const refused = (await outcomes).filter(({ status }) => status === 'rejected');
    expect(refused).to.have.length(2);
    expect(begun).to.have.length(7);
    expect(gate.waiting).to.equal(0);
  });
  it('prefers those who are known, without keeping the others out', async () => {
    const known = Array.from({ length: 8 }, (_, index) => of(`k${index}`, true));
    const { through } = await order([of('x'), of('y'), ...known]);
    expect(through.slice(0, 5)).to.deep.equal(['k02', 'k13', 'k24', 'x0', 'k35']);
    expect(through).to.have.length(10);
    expect(through.indexOf('y1')).to.equal(7);
  });
  it('refuses more than may wait, and of one party before others', async () => {
    const { through, refused } = await order(
      [...Array.from({ length: 30 }, () => of('a')), of('b'), of('c', true)],
      10,
    );
    expect(through.filter((name) => name.startsWith('a'))).to.have.length(10);
    expect(refused.filter((name) => name.startsWith('a'))).to.have.length(20);
    expect(through).to.include.members(['b30', 'c31']);
  });
  it('lets as many through at once as it may', async () => {
    const gate = new FairGate({ concurrency: 2, maxWaiting: 10 });
    let inside = 0;
    let most = 0;
    await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        gate.run(
          of(`p${index}`),
          async () => {
            inside += 1;
            most = Math.max(most, inside);
            await Promise.resolve();
            inside -= 1;
          },
          full,
        ),
      ),
    );
    expect(most).to.equal(2);
  });
  it('continues when work fails', async () => {
    const gate = new FairGate({ concurrency: 1, maxWaiting: 10 });
    const failing = gate
      .run(of('a'), () => Promise.reject(new Error('broken')), full)
      .catch((error: Error) => error.message);
    const next = gate.run(of('b'), async () => 'done', full);
    expect([await failing, await next]).to.deep.equal(['broken', 'done']);
  });
  it('gives the event loop its turns, however long the line of those who need not wait for anything inside', async () => {
    const gate = new FairGate({ concurrency: 2, maxWaiting: 1_000 });
    let done = 0;
    const all = Array.from({ length: 100 }, () => gate.run(of('a'), async () => void (done += 1), full));
    const seen: number[] = [];
    for (let turn = 0; turn < 20; turn += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      seen.push(done);
    }
    expect(seen.every((count, turn) => count <= 2 + 2 * (turn + 1))).to.equal(true);
    await Promise.all(all);
  });
});
