import { expect } from 'chai';
import { UserAccountData } from '#src/services/user-data/account-data/user-account-data.ts';

describe('the weight of the account data of a user in memory', () => {
  const weightOf = (change: (data: UserAccountData) => void): number => {
    const data = new UserAccountData('@alice:test');
    const before = data.weight;
    change(data);
    return data.weight - before;
  };
  const piece = (room: number, content: string): number =>
    weightOf((data) => data.apply({ room, type: 'org.example.type', content, pos: 1 }));

  it('is what was measured of pieces and tags, within a tenth', () => {
    const short = `{"a":"${'x'.repeat(20)}"}`;
    // Bytes of the heap for each of 20,000.
    expect(piece(0, short)).to.be.within(230, 253);
    expect(piece(1_234, short)).to.be.within(255, 311);
    expect(piece(1_234, `{"a":"${'集'.repeat(300)}"}`)).to.be.within(780, 954);
    const tag = weightOf((data) => data.applyTags([{ room: 1, tag: 'u.tag50', content: short }]));
    expect(tag).to.be.within(268, 328);
  });
});
