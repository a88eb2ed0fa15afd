import { expect } from 'chai';
import { caseFold, obfuscatedAddress, thirdPartyId } from '#src/protocol/identifiers/third-party-id.ts';

describe('third-party ids', () => {
  const addressOf = (address: string, medium = 'email'): string | undefined => thirdPartyId(medium, address)?.address;

  it("are compared case-folded, as in the specification's example", () => {
    expect(addressOf('Strauß@Example.com')).to.equal('strauss@example.com');
    expect(addressOf('BOB@Example.COM')).to.equal('bob@example.com');
    expect(addressOf('ΟΔΥΣΣΕΥΣ@x.test')).to.equal(addressOf('οδυσσευς@x.test'));
    expect(addressOf('山田@例え.テスト')).to.equal('山田@例え.テスト');
  });
  it('fold characters as Unicode says', () => {
    for (const [from, to] of [
      ['ẞ', 'ss'],
      ['ı', 'ı'],
      ['İ', 'i\u0307'],
      ['ς', 'σ'],
      ['ﬃ', 'ffi'],
      ['K', 'k'],
      ['ſ', 's'],
      ['ᾳ', 'αι'],
      ['ꭰ', 'Ꭰ'],
      ['Ꭰ', 'Ꭰ'],
      ['ᏸ', 'Ᏸ'],
      ['𐐀', '𐐨'],
      ['日本', '日本'],
    ] as const)
      expect(caseFold(from), from).to.equal(to);
  });
  it('are the same in whichever alphabet their domain is written', () => {
    for (const [written, same] of [
      ['x@xn--r8jz45g.test', 'x@例え.test'],
      ['x@XN--R8JZ45G.test', 'x@例え.test'],
      ['x@BÜCHER.example', 'x@bücher.example'],
      ['x@xn--bcher-kva.example', 'x@bücher.example'],
      ['x@faß.test', 'x@fass.test'],
    ] as const)
      expect(addressOf(written), written).to.equal(same);
  });
  it('are addresses and nothing beside', () => {
    for (const address of ['a@b', 'a.b+c@d-e.f', "o'neil@x.test", 'a_b=c@1.2', 'x@例え.test'])
      expect(addressOf(address), address).to.equal(address);
    for (const address of [
      '',
      '@',
      'a',
      'a@',
      '@b',
      'a@b@c',
      'a b@c.d',
      'a@b c',
      ' a@b.c',
      'a@b.c\n',
      'mailto:a@b.c',
      'A <a@b.c>',
      '<a@b.c>',
      '"a"@b.c',
      'a,b@c.d',
      '.a@b.c',
      'a.@b.c',
      'a..b@c.d',
      'a@.b',
      'a@b.',
      'a@b..c',
      'a@-b.c',
      'a@b-.c',
      'a@b_c.d',
      'a@[127.0.0.1]',
      'a\0@b.c',
      `${'a'.repeat(65)}@b.c`,
      `a@${'b.'.repeat(130)}c`,
    ])
      expect(addressOf(address), JSON.stringify(address)).to.equal(undefined);
  });
  it('are judged however long they are: a pattern that backtracks would not come to an end', () => {
    for (const address of [
      `a@${'a'.repeat(250)}!`,
      `a@${'a-'.repeat(120)}!`,
      `${'.'.repeat(250)}@`,
      'a@'.repeat(100_000),
    ])
      expect(addressOf(address)).to.equal(undefined);
  });
  it('of telephones have no plus', () => {
    expect(addressOf('447700900000', 'msisdn')).to.equal('447700900000');
    for (const address of ['+447700900000', '07700900000', '44 7700', '1', '1234567890123456', ''])
      expect(addressOf(address, 'msisdn'), address).to.equal(undefined);
    expect(addressOf('a@b.c', 'pigeon')).to.equal(undefined);
  });
  it('are shown without what would give them away', () => {
    const shown = (address: string): string => obfuscatedAddress({ medium: 'email', address });
    expect(shown('foo@bar.test')).to.equal('f...@b...');
    expect(shown('山田@例え.テスト')).to.equal('山...@例...');
    expect(shown('a@b')).to.equal('...@...');
    expect(shown('😀b@c.d')).to.equal('😀...@c...');
  });
});
