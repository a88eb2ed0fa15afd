import { expect } from 'chai';
import type { FederationResult } from '#src/remote/federation/federation-result.ts';
import { sql } from '#src/storage/statement.ts';
import {
  type Federation,
  questionOf,
  type RemotePartner,
  startFederation,
} from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';
import { remoteMember } from '#test/support/federation/remote-members.ts';
import { until } from '#test/support/until.ts';
import { whileReading } from '#test/support/while-reading.ts';

const SEND = /^\/_matrix\/federation\/v1\/send\//;
const PUBLIC = { preset: 'public_chat' };
const MIB = 1024 * 1024;
const SPOIL_EVENT = sql('test_spoil_event', `update events set json = 'no JSON' where json like '%"' || $1 || '"%'`);
const SPOIL_MESSAGES = sql('test_spoil_messages', `update destination_to_device set json = 'no JSON'`);

describe('transactions for other servers', function () {
  this.timeout(120_000);
  let federation: Federation;
  let a: InProcessServer;
  let p: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test'] });
    a = federation.server('a.test');
    p = federation.partner('p.test');
  });
  after(() => federation.stop());
  beforeEach(() => {
    p.asked.length = 0;
    p.on('PUT', SEND, () => ({ body: { pdus: {} } }));
  });

  const shared = async (): Promise<string> => {
    const roomId = await a.room('alice', PUBLIC);
    await remoteMember(a, roomId, '@user:p.test', 'join', p.signingKey);
    return roomId;
  };
  const transactions = (): Json[] => p.requests('PUT', SEND).map(({ body }) => body);
  const arrived = (): string[] =>
    transactions().flatMap(({ pdus }) => pdus.map((pdu: Json) => pdu.content.body ?? pdu.type));
  const metric = async (name: string, labels = ''): Promise<number> => {
    const line = (await a.metrics.render()).split('\n').find((one) => one.startsWith(`${name}${labels} `));
    return Number(line?.split(' ').at(-1));
  };
  /** Lets as much time pass as several tries take. */
  const someTries = async (): Promise<void> => {
    for (let count = 0; count < 6; count += 1) {
      await a.idle();
      await federation.clock.advance(5_000);
    }
    await a.idle();
  };

  it('hold nothing when their time is over before they are put together, and arrive with the next try', async () => {
    await shared();
    await a.idle();
    const toDevices = (): Json[] =>
      transactions().flatMap(({ edus = [] }) => edus.filter((edu: Json) => edu.edu_type === 'm.direct_to_device'));
    let heldThen = 0;
    let isOver = false;
    whileReading(
      a.services.database,
      async () => {
        heldThen = await metric('tsudoi_federation_outbound_bytes');
        // More than a request may take, and the pause before the next one.
        await federation.clock.advance(100_000);
        isOver = true;
      },
      'destination_to_device_next',
    );
    await a.must('alice', 'PUT', '/sendToDevice/m.test/late', { messages: { '@user:p.test': { D: { n: 1 } } } });
    await until('the end of the reading', () => isOver);
    await someTries();
    expect(heldThen).to.be.above(0);
    expect(await metric('tsudoi_federation_outbound_bytes')).to.equal(0);
    expect(toDevices()).to.have.lengthOf(1);
  });

  it('take 64 MiB at most while they are under way, leave room for small ones, and nothing when they have failed', async () => {
    const silent = Array.from({ length: 60 }, (_, index) => `silent${index}.servers.test`);
    const { federationClient } = a.services;
    const { request } = federationClient;
    const released = Promise.withResolvers<void>();
    let underWay = 0;
    const sent: string[] = [];
    let state: 'away' | 'silent' | 'back' = 'away';
    federationClient.request = async (wish): Promise<FederationResult> => {
      const { destination } = wish;
      if (state === 'away' && silent.includes(destination))
        return { ok: false, kind: 'unreachable', destination, error: 'It is away.' };
      const { body } = (await questionOf(wish)) ?? {};
      if (body === undefined) return { ok: true, body: {} };
      if (state === 'silent' && silent.includes(destination)) {
        underWay += 2 * body.length;
        await released.promise;
        return { ok: false, kind: 'timeout', destination, error: 'It says nothing.' };
      }
      sent.push(destination);
      return { ok: true, body: { pdus: {} } };
    };
    const large = await a.room('alice', PUBLIC);
    for (const name of silent) await remoteMember(a, large, `@user:${name}`, 'join', p.signingKey);
    for (let count = 0; count < 40; count += 1) await a.say('alice', large, 'x'.repeat(60_000));
    await a.idle();
    state = 'silent';
    const due = federation.clock.advance(5_000);
    await until('there is no room for more', async () =>
      (await metric('tsudoi_delivery_batches_total', '{queue="federation",outcome="later"}')) > 0 ? true : undefined,
    );
    const small = await a.room('alice', PUBLIC);
    await remoteMember(a, small, '@user:quick.servers.test', 'join', p.signingKey);
    await a.say('alice', small, 'still there?');
    await until('the small one arrives', () => (sent.includes('quick.servers.test') ? true : undefined));
    expect(underWay).to.be.within(16 * MIB, 64 * MIB);
    expect(await metric('tsudoi_federation_outbound_bytes')).to.be.within(16 * MIB, 64 * MIB);
    state = 'back';
    released.resolve();
    await due;
    await until('nothing is under way', async () =>
      (await metric('tsudoi_federation_outbound_bytes')) === 0 ? true : undefined,
    );
    await someTries();
    expect(silent.every((name) => sent.includes(name))).to.equal(true);
    federationClient.request = request;
  });

  it('of an event that cannot be read are given up after some tries, and what comes after it arrives', async () => {
    const roomId = await shared();
    await a.idle();
    federation.cut('a.test', 'p.test');
    for (const text of ['before', 'spoiled', 'after']) await a.say('alice', roomId, text);
    await a.idle();
    await a.services.database.query(SPOIL_EVENT, ['spoiled']);
    await a.kill();
    federation.heal('a.test', 'p.test');
    await a.revive();
    await someTries();
    await a.say('alice', await shared(), 'elsewhere');
    await someTries();
    expect(arrived()).to.include.members(['before', 'after', 'elsewhere']);
    expect(arrived()).not.to.include('spoiled');
    expect(await metric('tsudoi_follower_given_up_total', '{follower="federation"}')).to.equal(1);
  });

  it('of messages for devices that cannot be read are given up after some tries, and keep no event from arriving', async () => {
    const roomId = await shared();
    await a.idle();
    federation.cut('a.test', 'p.test');
    await a.must('alice', 'PUT', '/sendToDevice/m.test/spoiled', { messages: { '@user:p.test': { D: { n: 1 } } } });
    await a.say('alice', roomId, 'behind it');
    await a.idle();
    await a.services.database.query(SPOIL_MESSAGES);
    federation.heal('a.test', 'p.test');
    await someTries();
    await someTries();
    expect(arrived()).to.include('behind it');
    expect(await metric('tsudoi_follower_given_up_total', '{follower="federation_edus"}')).to.equal(1);
  });

  it('are put together again for as long as the database is away, and nothing is given up for that', async () => {
    const roomId = await shared();
    await a.idle();
    const { database } = a.services;
    const query = database.query.bind(database);
    const before = await metric('tsudoi_follower_given_up_total', '{follower="federation_edus"}');
    await a.must('alice', 'PUT', '/sendToDevice/m.test/kept', { messages: { '@user:p.test': { D: { n: 2 } } } });
    await a.idle();
    let failures = 0;
    database.query = ((statement: { readonly name: string }, values: readonly unknown[]) => {
      if (statement.name !== 'destination_to_device_next') return query(statement as never, values);
      failures += 1;
      return Promise.reject(Object.assign(new Error('terminating connection'), { code: '57P01' }));
    }) as typeof database.query;
    await a.must('alice', 'PUT', '/sendToDevice/m.test/kept2', { messages: { '@user:p.test': { D: { n: 3 } } } });
    await a.say('alice', roomId, 'waits');
    await someTries();
    expect(failures).to.be.above(3);
    database.query = query;
    await someTries();
    expect(transactions().flatMap(({ edus = [] }) => edus.map((edu: Json) => edu.edu_type))).to.include(
      'm.direct_to_device',
    );
    expect(arrived()).to.include('waits');
    expect(await metric('tsudoi_follower_given_up_total', '{follower="federation_edus"}')).to.equal(before);
  });
});
