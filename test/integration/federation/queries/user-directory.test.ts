import { expect } from 'chai';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';

describe("other servers' users in the user directory", function () {
  this.timeout(120_000);
  let federation: Federation;
  let a: InProcessServer;
  let b: InProcessServer;

  before(async () => {
    federation = await startFederation(['a.test', 'b.test']);
    a = federation.server('a.test');
    b = federation.server('b.test');
  });
  after(() => federation?.stop());

  const search = async (user: string, term: string): Promise<Json[]> => {
    await federation.idle();
    return (await b.must(user, 'POST', '/user_directory/search', { search_term: term })).results;
  };
  const join = (user: string, roomId: string): Promise<Json> =>
    b.must(user, 'POST', `/join/${encodeURIComponent(roomId)}?via=a.test`, {});

  it('are found by everybody when they are in a public room, by the names that they have there', async () => {
    await a.setProfile('alice', { displayname: 'Alice Wonderland', avatar_url: 'mxc://a.test/face' });
    const roomId = await a.room('alice', { preset: 'public_chat' });
    await join('bob', roomId);
    expect(await search('carol', 'wonder')).to.deep.equal([
      { user_id: '@alice:a.test', display_name: 'Alice Wonderland', avatar_url: 'mxc://a.test/face' },
    ]);
    await a.setProfile('alice', { displayname: 'Alice Looking-Glass', avatar_url: 'mxc://a.test/face' });
    expect((await search('carol', 'looking'))[0]?.display_name).to.equal('Alice Looking-Glass');
    expect(await search('carol', 'wonder')).to.deep.equal([]);
  });

  it('are found by those who share a private room, which tells nobody what they are called there', async () => {
    await a.setProfile('dora', { displayname: 'Dora Secret' });
    const roomId = await a.room('dora', { preset: 'private_chat', invite: ['@bob:b.test'] });
    await join('bob', roomId);
    expect(await search('bob', '@dora')).to.deep.equal([{ user_id: '@dora:a.test' }]);
    expect(await search('carol', '@dora')).to.deep.equal([]);
    expect(await search('bob', 'secret')).to.deep.equal([]);
  });
});
