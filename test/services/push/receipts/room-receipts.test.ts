import { expect } from 'chai';
import { type Receipt, RoomReceipts } from '#src/services/push/receipts/room-receipts.ts';

const ME = '@me:test';

describe('the receipts of a room', () => {
  const receipt = (userId: string, pos: number): Receipt => ({
    userId,
    kind: 'm.read',
    thread: undefined,
    eventId: `$${pos}`,
    event: pos,
    ts: pos,
    pos,
  });
  const positionsOf = (receipts: readonly Receipt[]): number[] =>
    receipts.map(({ pos }) => pos).toSorted((a, b) => a - b);

  it('are told all to who knows none of them, as long as there are few', () => {
    const receipts = new RoomReceipts();
    for (let pos = 1; pos <= 1_000; pos += 1) receipts.apply(receipt(`@u${pos}:test`, pos));
    receipts.loaded();
    expect(receipts.shownTo(ME, 0)).to.have.length(1_000);
    expect(positionsOf(receipts.shownTo(ME, 990))).to.deep.equal([991, 992, 993, 994, 995, 996, 997, 998, 999, 1_000]);
  });

  it('are the newest and the own ones where there are very many, whatever comes and goes', () => {
    const receipts = new RoomReceipts();
    receipts.apply(receipt(ME, 1));
    for (let pos = 2; pos <= 20_000; pos += 1) receipts.apply(receipt(`@u${pos}:hostile.test`, pos));
    receipts.loaded();
    for (let pos = 20_001; pos <= 30_000; pos += 1) {
      receipts.apply(receipt(`@u${2 + (pos % 15_000)}:hostile.test`, pos));
      if (pos % 500 > 0) continue;
      for (const [told, most] of [
        [receipts.shownTo(ME, 0), 2_000],
        [receipts.shownTo(ME, 0, 50), 50],
      ] as const) {
        const positions = positionsOf(told);
        expect(positions[0], 'the own one').to.equal(1);
        expect(positions.length).to.be.within(most, 2 * most + 1);
        const newest = positionsOf(receipts.all()).slice(-most);
        expect(positions).to.include.members(newest);
      }
    }
  });
});
