import assert from 'node:assert/strict';
import { registrationOf, StubAppservice } from '#test/support/stand-ins/application-service.ts';
import { freePort } from '#test/support/free-port.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

describe('application services: ping', () => {
  let stub: StubAppservice;
  let server: InProcessServer;

  before(async () => {
    stub = await StubAppservice.start();
    server = await InProcessServer.start({
      appservices: [
        registrationOf('irc', { url: `${stub.url}/bridge/` }),
        registrationOf('none', { url: null }),
        registrationOf('gone', { url: `http://127.0.0.1:${await freePort()}` }),
      ],
    });
  });
  after(async () => {
    await server.stop();
    await stub.stop();
  });
  beforeEach(async () => {
    stub.answer = () => [200, {}];
    await server.idle();
    stub.take();
  });

  const ping = (token: string, id: string, body: object = { transaction_id: 'meow' }) =>
    server.ask(token, 'POST', `/v1/appservice/${id}/ping`, body);

  it('a service that answers is told how long it took, and what it named the ping', async () => {
    const { body, status } = await ping('as_token_of_irc', 'irc');
    assert.equal(status, 200);
    assert.equal(typeof body.duration_ms, 'number');
    const [asked] = stub.take();
    assert.equal(asked?.method, 'POST');
    assert.equal(asked?.path, '/bridge/_matrix/app/v1/ping');
    assert.equal(asked?.headers.authorization, 'Bearer hs_token_of_irc');
    assert.deepEqual(asked?.body, { transaction_id: 'meow' });
  });

  it('a name for the ping may be left out', async () => {
    assert.equal((await ping('as_token_of_irc', 'irc', {})).status, 200);
    assert.deepEqual(stub.take()[0]?.body, {});
  });

  it('an answer other than success is passed on: M_BAD_STATUS with status and body', async () => {
    stub.answer = () => [403, '{"errcode":"M_FORBIDDEN"}'];
    const { body, status } = await ping('as_token_of_irc', 'irc');
    assert.equal(status, 502);
    assert.equal(body.errcode, 'M_BAD_STATUS');
    assert.equal(body.status, 403);
    assert.equal(body.body, '{"errcode":"M_FORBIDDEN"}');
  });

  it('of a long answer so much is passed on as helps', async () => {
    stub.answer = () => [500, 'x'.repeat(1_000_000)];
    const { body } = await ping('as_token_of_irc', 'irc');
    assert.equal(body.errcode, 'M_BAD_STATUS');
    assert.ok(body.body.length > 0 && body.body.length <= 4_096);
  });

  it('a service that is not there is M_CONNECTION_FAILED, one that takes too long M_CONNECTION_TIMEOUT', async () => {
    const gone = await ping('as_token_of_gone', 'gone');
    assert.deepEqual([gone.status, gone.body.errcode], [502, 'M_CONNECTION_FAILED']);
    const reached = Promise.withResolvers<undefined>();
    stub.answer = () => {
      reached.resolve(undefined);
      return 'hang';
    };
    const slow = ping('as_token_of_irc', 'irc');
    await reached.promise;
    await server.clock.advance(21_000);
    const { body, status } = await slow;
    assert.deepEqual([status, body.errcode], [504, 'M_CONNECTION_TIMEOUT']);
  });

  it('a service without a URL is M_URL_NOT_SET', async () => {
    const { body, status } = await ping('as_token_of_none', 'none');
    assert.deepEqual([status, body.errcode], [400, 'M_URL_NOT_SET']);
  });

  it('nobody else has a service pinged: neither another service, nor a user, nor an administrator', async () => {
    for (const token of ['as_token_of_none', 'alice', 'admin-ann']) {
      const { body, status } = await ping(token, 'irc');
      assert.deepEqual([status, body.errcode], [403, 'M_FORBIDDEN'], token);
    }
    assert.equal((await ping('nonsense!', 'irc')).status, 401);
    assert.deepEqual(stub.take(), []);
  });

  it('a service that could not be reached is sent what waits as soon as it pings successfully', async () => {
    stub.answer = () => [500, {}];
    await server.must('as_token_of_irc', 'POST', '/createRoom', {});
    await server.idle();
    for (let tries = 0; tries < 8; tries += 1) {
      await server.clock.advance(400_000);
      await server.idle();
    }
    assert.ok(server.services.appserviceTransactions.stateOf('irc').failures > 3);
    stub.answer = () => [200, {}];
    stub.take();
    assert.equal((await ping('as_token_of_irc', 'irc')).status, 200);
    await server.idle();
    const sent = stub.take().filter(({ path }) => path.includes('/transactions/'));
    assert.ok(sent.flatMap(({ body }) => body.events).length > 0);
    assert.equal(server.services.appserviceTransactions.stateOf('irc').failures, 0);
  });
});
