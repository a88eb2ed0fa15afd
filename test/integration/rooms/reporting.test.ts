import { expect } from 'chai';
import pg from 'pg';
import { ChildServer } from '#test/support/child-server.ts';
import { emptyDatabase } from '#test/support/database.ts';
import { ask, must, type Answer } from '#test/support/http.ts';

describe('reporting to the administrators', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let database: pg.Client;
  let alice: string;
  let bob: string;
  let roomId: string;
  let eventId: string;

  const register = async (name: string): Promise<string> => {
    const body = { username: name, password: 'a long password', auth: { type: 'm.login.dummy' } };
    return (await must(server.url, 'POST', '/register', { body })).access_token;
  };
  const report = (token: string, path: string, body: unknown): Promise<Answer> =>
    ask(server.url, 'POST', `${path}/report`, { token, body });
  const newest = async (): Promise<Record<string, unknown>> =>
    (
      await database.query(
        'select kind, reporter, room_id, event_id, user_id, reason, score from reports order by id desc limit 1',
      )
    ).rows[0];
  const refused = (answer: Answer, status: number, errcode: string): void => {
    expect([answer.status, answer.body?.errcode]).to.deep.equal([status, errcode]);
  };

  before(async () => {
    const url = await emptyDatabase();
    server = await ChildServer.start({ database: url });
    database = new pg.Client({ connectionString: url });
    await database.connect();
    alice = await register('alice');
    bob = await register('bob');
    roomId = (await must(server.url, 'POST', '/createRoom', { token: alice, body: {} })).room_id;
    const path = `/rooms/${roomId}/send/m.room.message/1`;
    eventId = (await must(server.url, 'PUT', path, { token: alice, body: { msgtype: 'm.text', body: 'bad' } }))
      .event_id;
  });
  after(async () => {
    await database?.end();
    await server?.dispose();
  });

  const event = (token: string, room: string, id: string, body: unknown): Promise<Answer> =>
    ask(server.url, 'POST', `/rooms/${room}/report/${encodeURIComponent(id)}`, { token, body });

  it('keeps reports of events, with reason and score, for members only', async () => {
    expect((await event(alice, roomId, eventId, { reason: 'rude', score: -100 })).status).to.equal(200);
    expect(await newest()).to.deep.equal({
      kind: 'event',
      reporter: '@alice:localhost',
      room_id: roomId,
      event_id: eventId,
      user_id: '@alice:localhost',
      reason: 'rude',
      score: -100,
    });
    expect((await event(alice, roomId, eventId, {})).status).to.equal(200);
    expect((await newest())['reason']).to.equal(null);
    refused(await event(bob, roomId, eventId, { reason: 'rude' }), 404, 'M_NOT_FOUND');
    refused(await event(alice, roomId, '$none', { reason: 'rude' }), 404, 'M_NOT_FOUND');
    refused(await event(alice, '!none:localhost', eventId, { reason: 'rude' }), 404, 'M_NOT_FOUND');
    refused(await event(alice, roomId, eventId, { reason: 7 }), 400, 'M_BAD_JSON');
    refused(await event(alice, roomId, eventId, { score: 1 }), 400, 'M_BAD_JSON');
    refused(await event(alice, roomId, eventId, { score: 'bad' }), 400, 'M_BAD_JSON');
  });

  it('takes reports of rooms from whoever knows of them, and answers 404 for rooms that are not there', async () => {
    expect((await report(bob, `/rooms/${roomId}`, { reason: '' })).status).to.equal(200);
    expect(await newest()).to.include({ kind: 'room', reporter: '@bob:localhost', room_id: roomId, reason: '' });
    refused(await report(bob, '/rooms/!none:localhost', { reason: 'x' }), 404, 'M_NOT_FOUND');
    refused(await report(bob, `/rooms/${roomId}`, {}), 400, 'M_MISSING_PARAM');
  });

  it('takes reports of users, and answers 404 for users of this server who do not exist', async () => {
    expect((await report(bob, '/users/@alice:localhost', { reason: 'rude' })).status).to.equal(200);
    expect(await newest()).to.include({ kind: 'user', reporter: '@bob:localhost', user_id: '@alice:localhost' });
    expect((await report(bob, '/users/@far:elsewhere.test', { reason: 'rude' })).status).to.equal(200);
    refused(await report(bob, '/users/@nobody:localhost', { reason: 'x' }), 404, 'M_NOT_FOUND');
    refused(await report(bob, '/users/nonsense', { reason: 'x' }), 400, 'M_INVALID_PARAM');
    expect(
      (await ask(server.url, 'POST', '/users/@alice:localhost/report', { body: { reason: 'x' } })).status,
    ).to.equal(401);
  });
});

describe('how often one may report', function () {
  this.timeout(60_000);
  it('is limited: 429 M_LIMIT_EXCEEDED', async () => {
    const server = await ChildServer.start({
      database: 'shared',
      env: { TSUDOI_RATE_LIMITS__ENABLED: 'true', TSUDOI_RATE_LIMITS__REPORT__BURST: '2' },
    });
    try {
      const body = { username: 'alice', password: 'a long password', auth: { type: 'm.login.dummy' } };
      const { access_token: token } = await must(server.url, 'POST', '/register', { body });
      const statuses: number[] = [];
      for (let i = 0; i < 3; i++) {
        const path = '/users/@alice:localhost/report';
        statuses.push((await ask(server.url, 'POST', path, { token, body: { reason: 'x' } })).status);
      }
      expect(statuses).to.deep.equal([200, 200, 429]);
    } finally {
      await server.dispose();
    }
  });
});
