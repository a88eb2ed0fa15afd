import { expect } from 'chai';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const SECRET = 'zT4kV9mQ2wX7rB1nL5cJ8hD3';

describe('what administrators are shown of the log', function () {
  let server: InProcessServer;
  const errors = async (query = ''): Promise<Json[]> =>
    (await server.must('admin', 'GET', `/_tsudoi/admin/v1/errors${query}`)).errors;
  /** Has a request do something in its handler. */
  const during = async (work: () => void, path = '/_synapse/admin/v1/registration_tokens/bobs'): Promise<void> => {
    const { registrationTokens } = server.services;
    const get = registrationTokens.get.bind(registrationTokens);
    registrationTokens.get = async (token) => {
      work();
      return { token, completed: 0, createdTs: 0, expiryTs: null, usesAllowed: null, pending: 0 };
    };
    await server.ask('admin', 'GET', path).catch(() => undefined);
    registrationTokens.get = get;
  };
  const failing = (message: string): Promise<void> =>
    during(() => {
      throw new Error(message, { cause: new Error(`the cause of it, with password=${SECRET}`) });
    });

  before(async () => {
    server = await InProcessServer.start({ config: { log: { slowRequestMs: 1_000 } } });
  });
  after(() => server?.stop());

  it('is each error with its stack and its request, without what is secret in it, and equal ones once', async () => {
    for (let n = 0; n < 3; n++) await failing(`GET https://far.example/path?token=${SECRET} failed`);
    const [error] = await errors('?level=error');
    expect(error).to.include({ level: 'error', count: 3, message: 'a request failed unexpectedly' });
    expect(error.error.message).to.equal('GET https://far.example/path?… failed');
    expect(error.error.stack).to.include('logs.test.ts');
    expect(error.error.cause.message).to.equal('the cause of it, with password=…');
    expect(error.fields)
      .to.include({ operation: 'synapse-admin.adminGetRegistrationToken' })
      .and.to.have.property('request_id');
    expect(JSON.stringify(await errors())).not.to.include(SECRET);
  });

  it('is bounded in bytes: the oldest ones go, and pages tell the newest first', async () => {
    for (let n = 0; n < 400; n++) server.services.logger.error(`error ${n}`, { text: 'x'.repeat(5_000) });
    expect(server.services.recentErrors.bytes).to.be.at.most(1_048_576).and.to.be.greaterThan(400_000);
    const first = await server.must('admin', 'GET', '/_tsudoi/admin/v1/errors?level=error&limit=2');
    expect(first.errors.map(({ message }: Json) => message)).to.deep.equal(['error 399', 'error 398']);
    const second = await server.must(
      'admin',
      'GET',
      `/_tsudoi/admin/v1/errors?level=error&limit=1&from=${first.next_batch}`,
    );
    expect(second.errors.map(({ message }: Json) => message)).to.deep.equal(['error 397']);
  });

  it('is each request that took long, with what it asked of the database, and no path or query', async () => {
    await during(() => server.clock.spend(1_500), `/_synapse/admin/v1/registration_tokens/bobs?access_token=${SECRET}`);
    await during(() => server.clock.spend(900));
    const { slow_requests: slow } = await server.must('admin', 'GET', '/_tsudoi/admin/v1/slow_requests');
    expect(slow).to.have.length(1);
    expect(slow[0]).to.include({
      ms: 1_500,
      method: 'GET',
      operation: 'synapse-admin.adminGetRegistrationToken',
      status: 200,
      user: '@admin:test',
    });
    expect(slow[0].statements).to.be.a('number');
    expect(JSON.stringify(slow)).not.to.include(SECRET).and.not.to.include('bobs');
  });
});
