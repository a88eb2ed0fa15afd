import { expect } from 'chai';
import type { InProcessServer, Json } from '../../../support/in-process-server.ts';
import {
  type Federation,
  questionOf,
  type RemotePartner,
  startFederation,
} from '#test/support/federation/federation.ts';
import { receiveRemote, remoteMember } from '#test/support/federation/remote-members.ts';

const SEND = /^\/_matrix\/federation\/v1\/send\//;
const PUBLIC = { preset: 'public_chat' };
/** Milliseconds before a server is tried again that failed and was heard of. */
const MIN_PAUSE_MS = 5_000;

describe('events for other servers', () => {
  let federation: Federation;
  let a: InProcessServer;
  let p: RemotePartner;
  let q: RemotePartner;

  before(async () => {
    federation = await startFederation(['a.test'], { partners: ['p.test', 'q.test'] });
    a = federation.server('a.test');
    p = federation.partner('p.test');
    q = federation.partner('q.test');
  });
  after(() => federation.stop());
  beforeEach(() => {
    for (const partner of [p, q]) {
      partner.asked.length = 0;
      partner.on('PUT', SEND, () => ({ body: { pdus: {} } }));
    }
  });

  const transactions = (partner: RemotePartner): Json[] => partner.requests('PUT', SEND).map(({ body }) => body);
  /** Bodies of messages and types of states that arrived, in order. */
  const arrived = (partner: RemotePartner, roomId: string): string[] =>
    transactions(partner)
      .flatMap(({ pdus }) => pdus)
      .filter((pdu: Json) => pdu.room_id === roomId)
      .map(({ content, state_key: stateKey, type }: Json) =>
        stateKey === undefined ? (content.body ?? type) : `${type} ${content.membership ?? ''}`.trim(),
      );

  const shared = async (...partners: RemotePartner[]): Promise<string> => {
    const roomId = await a.room('alice', PUBLIC);
    for (const partner of partners)
      await remoteMember(a, roomId, `@user:${partner.serverName}`, 'join', partner.signingKey);
    return roomId;
  };

  it('go to the servers of joined users, in order, and signed by ours', async () => {
    const roomId = await shared(p, q);
    for (const text of ['one', 'two', 'three']) await a.say('alice', roomId, text);
    await a.setState('alice', roomId, 'm.room.topic', { topic: 'x' });
    await a.idle();
    for (const partner of [p, q]) {
      expect(arrived(partner, roomId)).to.deep.equal(['one', 'two', 'three', 'm.room.topic']);
      expect(transactions(partner)[0]).to.include({ origin: 'a.test' });
      expect(partner.requests('PUT', SEND)[0]?.headers.authorization).to.match(/^X-Matrix .*destination="?[pq]\.test/);
    }
  });

  it('do not go to servers of before they joined or after they left, and the last one that they are sent is the kick', async () => {
    const roomId = await shared(p);
    await a.say('alice', roomId, 'only for p');
    await remoteMember(a, roomId, '@user:q.test', 'join', q.signingKey);
    await a.say('alice', roomId, 'for both');
    await a.must('alice', 'POST', `/rooms/${roomId}/kick`, { user_id: '@user:q.test' });
    await a.say('alice', roomId, 'only for p again');
    await remoteMember(a, roomId, '@user:p.test', 'leave', p.signingKey);
    await a.say('alice', roomId, 'for nobody');
    await a.idle();
    expect(arrived(p, roomId)).to.deep.equal(['only for p', 'for both', 'm.room.member leave', 'only for p again']);
    expect(arrived(q, roomId)).to.deep.equal(['for both', 'm.room.member leave']);
  });

  it('that end an invite or a knock go to the server of whom they concern, and nothing else of the room does', async () => {
    const roomId = await a.room('alice', {
      ...PUBLIC,
      initial_state: [{ type: 'm.room.join_rules', state_key: '', content: { join_rule: 'knock' } }],
    });
    await remoteMember(a, roomId, '@knocks:q.test', 'knock', q.signingKey);
    await a.say('alice', roomId, 'not for q');
    await a.must('alice', 'POST', `/rooms/${roomId}/kick`, { user_id: '@knocks:q.test' });
    await a.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: '@stranger:p.test' });
    await a.idle();
    expect(arrived(q, roomId)).to.deep.equal(['m.room.member leave']);
    expect(arrived(p, roomId)).to.deep.equal([]);
  });

  it('are those of our own users only', async () => {
    const roomId = await shared(p, q);
    await receiveRemote(
      a,
      roomId,
      { type: 'm.room.message', sender: '@user:q.test', content: { body: 'from q' } },
      q.signingKey,
    );
    await a.say('alice', roomId, 'from a');
    await a.idle();
    expect(arrived(p, roomId)).to.deep.equal(['from a']);
  });

  it('come fifty to a transaction, each of them once', async () => {
    const roomId = await shared(p);
    const texts = Array.from({ length: 120 }, (_, index) => `m${index}`);
    for (const text of texts) await a.say('alice', roomId, text);
    await a.idle();
    expect(arrived(p, roomId)).to.deep.equal(texts);
    expect(Math.max(...transactions(p).map(({ pdus }) => pdus.length))).to.be.at.most(50);
  });

  it('wait for a server that is away, and come in order under one transaction id however often that is tried', async () => {
    const roomId = await shared(p);
    federation.cut('a.test', 'p.test');
    await a.say('alice', roomId, 'first');
    await a.idle();
    await a.say('alice', roomId, 'second');
    await a.idle();
    expect(transactions(p)).to.deep.equal([]);
    federation.heal('a.test', 'p.test');
    await federation.clock.advance(30_000);
    await a.idle();
    expect(arrived(p, roomId)).to.deep.equal(['first', 'second']);
  });

  it('that a server did not answer come again under the same id, and with the same in them', async () => {
    const roomId = await shared(p);
    let failures = 2;
    p.on('PUT', SEND, () => (failures-- > 0 ? { status: 502, body: 'away' } : { body: { pdus: {} } }));
    await a.say('alice', roomId, 'again');
    for (let attempt = 0; attempt < 4; attempt++) {
      await a.idle();
      await federation.clock.advance(30_000);
    }
    await a.idle();
    const asked = p.requests('PUT', SEND);
    expect(asked).to.have.length(3);
    expect(new Set(asked.map(({ path }) => path)).size).to.equal(1);
    expect(new Set(asked.map(({ body }) => JSON.stringify(body))).size).to.equal(1);
  });

  it('arrive within half a minute of the return of a server that was away for ten', async () => {
    const roomId = await shared(p);
    federation.cut('a.test', 'p.test');
    await a.say('alice', roomId, 'while it was away');
    for (let minute = 0; minute < 60; minute++) {
      await a.idle();
      await federation.clock.advance(10_000);
    }
    await a.idle();
    federation.heal('a.test', 'p.test');
    await federation.clock.advance(30_000);
    await a.idle();
    expect(arrived(p, roomId)).to.deep.equal(['while it was away']);
  });

  it('are sent at once to a server that we hear from', async () => {
    const roomId = await shared(p);
    federation.cut('a.test', 'p.test');
    await a.say('alice', roomId, 'for whoever is back');
    for (let minute = 0; minute < 30; minute++) {
      await a.idle();
      await federation.clock.advance(60_000);
    }
    // The last try is over by now.
    await a.idle();
    federation.heal('a.test', 'p.test');
    await p.send('a.test', 'GET', '/_matrix/federation/v1/user/devices/@alice:a.test');
    await a.idle();
    // Where the last try has only just failed, the next one is the shortest pause later.
    await federation.clock.advance(MIN_PAUSE_MS);
    await a.idle();
    expect(arrived(p, roomId)).to.deep.equal(['for whoever is back']);
  });

  it('are sent by the next process, when this one is killed before they were', async () => {
    const roomId = await shared(p, q);
    await a.say('alice', roomId, 'before');
    await a.idle();
    federation.cut('a.test', 'p.test');
    await a.say('alice', roomId, 'only q has this');
    await a.idle();
    await a.say('alice', roomId, 'nobody has this');
    await a.kill();
    federation.heal('a.test', 'p.test');
    await a.revive();
    await a.idle();
    await federation.clock.advance(30_000);
    await a.idle();
    const once = (texts: readonly string[]): string[] => [...new Set(texts)];
    expect(once(arrived(p, roomId))).to.deep.equal(['before', 'only q has this', 'nobody has this']);
    expect(once(arrived(q, roomId))).to.deep.equal(['before', 'only q has this', 'nobody has this']);
  });

  it('that wait when this server stops in good order are sent by the next one, whatever else happens in the room', async () => {
    for (let count = 0; count < 4; count++) {
      // The positions of each room belong to one of sixteen shards.
      const roomId = await shared(p);
      await a.idle();
      federation.cut('a.test', 'p.test');
      await a.say('alice', roomId, `before the end ${count}`);
      await a.restart();
      federation.heal('a.test', 'p.test');
      await a.idle();
      await federation.clock.advance(30_000);
      await a.idle();
      expect(arrived(p, roomId)).to.deep.equal([`before the end ${count}`]);
    }
  });

  it('are kept as one row for each room, however many there are, and as none for servers that keep up', async () => {
    const { database } = a.services;
    const rows = (): Promise<Json[]> =>
      database.query({ name: 'test_destination_rooms', text: 'select destination, room from destination_rooms' }, []);
    const roomId = await shared(p, q);
    await a.idle();
    federation.cut('a.test', 'p.test');
    for (let count = 0; count < 20; count++) await a.say('alice', roomId, `m${count}`);
    await a.idle();
    await federation.clock.advance(2_000);
    await a.idle();
    expect((await rows()).map(({ destination }) => destination)).to.deep.equal(['p.test']);
    federation.heal('a.test', 'p.test');
    await federation.clock.advance(30_000);
    await a.idle();
    await federation.clock.advance(2_000);
    await a.idle();
    expect(await rows()).to.deep.equal([]);
  });

  it('of which a transaction cannot hold all are the newest one only, for a server that was away for long', async () => {
    const roomId = await shared(p);
    const other = await shared(p);
    await a.idle();
    federation.cut('a.test', 'p.test');
    for (let count = 0; count < 60; count++) await a.say('alice', roomId, `m${count}`);
    await a.say('alice', other, 'one');
    await a.say('alice', other, 'two');
    for (let minute = 0; minute < 12; minute++) {
      await a.idle();
      await federation.clock.advance(30_000);
    }
    await a.idle();
    federation.heal('a.test', 'p.test');
    await federation.clock.advance(30_000);
    await a.idle();
    expect(arrived(p, roomId)).to.deep.equal(['m59']);
    expect(arrived(p, other)).to.deep.equal(['one', 'two']);
  });

  it('are sent again as they were, under the id that they had, by the process after one that was killed while it sent them', async () => {
    const roomId = await shared(p);
    // What else waits for the server would be part of what is sent, and of its id.
    for (let second = 0; second < 3; second++) {
      await a.idle();
      await federation.clock.advance(1_000);
    }
    await a.idle();
    p.asked.length = 0;
    const killed = Promise.withResolvers<void>();
    p.on('PUT', SEND, async ({ response }) => {
      await a.kill();
      response.destroy();
      killed.resolve();
      return undefined;
    });
    await a.say('alice', roomId, 'on its way');
    await killed.promise;
    p.on('PUT', SEND, () => ({ body: { pdus: {} } }));
    await a.revive();
    await a.idle();
    await federation.clock.advance(30_000);
    await a.idle();
    expect(arrived(p, roomId)).to.deep.equal(['on its way', 'on its way']);
    expect(new Set(p.requests('PUT', SEND).map(({ path }) => path)).size).to.equal(1);
  });

  it('that arrived and were noted are not sent again by the next process', async () => {
    const roomId = await shared(p);
    await a.say('alice', roomId, 'noted');
    await a.idle();
    await federation.clock.advance(2_000);
    await a.idle();
    p.asked.length = 0;
    await a.kill();
    await a.revive();
    await a.idle();
    await a.restart();
    await a.idle();
    expect(arrived(p, roomId)).to.deep.equal([]);
  });

  it('cost a room with fifty other servers no more statements than one without any', async () => {
    const names = Array.from({ length: 50 }, (_, index) => `s${index}.servers.test`);
    const { federationClient } = a.services;
    const request = federationClient.request.bind(federationClient);
    let sent = 0;
    federationClient.request = async (wish) => {
      if (!names.includes(wish.destination)) return request(wish);
      const { body = '{"pdus":[]}' } = (await questionOf(wish)) ?? {};
      sent += JSON.parse(body).pdus.length;
      return { ok: true, body: { pdus: {} } };
    };
    const alone = await a.room('alice', PUBLIC);
    const together = await a.room('alice', PUBLIC);
    for (const name of names) await remoteMember(a, together, `@user:${name}`, 'join', p.signingKey);
    const say = async (roomId: string): Promise<void> => {
      for (let count = 0; count < 20; count++) await a.say('alice', roomId, `m${count}`);
    };
    for (const roomId of [alone, together]) await a.say('alice', roomId, 'warm');
    await federation.clock.advance(2_000);
    const without = await a.statements(() => say(alone));
    const before = sent;
    const withFifty = await a.statements(async () => {
      await say(together);
      await a.idle();
    });
    expect(sent - before).to.equal(20 * 50);
    expect(withFifty - without).to.be.at.most(2);
    // What is noted of them once in a while is a handful of statements, whatever was sent.
    expect(
      await a.statements(async () => {
        await federation.clock.advance(2_000);
        await a.idle();
      }),
    ).to.be.at.most(6);
    federationClient.request = request;
  });

  it('are read once for all servers that are behind at the same time', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `late${index}.servers.test`);
    const { federationClient } = a.services;
    const request = federationClient.request.bind(federationClient);
    const came = new Map<string, string[]>(names.map((name) => [name, []]));
    let isAway = false;
    federationClient.request = async (wish) => {
      const { destination } = wish;
      if (!names.includes(destination)) return request(wish);
      if (isAway) return { ok: false, kind: 'unreachable', destination, error: 'It is away.' };
      const { body = '{"pdus":[]}' } = (await questionOf(wish)) ?? {};
      came.get(destination)?.push(...JSON.parse(body).pdus.map(({ content }: Json) => content.body));
      return { ok: true, body: { pdus: {} } };
    };
    const roomId = await a.room('alice', PUBLIC);
    for (const name of names) await remoteMember(a, roomId, `@user:${name}`, 'join', p.signingKey);
    await a.say('alice', roomId, 'warm');
    await a.idle();
    isAway = true;
    // More than a room keeps in memory.
    const said = Array.from({ length: 300 }, (_, count) => `m${count}`);
    for (const text of said) await a.say('alice', roomId, text);
    await a.idle();
    isAway = false;
    const statements = await a.statements(async () => {
      await federation.clock.advance(30_000);
      await a.idle();
    });
    for (const name of names) expect(came.get(name)).to.deep.equal(['warm', ...said]);
    // Six transactions for each of them; three pages for all, and what is noted of their return.
    expect(statements).to.be.at.most(90);
    federationClient.request = request;
  });
});
