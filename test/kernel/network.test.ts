import { expect } from 'chai';
import { networkOf } from '#src/kernel/network.ts';

describe('the network of an address', () => {
  it('is an IPv4 address itself', () => {
    expect(networkOf('203.0.113.9')).to.equal('203.0.113.9');
  });
  it('is the same for all addresses of a /64 of IPv6, however they are written', () => {
    const same = [
      '2001:db8:1:2::1',
      '2001:db8:1:2:ffff:ffff:ffff:ffff',
      '2001:0db8:0001:0002::',
      '2001:DB8:1:2:0:0:0:9',
      '2001:db8:1:2::192.0.2.1',
    ];
    expect(new Set(same.map(networkOf))).to.deep.equal(new Set(['2001:db8:1:2::/64']));
  });
  it('differs between two /64s', () => {
    expect(networkOf('2001:db8:1:3::1')).not.to.equal(networkOf('2001:db8:1:2::1'));
    expect(networkOf('::1')).to.equal('0:0:0:0::/64');
    expect(networkOf('fe80::1%eth0')).to.equal('fe80:0:0:0::/64');
    expect(networkOf('1::')).to.equal('1:0:0:0::/64');
  });
  it('of what is no address is what it is', () => {
    expect(networkOf('')).to.equal('');
  });
});
