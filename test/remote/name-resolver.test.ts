import { execFile } from 'node:child_process';
import { scrypt } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { NameResolver, type NameResolverOptions } from '#src/remote/name-resolver.ts';
import { DnsServer } from '#test/support/stand-ins/dns-server.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { until } from '#test/support/until.ts';

/** Nobody waits for it to pass. */
const LONG_MS = 50_000;

describe('addresses of names', function () {
  this.timeout(60_000);
  let dns: DnsServer;
  let folder: string;
  let clock: ManualClock;
  const made: NameResolver[] = [];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-names-'));
  });
  after(() => rm(folder, { recursive: true }));
  beforeEach(async () => {
    dns = await DnsServer.start();
    clock = new ManualClock();
    await files('', '');
  });
  afterEach(async () => {
    for (const names of made.splice(0)) names.close();
    await dns.stop();
  });

  const paths = (): { hosts: string; resolvConf: string } => ({
    hosts: join(folder, 'hosts'),
    resolvConf: join(folder, 'resolv.conf'),
  });
  const files = async (hosts: string, resolvConf: string): Promise<void> => {
    await writeFile(paths().hosts, hosts);
    await writeFile(paths().resolvConf, resolvConf);
  };
  const resolver = (options: Partial<NameResolverOptions> = {}): NameResolver => {
    const names = new NameResolver({
      clock,
      nameServers: [dns.address],
      timeoutMs: LONG_MS,
      files: paths(),
      ...options,
    });
    made.push(names);
    return names;
  };
  const found = async (names: NameResolver, hostname: string): Promise<string[]> =>
    (await names.addresses(hostname)).map(({ address }) => address).toSorted();
  const code = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => 'none',
      (error: Error & { code?: string }) => error.code,
    );

  it('are those of both kinds that a name server tells, also by another name', async () => {
    dns.says('both.test', [
      { type: 'A', name: 'both.test', address: '192.0.2.1' },
      { type: 'AAAA', name: 'both.test', address: '2001:db8::1' },
    ]);
    dns.says('other.test', [
      { type: 'CNAME', name: 'other.test', target: 'six.test' },
      { type: 'AAAA', name: 'six.test', address: '2001:db8::6' },
    ]);
    const names = resolver();
    expect(await names.addresses('both.test')).to.have.deep.members([
      { address: '192.0.2.1', family: 4 },
      { address: '2001:db8::1', family: 6 },
    ]);
    expect(await found(names, 'OTHER.test')).to.deep.equal(['2001:db8::6']);
  });

  it('are not waited for where those of the other kind are there', async () => {
    dns.says('half.test', [{ type: 'A', name: 'half.test', address: '192.0.2.1' }]);
    dns.isSilentOn('half.test', 'AAAA');
    expect(await found(resolver(), 'half.test')).to.deep.equal(['192.0.2.1']);
  });

  it('are what the hosts file says, before any name server is asked', async () => {
    dns.says('listed.test', [{ type: 'A', name: 'listed.test', address: '192.0.2.9' }]);
    await files(
      '# 192.0.2.7 listed.test\n192.0.2.1\tfirst Listed.test # here\n2001:db8::1 listed.test\nnonsense listed.test',
      '',
    );
    const names = resolver();
    expect(await found(names, 'listed.test')).to.deep.equal(['192.0.2.1', '2001:db8::1']);
    expect(await found(names, 'listed.test.')).to.deep.equal(['192.0.2.1', '2001:db8::1']);
    expect(dns.asked).to.deep.equal([]);
    // A change is seen after a while, and the server need not start anew.
    await files('192.0.2.2 listed.test', '');
    await clock.advance(10_000);
    await until('the change is seen', async () => (await found(names, 'listed.test'))[0] === '192.0.2.2');
  });

  it('are found as files said before while those are read again', async () => {
    const { hosts } = paths();
    await files('192.0.2.1 listed.test', '');
    const names = resolver();
    expect(await found(names, 'listed.test')).to.deep.equal(['192.0.2.1']);
    await rm(hosts);
    // Who reads it waits for somebody to write.
    await promisify(execFile)('mkfifo', [hosts]);
    await clock.advance(10_000);
    try {
      expect(await found(names, 'listed.test')).to.deep.equal(['192.0.2.1']);
    } finally {
      await writeFile(hosts, '192.0.2.2 listed.test');
      await rm(hosts);
    }
    await until('the change is seen', async () => (await found(names, 'listed.test'))[0] === '192.0.2.2');
  });

  it('of localhost, and of what is an address, are asked of nobody', async () => {
    const names = resolver();
    expect(await found(names, 'localhost')).to.deep.equal(['127.0.0.1', '::1']);
    expect(await found(names, 'app.localhost')).to.deep.equal(['127.0.0.1', '::1']);
    expect(await found(names, '192.0.2.1')).to.deep.equal(['192.0.2.1']);
    expect(dns.asked).to.deep.equal([]);
  });

  it('of a single word are looked for in the domains that are searched first, of names with a dot last, and of whole ones never', async () => {
    await files('', 'nameserver 192.0.2.53\nsearch first.test. second.test\noptions ndots:1\n');
    dns.says('gateway.second.test', [{ type: 'A', name: 'gateway.second.test', address: '192.0.2.1' }]);
    dns.says('gateway.apps.first.test', [{ type: 'A', name: 'gateway.apps.first.test', address: '192.0.2.2' }]);
    const names = resolver();
    expect(await found(names, 'gateway')).to.deep.equal(['192.0.2.1']);
    expect([...new Set(dns.asked)]).to.deep.equal(['gateway.first.test', 'gateway.second.test']);
    dns.asked.length = 0;
    expect(await found(names, 'gateway.apps')).to.deep.equal(['192.0.2.2']);
    expect([...new Set(dns.asked)]).to.deep.equal(['gateway.apps', 'gateway.apps.first.test']);
    dns.asked.length = 0;
    expect(await code(names.addresses('gateway.apps.'))).to.equal('ENOTFOUND');
    expect([...new Set(dns.asked)]).to.deep.equal(['gateway.apps']);
  });

  it('that are not there, or that nobody can tell, are an error, and nothing more is asked after the latter', async () => {
    await files('', 'search first.test');
    dns.says('broken.test', 'SERVFAIL');
    dns.says('empty.test', []);
    const names = resolver();
    expect(await code(names.addresses('nowhere.test'))).to.equal('ENOTFOUND');
    expect(await code(names.addresses('empty.test'))).to.be.oneOf(['ENODATA', 'ENOTFOUND']);
    expect(await code(names.addresses('broken.test'))).to.equal('ESERVFAIL');
    expect(dns.asked).to.not.include('broken.test.first.test');
    const hasty = resolver({ timeoutMs: 100 });
    dns.says('silent.test', 'silence');
    expect(await code(hasty.addresses('silent.test'))).to.equal('ETIMEOUT');
  });

  it('that many ask for at once are asked for once', async () => {
    dns.says('busy.test', [
      { type: 'A', name: 'busy.test', address: '192.0.2.1' },
      { type: 'AAAA', name: 'busy.test', address: '2001:db8::1' },
    ]);
    const names = resolver();
    await Promise.all(Array.from({ length: 20 }, () => names.addresses('busy.test')));
    expect(dns.asked).to.have.length(2);
  });

  it('whose name server never answers hold up neither other names, nor files, nor cryptography', async () => {
    dns.otherwise = 'silence';
    dns.says('live.test', [{ type: 'A', name: 'live.test', address: '192.0.2.1' }]);
    const names = resolver();
    let over = 0;
    const dead = Array.from({ length: 50 }, (_, n) =>
      names.addresses(`dead${n}.test`).then(
        () => (over += 1),
        () => (over += 1),
      ),
    );
    expect(await found(names, 'live.test')).to.deep.equal(['192.0.2.1']);
    await writeFile(join(folder, 'written'), 'meanwhile');
    await promisify(scrypt)('password', 'salt', 32);
    expect(over).to.equal(0);
    names.close();
    await Promise.all(dead);
  });
});
