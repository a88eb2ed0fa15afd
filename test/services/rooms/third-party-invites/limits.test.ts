import { expect } from 'chai';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { InProcessServer, type InProcessServerOptions } from '#test/support/in-process-server.ts';

const INVITER = { userId: '@alice:test', rateLimited: true };

describe('inviting by mail address', () => {
  let server: InProcessServer | undefined;
  let count = 0;
  afterEach(async () => {
    await server?.stop();
    server = undefined;
  });

  const start = async (options: InProcessServerOptions): Promise<InProcessServer> => {
    server = await InProcessServer.start(options);
    return server;
  };
  const someone = () => ({ medium: 'email', address: `somebody${++count}@mail.test` });
  const errorOf = async (promise: Promise<unknown>): Promise<MatrixError> => {
    try {
      await promise;
    } catch (error) {
      if (error instanceof MatrixError) return error;
      throw error;
    }
    throw new Error('it did not fail');
  };

  it('has a rate limit of its own', async () => {
    const limits = { third_party_invite: { perSecond: 0.1, burst: 2 } };
    const { services, clock, room } = bound(await start({ rateLimits: limits }));
    const roomId = await room('alice');
    const invite = (rateLimited = true) =>
      services.thirdPartyInvites.invite({ ...INVITER, rateLimited }, roomId, someone());
    await invite();
    await invite();
    const { errcode, fields } = await errorOf(invite());
    expect([errcode, fields['retry_after_ms']]).to.deep.equal(['M_LIMIT_EXCEEDED', 10_000]);
    await invite(false);
    await clock.advance(10_000);
    await invite();
  });
  it('asks for no more along with a new room than would ever be let through', async () => {
    const limits = { third_party_invite: { perSecond: 0.1, burst: 2 } };
    const { services } = await start({ rateLimits: limits });
    const three = [someone(), someone(), someone()];
    const { errcode } = await errorOf(
      services.roomCreation.create({ userId: '@alice:test' }, { thirdPartyInvites: three }),
    );
    expect(errcode).to.equal('M_UNKNOWN');
    expect(await services.membership.joinedRooms('@alice:test')).to.deep.equal([]);
  });
  it('keeps nothing where an identity server is to do it', async () => {
    const { ask, room } = bound(await start({ config: { identity: { builtIn: false } } }));
    const roomId = await room('alice');
    const invite = async (more: object) => {
      const { status, body } = await ask('alice', 'POST', `/rooms/${roomId}/invite`, { ...someone(), ...more });
      return [status, body.errcode];
    };
    expect(await invite({})).to.deep.equal([400, 'M_MISSING_PARAM']);
    expect(await invite({ id_server: 'test' })).to.deep.equal([400, 'M_MISSING_PARAM']);
    expect(await invite({ id_server: 'test', id_access_token: 'x' })).to.deep.equal([400, 'M_SERVER_NOT_TRUSTED']);
  });
});

/** The server's parts, to be named on their own. */
const bound = (server: InProcessServer) => ({
  services: server.services,
  clock: server.clock,
  room: (creator: string) => server.room(creator),
  ask: (...request: Parameters<InProcessServer['ask']>) => server.ask(...request),
});
