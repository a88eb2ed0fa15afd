import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { expect } from 'chai';
import { AddressGuard } from '#src/remote/address-guard.ts';
import type { DestinationPlace } from '#src/remote/federation/destination-place.ts';
import { DestinationPools, type DestinationPoolsOptions } from '#src/remote/federation/destination-pools.ts';
import { until } from '#test/support/until.ts';
import { at } from '../outbound.ts';
import { names } from '../outbound.ts';

const certificate = (name: string): string =>
  readFileSync(new URL(`../../support/certificates/${name}`, import.meta.url), 'utf8');

/** A server with TLS, and the connections that came to it. */
class TlsServer {
  readonly server: Server;
  readonly connections: TLSSocket[] = [];
  readonly names: (string | false | null)[] = [];
  /** Whether the session of each was one of before. */
  readonly resumed: boolean[] = [];

  private constructor(name: string) {
    this.server = createServer(
      { cert: certificate(`${name}.crt`), key: certificate(`${name}.key`) },
      (request, response) => {
        response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(request.headers.host));
      },
    );
    this.server.on('secureConnection', (socket: TLSSocket & { servername?: string | false | null }) => {
      this.connections.push(socket);
      this.names.push(socket.servername ?? null);
      this.resumed.push(socket.isSessionReused());
    });
  }

  static async listen(address = '127.0.0.1', name = 'federation'): Promise<TlsServer> {
    const made = new TlsServer(name);
    made.server.listen(0, address);
    await once(made.server, 'listening');
    return made;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, 'close');
  }
}

