import { expect } from 'chai';
import type { InProcessServer, Json } from '../../../support/in-process-server.ts';
import {
  type Federation,
  type PartnerRoute,
  type RemotePartner,
  startFederation,
} from '#test/support/federation/federation.ts';
import { remoteMember } from '#test/support/federation/remote-members.ts';
import { until } from '../../../support/until.ts';

const SEND = /^\/_matrix\/federation\/v1\/send\//;
const TAKEN: PartnerRoute = () => ({ body: { pdus: {} } });

describe('a server that is sent to', () => {
  let federation: Federation;
  let a: InProcessServer;
  let p: RemotePartner;
  let q: RemotePartner;
  let roomId: string;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test', 'q.test'] });
    a = federation.server('a.test');
    p = federation.partner('p.test');
    q = federation.partner('q.test');
    roomId = await a.room('alice', { preset: 'public_chat' });
    for (const partner of [p, q])
      await remoteMember(a, roomId, `@user:${partner.serverName}`, 'join', partner.signingKey);
  });
  after(() => federation.stop());
  beforeEach(async () => {
    for (const partner of [p, q]) partner.on('PUT', SEND, TAKEN);
    await settled();
    for (const partner of [p, q]) partner.asked.length = 0;
  });

  /** Lets whatever waits go out. */
  const settled = async (): Promise<void> => {
    for (const partner of [p, q])
      await partner.send('a.test', 'GET', '/_matrix/federation/v1/user/devices/@alice:a.test');
    await a.idle();
  };
  const arrived = (partner: RemotePartner): string[] =>
    partner
      .requests('PUT', SEND)
      .flatMap(({ body }) => body.pdus)
      .map(({ content }: Json) => content.body);

  const answers: Record<string, PartnerRoute> = {
    'a body that is no JSON': () => ({ body: '<html>' }),
    'a list': () => ({ body: '[]' }),
    'nothing at all': ({ response }) => void response.destroy(),
    'a redirect': () => ({ status: 302, headers: { location: 'https://q.test/' }, body: '' }),
    'an error of what stands before it': () => ({ status: 502, body: 'away' }),
    'that it does not know who this is': () => ({ status: 401, body: { errcode: 'M_UNAUTHORIZED', error: 'Who?' } }),
  };
  for (const [what, answer] of Object.entries(answers))
    it(`and answers with ${what} is sent the same again, under the same id, and keeps nobody from theirs`, async () => {
      p.on('PUT', SEND, answer);
      await a.say('alice', roomId, what);
      await a.idle();
      expect(arrived(q)).to.deep.equal([what]);
      expect(arrived(p)).to.deep.equal([what]);
      p.on('PUT', SEND, TAKEN);
      await federation.clock.advance(30_000);
      await a.idle();
      expect(arrived(p)).to.deep.equal([what, what]);
      expect(new Set(p.requests('PUT', SEND).map(({ path }) => path)).size).to.equal(1);
      await federation.clock.advance(30_000);
      await a.idle();
      expect(arrived(p)).to.have.length(2);
    });

  it('and refuses events one by one, or says more than anybody reads, has had them', async () => {
    const said = ['refused', 'told at length'];
    p.on('PUT', SEND, ({ body }) => ({
      body: { pdus: Object.fromEntries(body.pdus.map((_: Json, n: number) => [`$${n}`, { error: 'No.' }])) },
    }));
    await a.say('alice', roomId, 'refused');
    await a.idle();
    p.on('PUT', SEND, () => ({ body: { pdus: {}, more: 'x'.repeat(1_000_000) } }));
    await a.say('alice', roomId, 'told at length');
    await a.idle();
    await federation.clock.advance(60_000);
    await a.idle();
    expect(arrived(p)).to.deep.equal(said);
  });

  it('and asks for a pause of years is left alone for an hour at most, and until it is heard of', async () => {
    let tries = 0;
    p.on('PUT', SEND, () => {
      tries += 1;
      return { status: 429, headers: { 'retry-after': '999999999' }, body: { errcode: 'M_LIMIT_EXCEEDED' } };
    });
    await a.say('alice', roomId, 'wait');
    await a.idle();
    await federation.clock.advance(50 * 60_000);
    await a.idle();
    expect(tries).to.equal(1);
    await federation.clock.advance(11 * 60_000);
    await a.idle();
    expect(tries).to.equal(2);
    p.on('PUT', SEND, TAKEN);
    p.asked.length = 0;
    await settled();
    expect(arrived(p)).to.deep.equal(['wait']);
  });

  it('and answers byte by byte is given up in the end, and is the only one that waits', async () => {
    const written = Promise.withResolvers<void>();
    let isOver = false;
    p.on('PUT', SEND, ({ response }) => {
      response.writeHead(200, { 'content-type': 'application/json' }).write('{');
      response.on('close', () => (isOver = true));
      written.resolve();
    });
    await a.say('alice', roomId, 'slow');
    await written.promise;
    await a.say('alice', roomId, 'next');
    await until('q has all', () => (arrived(q).length === 2 ? true : undefined));
    expect(arrived(p)).to.deep.equal(['slow']);
    p.on('PUT', SEND, TAKEN);
    await federation.clock.advance(90_000);
    await until('it is given up', () => isOver);
    await a.idle();
    await federation.clock.advance(30_000);
    await a.idle();
    expect(arrived(p)).to.deep.equal(['slow', 'slow', 'next']);
  });

  it('and cannot be reached is not waited for when this one stops', async () => {
    // It takes the connection, and says nothing of TLS.
    const path = federation.path('a.test', 'p.test');
    path.cut();
    await a.say('alice', roomId, 'later');
    await a.idle();
    path.hang();
    const { federationClient } = a.services;
    const request = federationClient.request.bind(federationClient);
    const ends: string[] = [];
    federationClient.request = async (wish) => {
      const result = await request(wish);
      if (wish.destination === 'p.test' && !result.ok) ends.push(result.error);
      return result;
    };
    const before = path.attempts;
    const due = federation.clock.advance(30_000);
    await until('it is tried', () => path.attempts > before);
    await a.restart();
    await due;
    expect(ends.at(-1)).to.equal('The request to p.test was given up.');
    path.heal();
    for (let round = 0; round < 4; round++) {
      await a.idle();
      await federation.clock.advance(30_000);
    }
    await a.idle();
    expect(arrived(p)).to.deep.equal(['later']);
  });
});
