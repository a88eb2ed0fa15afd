import { readFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import { createServer, type ServerResponse } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { LookupAddress } from 'node:dns';
import { expect } from 'chai';
import { until } from '#test/support/until.ts';
import { at, get, LOOPBACK, OutboundTest } from './outbound.ts';

const file = (name: string): string => readFileSync(new URL(`../http/certificates/${name}`, import.meta.url), 'utf8');

describe('outbound HTTP', function () {
  this.timeout(60_000);
  const { serve, listen, client, answered, failed, kindOf, stop } = new OutboundTest();
  afterEach(stop);

  it('sends method, headers and body, and gives status, headers and body back', async () => {
    let seen: { method?: string | undefined; agent?: string | undefined; token?: string | undefined; body: string };
    const url = await serve((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        const { 'user-agent': agent, authorization: token } = request.headers;
        seen = { method: request.method, agent, token, body };
        response.writeHead(418, { 'X-Told': 'yes' }).end('はい');
      });
    });
    const answer = await answered(
      client().request(
        get(`${url}/a?b=c`, { method: 'PUT', headers: { Authorization: 'Bearer x' }, body: '{"集い":1}' }),
      ),
    );
    expect(seen!).to.deep.equal({ method: 'PUT', agent: 'Tsudoi/test', token: 'Bearer x', body: '{"集い":1}' });
    expect([answer.status, answer.headers['x-told'], answer.body.toString()]).to.deep.equal([418, 'yes', 'はい']);
    expect(answer.url).to.equal(`${url}/a?b=c`);
  });

  describe('addresses', () => {
    it('refuses a denied address, however it is written, without connecting', async () => {
      let connections = 0;
      const server = createServer((_request, response) => response.end());
      server.on('connection', () => connections++);
      const port = await listen(server);
      const http = client({ deny: LOOPBACK });
      for (const host of [
        '127.0.0.1',
        '127.1',
        '0x7f000001',
        '2130706433',
        '017700000001',
        '[::ffff:127.0.0.1]',
        '[::1]',
      ])
        expect(await kindOf(http.request(get(`http://${host}:${port}/`))), host).to.equal('refused_address');
      expect(connections).to.equal(0);
    });
    it('refuses a name that leads to a denied address', async () => {
      const url = await serve((_request, response) => response.end());
      const { port } = new URL(url);
      const http = client({ deny: LOOPBACK, resolve: async () => [at('127.0.0.1')] });
      expect(await kindOf(http.request(get(`http://innocent.example:${port}/`)))).to.equal('refused_address');
      expect(await kindOf(client({ deny: LOOPBACK }).request(get(`http://localhost:${port}/`)))).to.equal(
        'refused_address',
      );
    });
    it('connects to what was judged: a name that answers differently each time gains nothing', async () => {
      let asked = 0;
      let reached = 0;
      const url = await serve((_request, response) => {
        reached++;
        response.end();
      });
      const { port } = new URL(url);
      // First harmless (where nobody answers), then the inside.
      const resolve = async (): Promise<LookupAddress[]> => [at(asked++ === 0 ? '127.9.9.9' : '127.0.0.1')];
      const http = client({ deny: ['127.0.0.1'], resolve });
      expect(await kindOf(http.request(get(`http://rebinding.example:${port}/`)))).to.equal('unreachable');
      expect(asked).to.equal(1);
      expect(await kindOf(http.request(get(`http://rebinding.example:${port}/`)))).to.equal('refused_address');
      expect(reached).to.equal(0);
    });
    it('passes over the denied ones among the addresses of a name', async () => {
      const url = await serve((request, response) => response.end(request.socket.localAddress));
      const { port } = new URL(url);
      const http = client({
        deny: ['10.0.0.0/8', '::1'],
        resolve: async () => [at('10.0.0.1'), at('::1'), at('127.0.0.1')],
      });
      expect((await answered(http.request(get(`http://both.example:${port}/`)))).body.toString()).to.equal('127.0.0.1');
    });
    it('says when a name has no address', async () => {
      const nowhere = client({ resolve: async () => [] });
      expect(await kindOf(nowhere.request(get('http://nowhere.example/')))).to.equal('unresolved');
      const broken = client({ resolve: () => Promise.reject(new Error('SERVFAIL')) });
      expect(await kindOf(broken.request(get('http://nowhere.example/')))).to.equal('unresolved');
    });
  });

  describe('URLs', () => {
    it('must be https, unless http is allowed', async () => {
      const http = client();
      expect(await kindOf(http.request({ method: 'GET', url: 'http://127.0.0.1/' }))).to.equal('refused_url');
      for (const url of ['ftp://127.0.0.1/', 'file:///etc/passwd', 'data:text/plain,x', 'no url', ''])
        expect(await kindOf(http.request(get(url))), url).to.equal('refused_url');
    });
    it('must not carry credentials, nor headers line breaks', async () => {
      const http = client();
      expect(await kindOf(http.request(get('http://user:secret@127.0.0.1/')))).to.equal('refused_url');
      const { kind, reason } = await failed(
        http.request(get('http://127.0.0.1:9/', { headers: { authorization: 'Bearer se\r\ncret' } })),
      );
      expect(kind).to.equal('refused_url');
      expect(reason).not.to.contain('cret');
    });
  });

  describe('certificates', () => {
    const start = async (): Promise<number> =>
      listen(
        createTlsServer({ cert: file('first.crt'), key: file('first.key') }, (_request, response) =>
          response.end('secure'),
        ),
      );
    it('are believed when an authority stands for them and the name is right', async () => {
      const port = await start();
      const http = client({ certificateAuthorities: [file('first.crt')], resolve: async () => [at('127.0.0.1')] });
      const answer = await answered(http.request({ method: 'GET', url: `https://first.test:${port}/` }));
      expect(answer.body.toString()).to.equal('secure');
      expect(await kindOf(http.request({ method: 'GET', url: `https://other.test:${port}/` }))).to.equal('unreachable');
    });
    it('are not believed otherwise', async () => {
      const port = await start();
      const http = client({ resolve: async () => [at('127.0.0.1')] });
      expect(await kindOf(http.request({ method: 'GET', url: `https://first.test:${port}/` }))).to.equal('unreachable');
    });
  });

  describe('bounds', () => {
    it('stops reading a body that is longer than asked for, and closes the connection', async () => {
      let sent = 0;
      let closed: () => void = () => undefined;
      const isClosed = new Promise<void>((resolve) => (closed = resolve));
      const url = await serve((_request, response) => {
        response.on('close', () => closed());
        const more = (): void => {
          while (!response.destroyed && response.write(Buffer.alloc(16_384))) sent += 16_384;
        };
        response.on('drain', more);
        more();
      });
      expect(await kindOf(client().request(get(url, { maxBodyBytes: 100_000 })))).to.equal('too_large');
      await isClosed;
      expect(sent).to.be.below(50_000_000);
    });
    it('takes a body of just that length', async () => {
      const url = await serve((_request, response) => response.end(Buffer.alloc(1000)));
      expect((await answered(client().request(get(url, { maxBodyBytes: 1000 })))).body).to.have.length(1000);
      expect(await kindOf(client().request(get(url, { maxBodyBytes: 999 })))).to.equal('too_large');
    });
    it('waits only so long for the header', async () => {
      const url = await serve(() => undefined);
      expect(await kindOf(client().request(get(url, { timeouts: { headersMs: 100 } })))).to.equal('timeout');
    });
    it('waits only so long for the next piece of the body', async () => {
      const url = await serve((_request, response) => void response.write('the beginning'));
      expect(await kindOf(client().request(get(url, { timeouts: { bodyMs: 100 } })))).to.equal('timeout');
    });
    it('waits only so long altogether, for a body that comes drop by drop', async () => {
      const url = await serve((_request, response) => {
        const drip = setInterval(() => response.write('.'), 20);
        response.on('close', () => clearInterval(drip));
      });
      expect(await kindOf(client().request(get(url, { timeouts: { totalMs: 300 } })))).to.equal('timeout');
    });
    it('waits only so long for a header that comes drop by drop', async () => {
      const port = await listen(
        createTcpServer((socket) => {
          socket.write('HTTP/1.1 200 OK\r\n');
          const drip = setInterval(() => socket.write('X-More: 1\r\n'), 20);
          socket.on('close', () => clearInterval(drip));
          socket.on('error', () => undefined);
        }),
      );
      const request = get(`http://127.0.0.1:${port}/`, { timeouts: { totalMs: 300 } });
      expect(await kindOf(client().request(request))).to.be.oneOf(['timeout', 'broken']);
    });
    it('waits only so long for TLS with somebody who says nothing', async () => {
      const port = await listen(createTcpServer((socket) => void socket.on('error', () => undefined)));
      const http = client({ connectMs: 150 });
      expect(await kindOf(http.request({ method: 'GET', url: `https://127.0.0.1:${port}/` }))).to.equal('timeout');
    });
    it('waits only so long for a name', async () => {
      const http = client({ connectMs: 150, resolve: () => new Promise(() => undefined) });
      expect(await kindOf(http.request(get('http://slow.example/')))).to.equal('timeout');
    });
    it('makes only so many requests at once, and tells those who wait that time is up', async () => {
      const inside: ServerResponse[] = [];
      let most = 0;
      const url = await serve((_request, response) => void (most = Math.max(most, inside.push(response))));
      const http = client({ concurrency: 2 });
      const answers = Promise.all(Array.from({ length: 6 }, () => answered(http.request(get(url)))));
      for (let round = 0; round < 3; round++) {
        await until('two are made', () => inside.length >= 2);
        for (const response of inside.splice(0)) response.end();
      }
      await answers;
      expect(most).to.equal(2);
      const hanging = await serve(() => undefined);
      const occupied = [1, 2].map(() => http.request(get(hanging, { timeouts: { totalMs: 1_000 } })));
      expect(await kindOf(http.request(get(url, { timeouts: { totalMs: 100 } })))).to.equal('timeout');
      await Promise.all(occupied);
    });
    it('makes only so many requests at once of one server', async () => {
      let most = 0;
      const waiting: ServerResponse[] = [];
      const server = createServer((_request, response) => {
        most = Math.max(most, waiting.push(response));
        if (most >= 3) for (const one of waiting.splice(0)) one.end();
      });
      const url = `http://127.0.0.1:${await listen(server)}`;
      const http = client({ perOrigin: 3 });
      await Promise.all(Array.from({ length: 12 }, () => answered(http.request(get(url)))));
      expect(most).to.equal(3);
    });
    it('refuses more when too many wait already', async () => {
      const url = await serve(() => undefined);
      const http = client({ concurrency: 1, waiting: 1 });
      const hanging = [1, 2].map(() => http.request(get(url, { timeouts: { totalMs: 300 } })));
      await Promise.resolve();
      expect(await kindOf(http.request(get(url)))).to.equal('busy');
      await Promise.all(hanging);
    });
  });

  it('says when nobody answers, or something that is no HTTP', async () => {
    const port = await listen(createTcpServer((socket) => socket.once('data', () => socket.end('hello\r\n\r\n'))));
    expect(await kindOf(client().request(get(`http://127.0.0.1:${port}/`)))).to.equal('broken');
    const silent = await listen(createTcpServer((socket) => void socket.destroy()));
    expect(await kindOf(client().request(get(`http://127.0.0.1:${silent}/`)))).to.equal('broken');
    const early = await listen(
      createTcpServer((socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort')),
    );
    expect(await kindOf(client().request(get(`http://127.0.0.1:${early}/`)))).to.equal('broken');
    expect(await kindOf(client().request(get('http://127.0.0.1:1/')))).to.equal('unreachable');
  });
  it('gives up when asked to, and when it closes', async () => {
    const url = await serve(() => undefined);
    const giveUp = new AbortController();
    const first = kindOf(client().request(get(url, { signal: giveUp.signal })));
    giveUp.abort();
    expect(await first).to.equal('aborted');
    const http = client();
    const second = kindOf(http.request(get(url)));
    await http.close();
    expect(await second).to.equal('aborted');
    expect(await kindOf(http.request(get(url)))).to.equal('aborted');
  });
});
