import { expect } from 'chai';
import type { FederationResult } from '#src/remote/federation/federation-result.ts';
import { type InProcessServer } from '../../../support/in-process-server.ts';
import {
  type Federation,
  questionOf,
  type RemotePartner,
  startFederation,
} from '#test/support/federation/federation.ts';
import { remoteMember } from '#test/support/federation/remote-members.ts';
import { until } from '../../../support/until.ts';

const CONCURRENCY = 10;
const DEAD = Array.from({ length: 36 }, (_, index) => `dead${index}.servers.test`);
const LIVE = Array.from({ length: 4 }, (_, index) => `live${index}.servers.test`);

describe('servers that are sent to', () => {
  let federation: Federation;
  let a: InProcessServer;
  let p: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], {
      partners: ['p.test'],
      server: { config: { federation: { concurrency: CONCURRENCY } } },
    });
    a = federation.server('a.test');
    p = federation.partner('p.test');
  });
  after(() => federation.stop());

  it('do not wait for those that take long to fail, however many there are, nor are more of these tried at once than may be', async () => {
    const { federationClient } = a.services;
    const arrived = new Map<string, number>();
    let isHanging = false;
    let hanging = 0;
    let maxHanging = 0;
    const released = Promise.withResolvers<void>();
    federationClient.request = async (wish): Promise<FederationResult> => {
      const { destination } = wish;
      if (LIVE.includes(destination)) {
        const { body = '{"pdus":[]}' } = (await questionOf(wish)) ?? {};
        const { pdus } = JSON.parse(body) as { readonly pdus: readonly unknown[] };
        arrived.set(destination, (arrived.get(destination) ?? 0) + pdus.length);
        return { ok: true, body: { pdus: {} } };
      }
      if (isHanging) {
        hanging += 1;
        maxHanging = Math.max(maxHanging, hanging);
        await released.promise;
        hanging -= 1;
      }
      return { ok: false, kind: 'unreachable', destination, error: 'It is away.' };
    };
    const roomId = await a.room('alice', { preset: 'public_chat' });
    for (const name of [...DEAD, ...LIVE]) await remoteMember(a, roomId, `@user:${name}`, 'join', p.signingKey);
    await a.say('alice', roomId, 'first');
    await a.idle();
    expect([...arrived.values()]).to.deep.equal([1, 1, 1, 1]);
    isHanging = true;
    // All of the dead are due.
    const due = federation.clock.advance(60_000);
    await until('the dead are tried', () => (hanging > 0 ? true : undefined));
    for (let count = 0; count < 5; count++) await a.say('alice', roomId, `m${count}`);
    await until('the live have everything', () => (LIVE.every((name) => arrived.get(name) === 6) ? true : undefined));
    expect(hanging).to.be.above(0);
    expect(maxHanging).to.be.at.most(CONCURRENCY * 1.25 + 1);
    released.resolve();
    await due;
    await a.idle();
  });

  it('of which nothing is known take only a part of what is done at once, so that the others wait for none of them', async () => {
    const { federationClient } = a.services;
    const strangers = Array.from({ length: 20 }, (_, index) => `stranger${index}.servers.test`);
    const { request } = federationClient;
    let tried = 0;
    const arrived: string[] = [];
    const released = Promise.withResolvers<void>();
    federationClient.request = async (wish): Promise<FederationResult> => {
      const { destination } = wish;
      if (!strangers.includes(destination)) {
        await questionOf(wish);
        arrived.push(destination);
        return { ok: true, body: { pdus: {} } };
      }
      tried += 1;
      await released.promise;
      return { ok: false, kind: 'unreachable', destination, error: 'It is away.' };
    };
    const quiet = await a.room('alice', { preset: 'public_chat' });
    for (const name of LIVE) await remoteMember(a, quiet, `@user:${name}`, 'join', p.signingKey);
    await a.say('alice', quiet, 'they are there');
    await until('they are known to be there', () => (LIVE.every((name) => arrived.includes(name)) ? true : undefined));
    const crowded = await a.room('alice', { preset: 'public_chat' });
    for (const name of strangers) await remoteMember(a, crowded, `@user:${name}`, 'join', p.signingKey);
    await a.say('alice', crowded, 'is anybody there?');
    await until('as many are tried as may be', () => (tried === CONCURRENCY * 0.6 ? true : undefined));
    arrived.length = 0;
    await a.say('alice', quiet, 'they are there still');
    await until('the live have it', () => (LIVE.every((name) => arrived.includes(name)) ? true : undefined));
    expect(tried).to.equal(CONCURRENCY * 0.6);
    released.resolve();
    await a.idle();
    expect(tried).to.equal(strangers.length);
    federationClient.request = request;
  });

  it('keep a position for each room while they are away, and nothing of what they are to be sent', async () => {
    const { database } = a.services;
    await federation.clock.advance(2_000);
    await a.idle();
    const [row] = await database.query<{ rooms: number; failing: number }>(
      {
        name: 'test_away',
        text: "select (select count(*)::int from destination_rooms) as rooms, (select count(*)::int from deliveries where queue = 'federation') as failing",
      },
      [],
    );
    expect(row).to.deep.equal({ rooms: DEAD.length + 20, failing: DEAD.length + 20 });
  });
});
