import { expect } from 'chai';
import { ChildServer } from '#test/support/child-server.ts';
import { must } from '#test/support/http.ts';
import { pause } from '#test/support/until.ts';

describe('settings of the user directory', function () {
  this.timeout(120_000);

  /** @param patienceMs how long somebody is looked for who is not found at once */
  const found = async (env: Readonly<Record<string, string>>, patienceMs: number): Promise<readonly unknown[]> => {
    const server = await ChildServer.start({
      database: 'shared',
      env: { TSUDOI_REGISTRATION__ENABLED: 'true', ...env },
    });
    try {
      const tokens: string[] = [];
      for (const username of ['loner', 'seeker']) {
        const body = { username, password: 'a password', auth: { type: 'm.login.dummy' } };
        tokens.push((await must(server.url, 'POST', '/register', { body })).access_token);
      }
      // Restarted, the server finds what it had no time to write.
      await server.restart('SIGKILL');
      const ask = async (): Promise<readonly { user_id: string }[]> => {
        const body = { search_term: 'loner' };
        return (await must(server.url, 'POST', '/user_directory/search', { token: tokens[1], body })).results;
      };
      let results = await ask();
      for (let left = patienceMs; left > 0 && results.length === 0; left -= 50) {
        await pause(50);
        results = await ask();
      }
      return results.map(({ user_id: userId }) => userId);
    } finally {
      await server.dispose();
    }
  };

  it('search_all_users lets everybody find users of this server who are in no room', async () => {
    const [all, sharing] = await Promise.all([
      // A job that the killed process had begun is begun again when its time is over.
      found({ TSUDOI_USER_DIRECTORY__SEARCH_ALL_USERS: 'true' }, 80_000),
      found({ TSUDOI_USER_DIRECTORY__SEARCH_ALL_USERS: 'false' }, 1_000),
    ]);
    expect(all).to.have.length(1);
    expect(sharing).to.deep.equal([]);
  });

  it('nobody is found where it is switched off', async () => {
    const env = { TSUDOI_USER_DIRECTORY__SEARCH_ALL_USERS: 'true', TSUDOI_USER_DIRECTORY__ENABLED: 'false' };
    expect(await found(env, 1_000)).to.deep.equal([]);
  });
});
