import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

/** What a path names where nothing of that name is there: an administrator changes nothing by it. */
const NOTHING: Readonly<Record<string, string>> = {
  destination: 'nothing.test',
  server_name: 'nothing.test',
  serverName: 'nothing.test',
  event_id: '$nothing',
  eventId: '$nothing',
};
const named = (name: string): string => {
  if (Object.hasOwn(NOTHING, name)) return NOTHING[name]!;
  if (/user/i.test(name)) return '@nothing:test';
  if (/room/i.test(name)) return '!nothing:test';
  return '0';
};

/** What each of them is answered, whatever is asked of administrators. */
const REFUSED: Readonly<Record<string, readonly [status: number, errcode: string]>> = {
  nobody: [401, 'M_MISSING_TOKEN'],
  'a token that nobody was given': [401, 'M_UNKNOWN_TOKEN'],
  'a guest': [403, 'M_GUEST_ACCESS_FORBIDDEN'],
  'a user': [403, 'M_FORBIDDEN'],
  'a suspended user': [403, 'M_USER_SUSPENDED'],
  'a locked user': [401, 'M_USER_LOCKED'],
  'a locked administrator': [401, 'M_USER_LOCKED'],
  'an administrator who is suspended': [403, 'M_USER_SUSPENDED'],
  'an administrator who is no more': [401, 'M_UNKNOWN_TOKEN'],
  'an application service': [403, 'M_FORBIDDEN'],
};

describe('what administrators may, of all that there is', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  const tokens = new Map<string, string | undefined>();
  const routes = ENDPOINTS.filter(({ auth }) => auth === 'admin').map((endpoint) => ({
    ...endpoint,
    target: endpoint.path.replaceAll(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(named(name))),
  }));

  before(async () => {
    server = await InProcessServer.start();
    const tokenOf = async (name: string): Promise<string> => (await server.session(name)).token;
    tokens.set('nobody', undefined);
    tokens.set('a token that nobody was given', 'tds_of_nobody');
    for (const [who, name] of [
      ['a guest', 'guest-1'],
      ['a user', 'alice'],
      ['a suspended user', 'suspended-bob'],
      ['a locked user', 'carol'],
      ['a locked administrator', 'admin-locked'],
      ['an administrator who is suspended', 'admin-suspended'],
      ['an administrator who is no more', 'admin-gone'],
      ['an application service', 'as-bridge'],
    ] as const)
      tokens.set(who, await tokenOf(name));
    const { database, users } = server.services;
    await database.write(async (tx) => {
      for (const name of ['carol', 'admin-locked']) await users.change(tx, `@${name}:test`, { locked: true });
      await users.change(tx, '@admin-suspended:test', { suspended: true });
    });
    await server.must('admin-root', 'POST', '/_synapse/admin/v1/deactivate/@admin-gone:test', {});
    await server.idle();
  });
  after(() => server?.stop());

  it('is more than a hundred routes', () => {
    expect(routes.length).to.be.above(110);
    expect(routes.filter(({ target }) => target.includes('{')).map(({ path }) => path)).to.deep.equal([]);
  });

  for (const [who, expected] of Object.entries(REFUSED))
    it(`is refused to ${who}, by every route`, async () => {
      const wrong: string[] = [];
      for (const { method, operationId, target } of routes) {
        const body = method === 'GET' ? undefined : {};
        const answer = await server.ask(tokens.get(who), method, target, body);
        const found = [answer.status, answer.body?.errcode];
        if (found.join() !== expected.join()) wrong.push(`${operationId}: ${found.join(' ')}`);
      }
      expect(wrong).to.deep.equal([]);
    });

  it('is refused to none of them who administrates, by no route', async () => {
    const refused: string[] = [];
    for (const { method, operationId, target } of routes) {
      const { body, status } = await server.ask('admin-root', method, target, method === 'GET' ? undefined : {});
      const isRefused = status === 401 || body?.errcode === 'M_USER_SUSPENDED' || body?.errcode === 'M_UNRECOGNIZED';
      if (isRefused || (status === 403 && /admin/i.test(body?.error)))
        refused.push(`${operationId}: ${status} ${body?.error}`);
    }
    expect(refused).to.deep.equal([]);
  });
});