describe('connections to other servers', () => {
  const servers: { close(): Promise<void> }[] = [];
  const all: DestinationPools[] = [];
  afterEach(async () => {
    for (const pools of all.splice(0)) await pools.destroy();
    for (const server of servers.splice(0)) await server.close();
  });

  const listen = async (address?: string, name?: string): Promise<TlsServer> => {
    const server = await TlsServer.listen(address, name);
    servers.push(server);
    return server;
  };
  const pools = (options: Partial<DestinationPoolsOptions> = {}): DestinationPools => {
    const made = new DestinationPools({
      guard: new AddressGuard({ deny: [], allow: [] }),
      timeoutMs: 20_000,
      connections: 8,
      resolve: names.addresses,
      certificateAuthorities: [certificate('authority.crt')],
      ...options,
    });
    all.push(made);
    return made;
  };
  const place = (port: number, name = 'p.test', host = '127.0.0.1'): DestinationPlace => ({
    host,
    port,
    hostHeader: name,
    tlsName: name,
  });
  const ask = async (to: DestinationPools, where: DestinationPlace): Promise<unknown> => {
    const { body } = await to.request(where, { method: 'GET', path: '/', headers: {} });
    return body.json();
  };
  const failure = (work: Promise<unknown>): Promise<string> =>
    work.then(
      () => 'none',
      (error: Error & { code?: string }) => error.code ?? error.name,
    );
  /** A server that accepts connections, and does with them what a test says. */
  const tcp = async (accept: (socket: Socket) => void): Promise<number> => {
    const sockets = new Set<Socket>();
    const server: TcpServer = createTcpServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined).resume();
      accept(socket);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.push({
      async close() {
        for (const socket of sockets) socket.destroy();
        server.close();
        await once(server, 'close');
      },
    });
    return (server.address() as AddressInfo).port;
  };

  it('are made before there is a request, which uses the one that is there', async () => {
    const server = await listen();
    const here = pools();
    await Promise.all([here.connect(place(server.port)), here.connect(place(server.port))]);
    expect(await ask(here, place(server.port))).to.equal('p.test');
    await here.connect(place(server.port));
    expect(server.connections).to.have.length(1);
    expect(server.names).to.deep.equal(['p.test']);
  });

  it('are as many as there are requests at the same time', async () => {
    const server = await listen();
    const here = pools();
    await Promise.all(Array.from({ length: 20 }, () => ask(here, place(server.port))));
    expect(server.connections.length).to.be.within(2, 8);
  });

  it('leave nothing behind where nobody is, where nothing is said, or where it is not TLS', async () => {
    const here = pools();
    const gone = await tcp(() => undefined);
    for (const server of servers.splice(0)) await server.close();
    expect(await failure(here.connect(place(gone)))).to.equal('ECONNREFUSED');
    expect(await failure(ask(here, place(gone)))).to.equal('ECONNREFUSED');
    expect(here.size).to.equal(0);
    let ended = 0;
    const silent = await tcp((socket) => socket.on('close', () => (ended += 1)));
    expect(await failure(pools({ timeoutMs: 100 }).connect(place(silent)))).to.equal('UND_ERR_CONNECT_TIMEOUT');
    // Who has accepted is not late for that.
    const patient = pools({ timeoutMs: 200 });
    expect(await failure(patient.connect(place(silent), 1))).to.equal('UND_ERR_CONNECT_TIMEOUT');
    const garbage = await tcp((socket) => socket.end('220 mail.test ESMTP\r\n'));
    expect(await failure(here.connect(place(garbage)))).to.not.equal('none');
    expect(here.size).to.equal(0);
    await until('it hangs up', () => ended === 2);
  });

  it('are forgotten when the other side has closed the last of them', async () => {
    const server = await listen();
    const here = pools();
    await here.connect(place(server.port));
    expect(here.size).to.equal(1);
    // The first one is closed before anybody has asked for it, the second afterwards.
    await until('the connection', () => server.connections.length === 1);
    server.server.closeAllConnections();
    for (const socket of server.connections) socket.destroy();
    await until('it is noticed', () => here.size === 0);
    await ask(here, place(server.port));
    expect(here.size).to.equal(1);
    for (const socket of server.connections) socket.destroy();
    await until('it is noticed', () => here.size === 0);
    expect(await ask(here, place(server.port))).to.equal('p.test');
    expect(server.connections).to.have.length(3);
  });

  it('resume the TLS session of the last one, for the same name only', async () => {
    const server = await listen();
    const here = pools();
    const again = async (name: string): Promise<boolean> => {
      await ask(here, place(server.port, name));
      for (const socket of server.connections) socket.destroy();
      await until('it is closed', () => here.size === 0);
      return server.resumed.at(-1)!;
    };
    expect(await again('p.test')).to.equal(false);
    expect(await again('p.test')).to.equal(true);
    expect(await again('q.test')).to.equal(false);
    expect(await again('p.test')).to.equal(true);
  });

  it('go to nobody whose certificate is for another name, of another authority, or expired', async () => {
    const server = await listen();
    expect(await failure(pools().connect(place(server.port, 'stranger.example')))).to.equal(
      'ERR_TLS_CERT_ALTNAME_INVALID',
    );
    const others = pools({ certificateAuthorities: [certificate('loopback.crt')] });
    expect(await failure(others.connect(place(server.port)))).to.equal('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
    expect(await failure(pools({ certificateAuthorities: undefined }).connect(place(server.port)))).to.equal(
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    );
    const expired = await listen('127.0.0.1', 'expired');
    const trusting = pools({ certificateAuthorities: [certificate('expired.crt')] });
    expect(await failure(trusting.connect(place(expired.port)))).to.equal('CERT_HAS_EXPIRED');
    expect([others.size, trusting.size]).to.deep.equal([0, 0]);
  });

  it('go to IP addresses whose certificate is for the address, without SNI, over IPv6 too', async () => {
    const four = await listen();
    const six = await listen('::1');
    const here = pools();
    const literal = (host: string, port: number): DestinationPlace => ({
      host,
      port,
      hostHeader: host,
      tlsName: undefined,
    });
    expect(await ask(here, literal('127.0.0.1', four.port))).to.equal('127.0.0.1');
    expect(await ask(here, literal('::1', six.port))).to.equal('::1');
    expect([...four.names, ...six.names]).to.deep.equal([false, false]);
    const other = await listen('127.0.0.3');
    expect(await failure(here.connect(literal('127.0.0.3', other.port)))).to.equal('ERR_TLS_CERT_ALTNAME_INVALID');
  });

  it('go to the address of a name at which somebody answers, be it the last one or one of IPv6', async () => {
    const six = await listen('::1');
    const addresses: Record<string, string[]> = {
      'only-six.servers.test': ['::1'],
      'dead-four.servers.test': ['127.0.0.1', '127.0.0.2', '::1'],
      'dead-six.servers.test': ['::ffff:127.0.0.9', '::1'],
    };
    const here = pools({ resolve: async (name) => (addresses[name] ?? []).map(at) });
    for (const name of Object.keys(addresses))
      expect(await ask(here, place(six.port, name, name)), name).to.equal(name);
    expect(await failure(here.connect(place(six.port, 'nowhere.servers.test', 'nowhere.servers.test')))).to.equal(
      'UnresolvedHostError',
    );
  });

  it('go to no address that is denied, whatever else a name has', async () => {
    const four = await listen();
    const guard = new AddressGuard({ deny: ['::1/128', '127.0.0.2'], allow: [] });
    const here = pools({ guard, resolve: async () => ['::1', '127.0.0.2', '127.0.0.1'].map(at) });
    expect(await ask(here, place(four.port, 'x.test', 'x.test'))).to.equal('x.test');
    const inside = pools({ guard, resolve: async () => [at('::1')] });
    expect(await failure(inside.connect(place(four.port, 'x.test', 'x.test')))).to.equal('RefusedAddressError');
    expect(await failure(inside.connect(place(four.port, 'x.test', '::1')))).to.equal('RefusedAddressError');
    expect(await failure(inside.connect(place(four.port, 'x.test', '::ffff:127.0.0.2')))).to.equal(
      'RefusedAddressError',
    );
  });

  it('that are being made are given up when the server stops', async () => {
    const here = pools({ timeoutMs: 600_000 });
    let accepted = 0;
    const silent = await tcp(() => (accepted += 1));
    const connecting = failure(here.connect(place(silent)));
    await until('it is tried', () => accepted === 1);
    await here.destroy();
    expect(await connecting).to.not.equal('none');
    expect(await failure(here.connect(place(silent)))).to.equal('UND_ERR_DESTROYED');
  });
});
