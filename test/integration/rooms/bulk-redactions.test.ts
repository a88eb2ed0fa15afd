import { expect } from 'chai';
import { startFederation, type Federation } from '#test/support/federation/federation.ts';
import { type Answer, InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { PartnerRoom } from '#test/support/federation/partner-room.ts';

const path = (roomId: string, userId: string, limit?: number): string =>
  `/unstable/org.matrix.msc4194/rooms/${roomId}/redact/user/${encodeURIComponent(userId)}${limit === undefined ? '' : `?limit=${limit}`}`;

describe('redacting all that a user has sent into a room (MSC4194)', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start();
  });
  after(() => server?.stop());

  const redact = (token: string, roomId: string, userId: string, limit?: number, body?: object): Promise<Answer> =>
    server.ask(token, 'POST', path(roomId, userId, limit), body);
  const room = async (): Promise<string> => {
    const roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('mallory', roomId);
    return roomId;
  };
  const bodies = async (roomId: string): Promise<Json[]> => {
    const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=f&limit=200`);
    return page.chunk
      .filter(({ type }: Json) => type === 'm.room.message')
      .map(({ content }: Json) => content.body ?? null);
  };

  it('is advertised', async () => {
    const { unstable_features: features } = await server.must(undefined, 'GET', '/_matrix/client/versions');
    expect(features['org.matrix.msc4194']).to.equal(true);
  });

  it('takes the newest first, says whether there is more, and counts what was redacted before for nothing', async () => {
    const roomId = await room();
    for (let i = 0; i < 5; i++) await server.say('mallory', roomId, `spam ${i}`);
    await server.say('alice', roomId, 'ham');
    expect((await redact('alice', roomId, '@mallory:test', 2, { reason: 'spam' })).body).to.deep.equal({
      is_more_events: true,
      redacted_events: 2,
      soft_failed_events: 0,
    });
    expect(await bodies(roomId)).to.deep.equal(['spam 0', 'spam 1', 'spam 2', null, null, 'ham']);
    expect((await redact('alice', roomId, '@mallory:test', 3)).body.redacted_events).to.equal(3);
    expect((await redact('alice', roomId, '@mallory:test')).body).to.deep.equal({
      is_more_events: false,
      redacted_events: 0,
      soft_failed_events: 0,
    });
    const page = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=100`);
    const redactions = page.chunk.filter(({ type }: Json) => type === 'm.room.redaction');
    expect(redactions.map(({ sender }: Json) => sender)).to.deep.equal(Array.from({ length: 5 }, () => '@alice:test'));
    expect(redactions.at(-1).content.reason).to.equal('spam');
  });

  it('redacts 25 if nobody says how many, and never more than a hundred', async () => {
    const roomId = await room();
    for (let i = 0; i < 130; i++) await server.say('mallory', roomId, `${i}`);
    expect((await redact('alice', roomId, '@mallory:test')).body).to.deep.include({
      is_more_events: true,
      redacted_events: 25,
    });
    expect((await redact('alice', roomId, '@mallory:test', 1_000)).body).to.deep.include({
      is_more_events: true,
      redacted_events: 100,
    });
  });

  it('does the same to what the user sent who asks, and ends', async () => {
    const roomId = await room();
    await server.say('mallory', roomId, 'mine');
    expect((await redact('mallory', roomId, '@mallory:test')).body.redacted_events).to.equal(1);
    expect((await redact('mallory', roomId, '@mallory:test')).body.redacted_events).to.equal(0);
  });

  it('leaves what the room would be lost without', async () => {
    const roomId = await room();
    await server.setState('alice', roomId, 'm.room.encryption', { algorithm: 'm.megolm.v1.aes-sha2' });
    await server.setState('alice', roomId, 'm.room.topic', { topic: 'gone' });
    await redact('alice', roomId, '@alice:test', 100);
    const state = async (type: string): Promise<Json> => server.must('alice', 'GET', `/rooms/${roomId}/state/${type}`);
    expect(await state('m.room.encryption')).to.deep.equal({ algorithm: 'm.megolm.v1.aes-sha2' });
    expect(await state('m.room.topic')).to.deep.equal({});
    expect((await state('m.room.power_levels')).users).to.not.equal(undefined);
  });

  it('is for those who may redact, in rooms that they are in', async () => {
    const roomId = await room();
    for (const [token, id] of [
      ['mallory', roomId],
      ['carol', roomId],
      ['carol', '!unknown:test'],
    ] as const) {
      const refused = await redact(token, id, '@alice:test');
      expect([refused.status, refused.body.errcode]).to.deep.equal([403, 'M_FORBIDDEN']);
    }
  });

  it('counts what it redacts against a limit of its own', async () => {
    const limited = await InProcessServer.start({ rateLimits: { bulk_redaction: { perSecond: 0.001, burst: 4 } } });
    try {
      const roomId = await limited.room('limited-ann');
      for (let i = 0; i < 9; i++) await limited.say('limited-ann', roomId, `${i}`);
      const ask = (): Promise<Answer> => limited.ask('limited-ann', 'POST', path(roomId, '@limited-ann:test', 4));
      expect((await ask()).body.redacted_events).to.equal(4);
      expect((await ask()).body.errcode).to.equal('M_LIMIT_EXCEEDED');
    } finally {
      await limited.stop();
    }
  });

  describe('of another server', () => {
    let federation: Federation;
    before(async () => {
      federation = await startFederation(['a.test'], { partners: ['p.test'] });
    });
    after(() => federation?.stop());

    it('redacts what was soft-failed as well, which no moderator is shown', async () => {
      const [a, p] = [federation.server('a.test'), federation.partner('p.test')];
      p.on('PUT', '/_matrix/federation/v1/send/*', () => ({ body: { pdus: {} } }));
      const roomId = await a.room('alice', { preset: 'public_chat' });
      const partner = await PartnerRoom.join(a, p, roomId, ['@pat:p.test']);
      const say = (body: string) =>
        partner.build({ type: 'm.room.message', sender: '@pat:p.test', content: { msgtype: 'm.text', body } });
      await partner.send([say('seen')]);
      const late = say('late');
      await a.must('alice', 'POST', `/rooms/${roomId}/ban`, { user_id: '@pat:p.test' });
      await partner.send([late]);
      await a.idle();
      const answer = await a.must('alice', 'POST', path(roomId, '@pat:p.test'), {});
      expect(answer).to.deep.equal({ is_more_events: false, redacted_events: 2, soft_failed_events: 1 });
    });
  });
});
