import type { LookupAddress } from 'node:dns';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { AddressGuard } from '#src/remote/address-guard.ts';
import { textOfPlace } from '#src/remote/federation/destination-place.ts';
import { ServerDiscovery } from '#src/remote/federation/server-discovery.ts';
import { type ServiceRecord, ServiceRecords } from '#src/remote/federation/service-records.ts';
import { WellKnownServers } from '#src/remote/federation/well-known-servers.ts';
import { OutboundHttp } from '#src/remote/outbound-http.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { ManualClock } from '../../support/manual-clock.ts';

const certificate = (name: string): Buffer =>
  readFileSync(new URL(`../../support/certificates/${name}`, import.meta.url));
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

interface Site {
  readonly status?: number;
  readonly body?: string;
  readonly headers?: Record<string, string>;
}

/** Names of which no name server says anything. */
const SILENT = /^silent/;

describe('a server', () => {
  let web: Server;
  let port: number;
  const sites = new Map<string, Site>();
  /** Host names that were asked, as often as they were. */
  const asked: string[] = [];

  before(async () => {
    web = createServer(
      { cert: certificate('federation.crt'), key: certificate('federation.key') },
      (request, response) => {
        const host = (request.headers.host ?? '').replace(/:\d+$/, '');
        asked.push(`${host}${request.url ?? ''}`);
        const { body = '', headers = {}, status = 200 } = sites.get(`${host}${request.url ?? ''}`) ?? { status: 404 };
        response.writeHead(status, headers).end(body);
      },
    );
    web.listen(0, '127.0.0.1');
    await once(web, 'listening');
    ({ port } = web.address() as AddressInfo);
  });
  after(async () => {
    web.closeAllConnections();
    web.close();
    await once(web, 'close');
  });
  beforeEach(() => {
    sites.clear();
    asked.length = 0;
  });

  const WELL_KNOWN = '/.well-known/matrix/server';
  const delegating = (host: string, body: unknown, headers: Record<string, string> = {}): void => {
    sites.set(`${host}${WELL_KNOWN}`, { body: typeof body === 'string' ? body : JSON.stringify(body), headers });
  };

  interface World {
    readonly discovery: ServerDiscovery;
    readonly clock: ManualClock;
    readonly lookedUp: string[];
    readonly addresses: Map<string, string>;
    close(): Promise<void>;
  }
  const worlds: World[] = [];
  afterEach(async () => {
    for (const world of worlds.splice(0)) await world.close();
  });

  const world = (
    records: Readonly<Record<string, readonly ServiceRecord[] | Error>> = {},
    staticHosts: Readonly<Record<string, string>> = {},
  ): World => {
    const clock = new ManualClock();
    const lookedUp: string[] = [];
    const addresses = new Map<string, string>();
    const resolve = async (hostname: string): Promise<LookupAddress[]> =>
      SILENT.test(hostname)
        ? new Promise<never>(() => undefined)
        : [{ address: addresses.get(hostname) ?? '127.0.0.1', family: 4 }];
    const http = new OutboundHttp({
      guard: new AddressGuard({ deny: ['0.0.0.0/0', '::/0'], allow: ['127.0.0.1'] }),
      timers: systemTimers,
      userAgent: 'test',
      certificateAuthorities: [certificate('authority.crt').toString()],
      resolve,
      concurrency: 2,
    });
    const discovery = new ServerDiscovery({
      staticHosts,
      wellKnown: new WellKnownServers({ http, clock, resolve, port }),
      records: new ServiceRecords({
        clock,
        random: systemRandom,
        resolve: async (name) => {
          lookedUp.push(name);
          const found = records[name];
          if (found instanceof Error) throw found;
          return found ?? [];
        },
      }),
    });
    const made = { discovery, clock, lookedUp, addresses, close: () => http.close() };
    worlds.push(made);
    return made;
  };

  /** `place Host TLS name` of each place. */
  const found = async ({ discovery }: Pick<World, 'discovery'>, serverName: string): Promise<string[]> =>
    (await discovery.find(serverName)).map(
      (place) => `${textOfPlace(place)} ${place.hostHeader} ${place.tlsName ?? '(address)'}`,
    );

  it('with an IP literal or a port is where its name says, and nobody is asked', async () => {
    const here = world();
    expect(await found(here, '192.0.2.7')).to.deep.equal(['192.0.2.7:8448 192.0.2.7 (address)']);
    expect(await found(here, '192.0.2.7:443')).to.deep.equal(['192.0.2.7:443 192.0.2.7:443 (address)']);
    expect(await found(here, '[2001:db8::1]')).to.deep.equal(['[2001:db8::1]:8448 [2001:db8::1] (address)']);
    expect(await found(here, '[::1]:8000')).to.deep.equal(['[::1]:8000 [::1]:8000 (address)']);
    expect(await found(here, 'a.test:8000')).to.deep.equal(['a.test:8000 a.test:8000 a.test']);
    expect([asked, here.lookedUp]).to.deep.equal([[], []]);
  });

  it('whose name is none, or names port 0, is nowhere', async () => {
    const here = world();
    for (const name of [
      '',
      'a.test:0',
      '[::1',
      'a.test/',
      'a_b.test',
      'pü.test',
      'a.test:99999',
      'a.test:8448:1',
      '1.2.3.999',
      'a test',
    ])
      expect(await found(here, name), name).to.deep.equal([]);
    expect([asked, here.lookedUp]).to.deep.equal([[], []]);
  });

  it('is where the operator says before anybody is asked, under its own name', async () => {
    const here = world({}, { 'a.test': '127.0.0.1:9000', 'b.test:1': '[::1]:2' });
    expect(await found(here, 'a.test')).to.deep.equal(['127.0.0.1:9000 a.test a.test']);
    expect(await found(here, 'b.test:1')).to.deep.equal(['[::1]:2 b.test:1 b.test']);
    expect(asked).to.deep.equal([]);
  });

  it('is where its well-known file says, which is asked once for the time that it says', async () => {
    const here = world();
    delegating('a.test', { 'm.server': 'b.test:1234' }, { 'cache-control': 'public, max-age=7200' });
    const expected = ['b.test:1234 b.test:1234 b.test'];
    expect(await Promise.all([found(here, 'a.test'), found(here, 'a.test')])).to.deep.equal([expected, expected]);
    await here.clock.advance(1.5 * HOUR);
    expect(await found(here, 'a.test')).to.deep.equal(expected);
    expect(asked.length).to.equal(1);
    delegating('a.test', { 'm.server': 'c.test:1' });
    await here.clock.advance(HOUR);
    expect(await found(here, 'a.test')).to.deep.equal(['c.test:1 c.test:1 c.test']);
    expect(here.lookedUp).to.deep.equal([]);
  });

  it('may be delegated to an address, whose certificate is for the address', async () => {
    const here = world();
    delegating('a.test', { 'm.server': '[2001:db8::2]' });
    delegating('b.test', { 'm.server': '192.0.2.1:443' });
    expect(await found(here, 'a.test')).to.deep.equal(['[2001:db8::2]:8448 [2001:db8::2] (address)']);
    expect(await found(here, 'b.test')).to.deep.equal(['192.0.2.1:443 192.0.2.1:443 (address)']);
  });

  it('that is delegated to a name without a port is looked for by that name, and proves that name', async () => {
    const record = (name: string): ServiceRecord => ({ name, port: 99, priority: 1, weight: 1 });
    const here = world({
      '_matrix-fed._tcp.x.test': [record('target.test.')],
      '_matrix._tcp.y.test': [record('old.test')],
    });
    delegating('a.test', { 'm.server': 'x.test' });
    delegating('b.test', { 'm.server': 'y.test' });
    delegating('c.test', { 'm.server': 'z.test' });
    expect(await found(here, 'a.test')).to.deep.equal(['target.test:99 x.test x.test']);
    expect(await found(here, 'b.test')).to.deep.equal(['old.test:99 y.test y.test']);
    expect(await found(here, 'c.test')).to.deep.equal(['z.test:8448 z.test z.test']);
    expect(asked.length).to.equal(3);
  });

  it('without such a file is where its SRV records say, by priority, and else at port 8448', async () => {
    const here = world({
      '_matrix-fed._tcp.a.test': [
        { name: 'second.test', port: 2, priority: 20, weight: 0 },
        { name: 'first.test', port: 1, priority: 10, weight: 5 },
        { name: '../evil', port: 1, priority: 1, weight: 5 },
        { name: 'zero.test', port: 0, priority: 1, weight: 5 },
      ],
      '_matrix-fed._tcp.b.test': Object.assign(new Error('none'), { code: 'ENOTFOUND' }),
      '_matrix._tcp.b.test': [{ name: 'deprecated.test', port: 3, priority: 1, weight: 1 }],
      '_matrix-fed._tcp.d.test': [{ name: '.', port: 0, priority: 0, weight: 0 }],
    });
    expect(await found(here, 'a.test')).to.deep.equal(['first.test:1 a.test a.test', 'second.test:2 a.test a.test']);
    expect(await found(here, 'b.test')).to.deep.equal(['deprecated.test:3 b.test b.test']);
    expect(await found(here, 'c.test')).to.deep.equal(['c.test:8448 c.test c.test']);
    expect(await found(here, 'd.test')).to.deep.equal([]);
    const before = here.lookedUp.length;
    await found(here, 'c.test');
    expect(here.lookedUp.length).to.equal(before);
  });

  it('whose name no name server answers for keeps nobody from being found, however many of them there are', async () => {
    const here = world();
    delegating('a.test', { 'm.server': 'real.test:1' });
    for (let n = 0; n < 20; n++) void here.discovery.find(`silent${n}.test`);
    expect(await found(here, 'a.test')).to.deep.equal(['real.test:1 real.test:1 real.test']);
    expect(asked).to.deep.equal([`a.test${WELL_KNOWN}`]);
  });

  it('whose well-known file is none is looked for as if there were none', async () => {
    const here = world();
    const faults: (Site | undefined)[] = [
      { status: 404 },
      { status: 500, body: '{"m.server":"evil.test:1"}' },
      { status: 201, body: '{"m.server":"evil.test:1"}' },
      { body: 'no JSON' },
      { body: '[]' },
      { body: 'null' },
      { body: '{"m.server":5}' },
      { body: '{"m.server":"evil.test/path"}' },
      { body: '{"m.server":"https://evil.test"}' },
      { body: `{"m.server":"evil.test:1","x":"${'y'.repeat(60_000)}"}` },
    ];
    for (const [index, site] of faults.entries()) {
      const host = `n${index}.servers.test`;
      if (site !== undefined) sites.set(`${host}${WELL_KNOWN}`, site);
      expect(await found(here, host)).to.deep.equal([`${host}:8448 ${host} ${host}`]);
    }
    // Who cannot prove to be that host says nothing about it.
    delegating('stranger.example', { 'm.server': 'evil.test:1' });
    expect(await found(here, 'stranger.example')).to.deep.equal([
      'stranger.example:8448 stranger.example stranger.example',
    ]);
  });

  it('is followed over redirects, though not for ever, not out of TLS, and not into this network', async () => {
    const here = world();
    const to = (host: string, location: string): void =>
      void sites.set(`${host}${WELL_KNOWN}`, { status: 302, headers: { location } });
    to('a.test', `https://b.test:${port}/elsewhere`);
    sites.set('b.test/elsewhere', { body: '{"m.server":"x.test:1"}' });
    expect(await found(here, 'a.test')).to.deep.equal(['x.test:1 x.test:1 x.test']);
    to('c.test', `https://c.test:${port}${WELL_KNOWN}`);
    to('d.test', `http://b.test:${port}/elsewhere`);
    to('e.test', 'https://inside.test/');
    here.addresses.set('inside.test', '10.0.0.1');
    for (const name of ['c.test', 'd.test', 'e.test'])
      expect(await found(here, name)).to.deep.equal([`${name}:8448 ${name} ${name}`]);
    expect(asked.filter((one) => one.startsWith('c.test')).length).to.equal(11);
  });

  it('is asked again about its delegation within bounds, whatever it says', async () => {
    const here = world();
    delegating('a.test', { 'm.server': 'x.test:1' }, { 'cache-control': 'no-store' });
    delegating('b.test', { 'm.server': 'x.test:1' }, { 'cache-control': 'max-age=99999999' });
    delegating('c.test', { 'm.server': 'x.test:1' }, { expires: '0' });
    delegating('d.test', { 'm.server': 'x.test:1' });
    const names = ['a.test', 'b.test', 'c.test', 'd.test'];
    const askAll = async (): Promise<string> => {
      asked.length = 0;
      for (const name of names) await found(here, name);
      return asked.map((one) => one.slice(0, 1)).join('');
    };
    expect(await askAll()).to.equal('abcd');
    await here.clock.advance(3 * MINUTE);
    expect(await askAll()).to.equal('');
    await here.clock.advance(3 * MINUTE);
    expect(await askAll()).to.equal('ac');
    await here.clock.advance(25 * HOUR);
    expect(await askAll()).to.equal('acd');
    await here.clock.advance(24 * HOUR);
    expect(await askAll()).to.equal('abcd');
  });

  it('that cannot be asked for its delegation is asked less and less, and is meanwhile where it was', async () => {
    const here = world();
    delegating('a.test', { 'm.server': 'x.test:1' }, { 'cache-control': 'max-age=3600' });
    await found(here, 'a.test');
    sites.set(`a.test${WELL_KNOWN}`, { status: 503 });
    await here.clock.advance(HOUR);
    expect(await found(here, 'a.test')).to.deep.equal(['x.test:1 x.test:1 x.test']);
    const count = async (ms: number): Promise<number> => {
      asked.length = 0;
      for (let at = 0; at < ms; at += MINUTE) {
        await here.clock.advance(MINUTE);
        await found(here, 'a.test');
      }
      return asked.length;
    };
    expect(await count(HOUR)).to.be.within(3, 6);
    expect(await count(2 * HOUR)).to.be.within(1, 3);
    expect(await found(here, 'a.test')).to.deep.equal(['x.test:1 x.test:1 x.test']);
    await here.clock.advance(48 * HOUR);
    expect(await found(here, 'a.test')).to.deep.equal(['a.test:8448 a.test a.test']);
  });

  it('that is not reached where it was delegated to is asked again, but not all the time', async () => {
    const here = world();
    delegating('a.test', { 'm.server': 'x.test:1' });
    await found(here, 'a.test');
    delegating('a.test', { 'm.server': 'y.test:1' });
    here.discovery.failed('a.test');
    expect(await found(here, 'a.test')).to.deep.equal(['x.test:1 x.test:1 x.test']);
    await here.clock.advance(6 * MINUTE);
    here.discovery.failed('a.test');
    expect(await found(here, 'a.test')).to.deep.equal(['y.test:1 y.test:1 y.test']);
  });
});
