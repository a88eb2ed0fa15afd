import { createServer } from 'node:http';
import type { LookupAddress } from 'node:dns';
import { expect } from 'chai';
import { at, get, LOOPBACK, OutboundTest } from './outbound.ts';

describe('outbound HTTP', function () {
  this.timeout(60_000);
  const { serve, listen, client, answered, kindOf, stop } = new OutboundTest();
  afterEach(stop);

  describe('redirects', () => {
    it('are the answer, unless they are to be followed', async () => {
      const url = await serve((_request, response) => response.writeHead(302, { location: '/elsewhere' }).end());
      const answer = await answered(client().request(get(url)));
      expect([answer.status, answer.headers['location']]).to.deep.equal([302, '/elsewhere']);
    });
    it('are followed as often as allowed', async () => {
      const url = await serve((request, response) => {
        const step = Number(request.url?.slice(1));
        if (step === 0) response.end('there');
        else response.writeHead(307, { location: `/${step - 1}` }).end();
      });
      const answer = await answered(client().request(get(`${url}/3`, { maxRedirects: 3 })));
      expect([answer.body.toString(), answer.url]).to.deep.equal(['there', `${url}/0`]);
      expect(await kindOf(client().request(get(`${url}/4`, { maxRedirects: 3 })))).to.equal('too_many_redirects');
    });
    it('do not lead to denied addresses or schemes', async () => {
      let reached = 0;
      const inside = await serve((_request, response) => {
        reached++;
        response.end('secret');
      });
      const { port } = new URL(inside);
      for (const [location, kind] of [
        [inside, 'refused_address'],
        [`http://inside.example:${port}/`, 'refused_address'],
        ['file:///etc/passwd', 'refused_url'],
        ['http://[', 'refused_url'],
      ] as const) {
        const outside = await listen(
          createServer((_request, response) => response.writeHead(302, { location }).end()),
          '127.0.0.2',
        );
        const resolve = async (name: string): Promise<LookupAddress[]> => [
          at(name === 'outside.example' ? '127.0.0.2' : '127.0.0.1'),
        ];
        const http = client({ deny: LOOPBACK, allow: ['127.0.0.2'], resolve });
        expect(
          await kindOf(http.request(get(`http://outside.example:${outside}/`, { maxRedirects: 5 }))),
          location,
        ).to.equal(kind);
      }
      expect(reached).to.equal(0);
    });
    it('lose credentials on the way to another origin, and keep them on the same', async () => {
      const seen: (string | undefined)[] = [];
      const other = await serve((request, response) => {
        seen.push(request.headers.authorization, request.headers.cookie, request.headers['x-kept'] as string);
        response.end();
      });
      const url = await serve((request, response) => {
        seen.push(request.headers.authorization);
        const location = request.url === '/a' ? '/b' : other;
        response.writeHead(302, { location }).end();
      });
      const headers = { Authorization: 'Bearer x', Cookie: 'a=b', 'X-Kept': 'yes' };
      await answered(client().request(get(`${url}/a`, { headers, maxRedirects: 5 })));
      expect(seen).to.deep.equal(['Bearer x', 'Bearer x', undefined, undefined, 'yes']);
    });
    it('turn POST into GET without a body where that is the custom', async () => {
      for (const [status, expected] of [
        [301, 'GET '],
        [302, 'GET '],
        [303, 'GET '],
        [307, 'POST text'],
        [308, 'POST text'],
      ] as const) {
        const url = await serve((request, response) => {
          if (request.url === '/') {
            response.writeHead(status, { location: '/there' }).end();
            return;
          }
          let body = '';
          request.on('data', (chunk: Buffer) => (body += chunk.toString()));
          request.on('end', () => response.end(`${request.method} ${body}`));
        });
        const answer = await answered(client().request(get(url, { method: 'POST', body: 'text', maxRedirects: 1 })));
        expect(answer.body.toString(), String(status)).to.equal(expected);
      }
    });
  });
});
