import { OPERATOR } from '#src/services/audit/actor.ts';
import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { OpenIdTokens } from '#src/services/accounts/openid/openid-tokens.ts';
import { AccountsServer } from './accounts-server.ts';

describe('OpenID tokens', function () {
  this.timeout(60_000);
  let server: AccountsServer;
  let tokens: OpenIdTokens;
  before(async () => {
    server = await AccountsServer.start();
    tokens = new OpenIdTokens({ database: server.services.database, clock: server.clock, random: systemRandom });
  });
  after(() => server.stop());
  const user = async (): Promise<string> => (await server.register()).body.user_id;

  it('name their user for an hour', async () => {
    const userId = await user();
    const { token, expiresIn } = await tokens.issue(userId);
    expect(await tokens.userOf(token)).to.equal(userId);
    expect(await tokens.userOf(`${token}x`)).to.equal(undefined);
    await server.clock.advance(expiresIn * 1000 - 1);
    expect(await tokens.userOf(token)).to.equal(userId);
    await server.clock.advance(1);
    expect(await tokens.userOf(token)).to.equal(undefined);
  });
  it('are worth nothing once the account is locked or deactivated', async () => {
    const userId = await user();
    const { token } = await tokens.issue(userId);
    await server.services.userAdministration.lock(OPERATOR, userId, true);
    expect(await tokens.userOf(token)).to.equal(undefined);
    await server.services.userAdministration.lock(OPERATOR, userId, false);
    expect(await tokens.userOf(token)).to.equal(userId);
    await server.services.accounts.deactivate(userId, false);
    expect(await tokens.userOf(token)).to.equal(undefined);
  });
  it('are deleted some time after they have expired', async () => {
    await server.clock.advance(3_600_000);
    await tokens.issue(await user());
    const count = await server.services.database.read((tx) =>
      tx.query<{ n: number }>({ name: 'test_openid_count', text: 'select count(*)::int as n from openid_tokens' }),
    );
    expect(count[0]?.n).to.equal(1);
  });
});
