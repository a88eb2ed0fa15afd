import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { ServerDiscovery } from '#src/remote/federation/server-discovery.ts';
import { ServiceRecords } from '#src/remote/federation/service-records.ts';
import { NameResolver } from '#src/remote/name-resolver.ts';
import { DnsServer, type DnsRecord } from '#test/support/stand-ins/dns-server.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

const MINUTE = 60_000;
const FED = '_matrix-fed._tcp';
const OLD = '_matrix._tcp';
/** A resolver that is not answered gives up soon. */
const TIMEOUT_MS = 200;

describe('SRV records, as a DNS server tells them', function () {
  this.timeout(60_000);
  let dns: DnsServer;
  let names = 0;

  before(async () => (dns = await DnsServer.start()));
  after(() => dns?.stop());

  const records = (clock = new ManualClock()): ServiceRecords => {
    const names = new NameResolver({ clock, nameServers: [dns.address], timeoutMs: TIMEOUT_MS });
    return new ServiceRecords({ clock, random: systemRandom, resolve: (name) => names.services(name) });
  };
  const freshName = (): string => `s${(names += 1)}.test`;
  const srv = (name: string, target: string, more: Partial<DnsRecord> = {}): DnsRecord =>
    ({ type: 'SRV', name, target, port: 8448, priority: 10, weight: 5, ...more }) as DnsRecord;
  const timesAsked = (name: string): number => dns.asked.filter((one) => one === name).length;

  it('are tried by priority, and among equals more often those with the greater weight first', async () => {
    const host = freshName();
    const name = `${FED}.${host}`;
    dns.says(name, [
      srv(name, 'last.test', { priority: 30, port: 3 }),
      srv(name, 'heavy.test', { priority: 10, weight: 60_000, port: 1 }),
      srv(name, 'light.test', { priority: 10, weight: 1, port: 1 }),
      srv(name, 'weightless.test', { priority: 20, weight: 0, port: 2 }),
    ]);
    const asking = records();
    const first = new Map<string, number>();
    for (let count = 0; count < 300; count += 1) {
      const found = (await asking.targets(FED, host))!;
      expect(found.map(({ port }) => port)).to.deep.equal([1, 1, 2, 3]);
      first.set(found[0]!.host, (first.get(found[0]!.host) ?? 0) + 1);
    }
    expect(first.get('heavy.test')).to.be.above(200);
    expect(timesAsked(name)).to.equal(1);
  });

  it('of the registered service go before those of the deprecated one, which counts where there are none of it', async () => {
    const [both, old, none] = [freshName(), freshName(), freshName()];
    dns.says(`${FED}.${both}`, [srv(`${FED}.${both}`, 'new.test', { port: 1 })]);
    dns.says(`${OLD}.${both}`, [srv(`${OLD}.${both}`, 'old.test', { port: 2 })]);
    dns.says(`${OLD}.${old}`, [srv(`${OLD}.${old}`, 'old.test', { port: 2 })]);
    const discovery = new ServerDiscovery({
      staticHosts: {},
      wellKnown: { delegatedName: () => Promise.resolve(undefined), doubt: () => undefined } as never,
      records: records(),
    });
    const places = async (name: string): Promise<string[]> =>
      (await discovery.find(name)).map(({ host, port, tlsName }) => `${host}:${port} ${tlsName}`);
    expect(await places(both)).to.deep.equal([`new.test:1 ${both}`]);
    expect(timesAsked(`${OLD}.${both}`)).to.equal(0);
    expect(await places(old)).to.deep.equal([`old.test:2 ${old}`]);
    expect(await places(none)).to.deep.equal([`${none}:8448 ${none}`]);
  });

  it('are found where their name is another name for one that has them', async () => {
    const host = freshName();
    const name = `${FED}.${host}`;
    dns.says(name, [
      { type: 'CNAME', name, target: `${FED}.hoster.test` },
      srv(`${FED}.hoster.test`, 'matrix.hoster.test', { port: 443 }),
    ]);
    expect(await records().targets(FED, host)).to.deep.equal([{ host: 'matrix.hoster.test', port: 443 }]);
  });

  it('that say that the service is not available mean that there is none', async () => {
    const host = freshName();
    dns.says(`${FED}.${host}`, [srv(`${FED}.${host}`, '', { port: 0 })]);
    expect(await records().targets(FED, host)).to.deep.equal([]);
  });

  for (const { answer, pauseMs } of [
    { answer: 'NXDOMAIN', pauseMs: 10 * MINUTE },
    { answer: [], pauseMs: 10 * MINUTE },
    { answer: 'SERVFAIL', pauseMs: MINUTE },
    { answer: 'silence', pauseMs: MINUTE },
    { answer: 'garbage', pauseMs: MINUTE },
  ] as const)
    it(`are none when the answer is ${typeof answer === 'string' ? answer : 'empty'}, and asked for again after ${pauseMs / MINUTE} min`, async () => {
      const [clock, host] = [new ManualClock(), freshName()];
      const name = `${FED}.${host}`;
      dns.says(name, answer);
      const asking = records(clock);
      const all = await Promise.all([asking.targets(FED, host), asking.targets(FED, host)]);
      expect(all).to.deep.equal([undefined, undefined]);
      const asked = timesAsked(name);
      expect(asked).to.be.at.least(1);
      await clock.advance(pauseMs - 1);
      expect(await asking.targets(FED, host)).to.equal(undefined);
      expect(timesAsked(name)).to.equal(asked);
      dns.says(name, [srv(name, 'there.test', { port: 4 })]);
      await clock.advance(1);
      expect(await asking.targets(FED, host)).to.deep.equal([{ host: 'there.test', port: 4 }]);
      await clock.advance(30 * MINUTE - 1);
      await asking.targets(FED, host);
      expect(timesAsked(name)).to.equal(asked + 1);
    });
});
