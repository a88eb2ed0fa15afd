import { expect } from 'chai';
import { type ConfigChanges, InProcessServer, type Json } from '#test/support/in-process-server.ts';

describe('settings of the user directory', function () {
  this.timeout(60_000);

  /** Whom somebody finds who shares no room with anybody. */
  const found = async (userDirectory: NonNullable<ConfigChanges['userDirectory']>): Promise<readonly string[]> => {
    const server = await InProcessServer.start({ config: { userDirectory } });
    try {
      await server.account('loner', 'seeker');
      // Started again, the server knows nothing of them but what is in the directory.
      await server.restart();
      await server.idle();
      const { results } = await server.must('seeker', 'POST', '/user_directory/search', { search_term: 'loner' });
      return results.map(({ user_id: userId }: Json) => userId);
    } finally {
      await server.stop();
    }
  };

  it('search_all_users lets everybody find users of this server who are in no room', async () => {
    expect(await found({ searchAllUsers: true })).to.deep.equal(['@loner:test']);
    expect(await found({ searchAllUsers: false })).to.deep.equal([]);
  });

  it('nobody is found where it is switched off', async () => {
    expect(await found({ searchAllUsers: true, enabled: false })).to.deep.equal([]);
  });

  it('a new user is found at once, since the entry is committed with the account, and takes no job', async () => {
    const server = await InProcessServer.start({ config: { userDirectory: { searchAllUsers: true } } });
    try {
      await server.account('seeker');
      await server.idle();
      const jobs = server.services.queues.done;
      const auth = { type: 'm.login.dummy' };
      await server.must(undefined, 'POST', '/register', { username: 'loner', password: 'correct horse', auth });
      await server.idle();
      expect(server.services.queues.done).to.equal(jobs);
      const { results } = await server.must('seeker', 'POST', '/user_directory/search', { search_term: 'loner' });
      expect(results.map(({ user_id: userId }: Json) => userId)).to.deep.equal(['@loner:test']);
    } finally {
      await server.stop();
    }
  });

  it('a user who was named before there was an account is found as well', async () => {
    const server = await InProcessServer.start({ config: { userDirectory: { searchAllUsers: true } } });
    try {
      await server.account('seeker');
      await server.must('seeker', 'POST', '/createRoom', { invite: ['@later:test'] });
      await server.account('later');
      const { results } = await server.must('seeker', 'POST', '/user_directory/search', { search_term: 'later' });
      expect(results.map(({ user_id: userId }: Json) => userId)).to.deep.equal(['@later:test']);
    } finally {
      await server.stop();
    }
  });
});
