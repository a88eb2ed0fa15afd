import { expect } from 'chai';
import { DnsServer } from '#test/support/stand-ins/dns-server.ts';
import { type Federation, type RemotePartner, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer } from '#test/support/in-process-server.ts';
import { uploadMedia } from '#test/support/media.ts';

describe('names of other servers that no name server answers for', function () {
  this.timeout(60_000);
  let dns: DnsServer;
  let federation: Federation;
  let server: InProcessServer;
  let p: RemotePartner;

  before(async () => {
    dns = await DnsServer.start();
    dns.otherwise = 'silence';
    dns.says('p.test', [{ type: 'A', name: 'p.test', address: '127.0.0.1' }]);
    federation = await startFederation(['a.test'], {
      partners: ['p.test'],
      server: { config: { dns: { nameServers: [dns.address] } } },
    });
    server = federation.server('a.test');
    p = federation.partner('p.test');
  });
  after(async () => {
    await federation?.stop();
    await dns?.stop();
  });

  it('hold up neither what is asked of another server, nor files', async () => {
    // In the server's name, so that it is looked up.
    const name = `p.test:${p.port}`;
    p.on('GET', '/_matrix/federation/v1/query/profile', () => ({ body: { displayname: 'Pat' } }));
    await server.session('alice');
    let over = 0;
    const dead = Array.from({ length: 30 }, (_, n) =>
      server.ask(undefined, 'GET', `/profile/@u:dead${n}.test:8448/displayname`).finally(() => (over += 1)),
    );
    const { displayname } = await server.must(undefined, 'GET', `/profile/@pat:${name}/displayname`);
    expect(displayname).to.equal('Pat');
    await uploadMedia(server, 'alice', 'a file');
    expect(over).to.equal(0);
    await Promise.all(dead);
  });
});
