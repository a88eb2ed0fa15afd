import { Readable } from 'node:stream';
import { expect } from 'chai';
import { NoRoomError, readUpTo, TooManyPiecesError } from '#src/remote/read-up-to.ts';

/** A body of pieces of one letter each. */
const bodyOf = (lengths: readonly number[]): never =>
  Readable.from(lengths.map((length, index) => Buffer.alloc(length, 97 + (index % 26)))) as never;

const textOf = (lengths: readonly number[]): string =>
  lengths.map((length, index) => String.fromCharCode(97 + (index % 26)).repeat(length)).join('');

const failureOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('reading the answer of another server', () => {
  it('takes it whole, however it comes, and no more than it may be', async () => {
    for (const lengths of [[], [5], [5, 7], [70_000, 1, 2], [10, 20_000, 3, 40_000]]) {
      const text = textOf(lengths);
      const whole = await readUpTo(bodyOf(lengths), text.length);
      expect([whole.bytes.toString(), whole.isCut]).to.deep.equal([text, false]);
      if (text.length < 2) continue;
      const cut = await readUpTo(bodyOf(lengths), text.length - 1);
      expect([cut.bytes.toString(), cut.isCut]).to.deep.equal([text.slice(0, -1), true]);
    }
  });
  it('keeps it in one buffer that doubles, of which it asks first, and keeps no piece of it', async () => {
    const capacities: number[] = [];
    const lengths = Array.from({ length: 1_000 }, () => 1_000);
    const { bytes } = await readUpTo(bodyOf(lengths), 4_000_000, (capacity) => {
      capacities.push(capacity);
      return true;
    });
    expect(bytes.toString()).to.equal(textOf(lengths));
    expect(capacities.length).to.be.lessThan(10);
    expect(Math.max(...capacities)).to.be.lessThan(2_100_000);
  });
  it('ends when there is no memory for it', async () => {
    const reading = readUpTo(bodyOf([10_000, 10_000, 100_000]), 1_000_000, (capacity) => capacity < 100_000);
    expect(await failureOf(reading)).to.be.instanceOf(NoRoomError);
  });
  it('ends when it comes in more pieces than any server needs', async () => {
    const reading = readUpTo(bodyOf(Array.from({ length: 1_000 }, () => 1)), 1_000_000);
    expect(await failureOf(reading)).to.be.instanceOf(TooManyPiecesError);
  });
});
