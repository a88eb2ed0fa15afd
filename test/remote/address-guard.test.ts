import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { parse } from 'yaml';
import { AddressGuard } from '#src/remote/address-guard.ts';

const { federation } = parse(readFileSync(new URL('../../config/default.yaml', import.meta.url), 'utf8')) as {
  federation: { deny_ip_ranges: string[] };
};
const deny = federation.deny_ip_ranges;

describe('address guard with the default ranges', () => {
  const guard = new AddressGuard({ deny, allow: [] });

  for (const [what, addresses] of Object.entries({
    'this host': ['0.0.0.0', '127.0.0.1', '127.1.2.3', '::', '::1'],
    'private networks': ['10.0.0.1', '172.16.0.1', '172.31.255.255', '192.168.1.1', 'fc00::1', 'fd12:3456::1'],
    'carrier-grade NAT': ['100.64.0.1', '100.127.255.255'],
    'link-local and metadata addresses': ['169.254.1.1', '169.254.169.254', 'fe80::1', 'fe80::1%eth0', 'fec0::1'],
    'multicast and broadcast': ['224.0.0.1', '239.255.255.250', '255.255.255.255', 'ff02::1'],
    'documentation and benchmarks': [
      '192.0.2.1',
      '198.18.0.1',
      '198.51.100.1',
      '203.0.113.1',
      '2001:db8::1',
      '3fff::1',
    ],
    'tunnels that carry an address in disguise': ['2001:0:4136:e378:8000:63bf:80ff:fffe'],
    'IPv4 addresses in IPv6 ones': [
      '::ffff:127.0.0.1',
      '::ffff:7f00:1',
      '0:0:0:0:0:ffff:a00:1',
      '::ffff:0:127.0.0.1',
      '::127.0.0.1',
      '::7f00:1',
      '2002:7f00:1::',
      '2002:a9fe:a9fe::1',
      '64:ff9b::7f00:1',
    ],
    'what is no address': ['', 'localhost', '127.1', '1.2.3.4.5', '::1::', '1.2.3.4/8'],
  })) {
    it(`refuses ${what}`, () => {
      expect(addresses.filter((address) => guard.allows(address))).to.deep.equal([]);
    });
  }
  it('allows the rest of the world', () => {
    const addresses = [
      '1.1.1.1',
      '100.63.255.255',
      '100.128.0.1',
      '172.15.0.1',
      '172.32.0.1',
      '2606:4700::1111',
      '::ffff:1.1.1.1',
      '2002:101:101::',
    ];
    expect(addresses.filter((address) => !guard.allows(address))).to.deep.equal([]);
  });
});

describe('address guard', () => {
  it('makes exceptions, for addresses that are carried in others too', () => {
    const guard = new AddressGuard({ deny, allow: ['127.0.0.1', 'fd00::/16'] });
    expect(guard.allows('127.0.0.1')).to.equal(true);
    expect(guard.allows('::ffff:127.0.0.1')).to.equal(true);
    expect(guard.allows('127.0.0.2')).to.equal(false);
    expect(guard.allows('fd00::7')).to.equal(true);
    expect(guard.allows('fd01::7')).to.equal(false);
  });
  it('sees through an embedded address even where only IPv4 ranges are denied', () => {
    const guard = new AddressGuard({ deny: ['10.0.0.0/8'], allow: [] });
    for (const address of ['::ffff:10.0.0.1', '2002:a00:1::', '64:ff9b::a00:1', '::10.0.0.1'])
      expect(guard.allows(address), address).to.equal(false);
    expect(guard.allows('::1')).to.equal(true);
  });
  it('does not take a range that is none', () => {
    expect(() => new AddressGuard({ deny: ['everything'], allow: [] })).to.throw(RangeError);
    expect(() => new AddressGuard({ deny: ['10.0.0.0/33'], allow: [] })).to.throw(RangeError);
  });
});
