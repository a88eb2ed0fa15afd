import { OPERATOR } from '#src/services/audit/actor.ts';
import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import type { Endpoint } from '#src/http/endpoint.ts';
import { isAllowed } from '#src/services/accounts/admission/access-rules.ts';
import { registrationOf } from '#test/support/stand-ins/application-service.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

/** It has users of its own. */
const BRIDGE = registrationOf('bridge');
/** It acts as everybody, and owns nobody. */
const PUPPETEER = registrationOf('puppeteer', { namespaces: { users: [{ exclusive: false, regex: '@.*:test' }] } });

const OF_ACCOUNTS = ENDPOINTS.filter(
  ({ auth }) => auth === 'accessToken' || auth === 'optionalToken' || auth === 'admin',
);
const OF_ADMINS = OF_ACCOUNTS.filter(({ auth }) => auth === 'admin');
/** What ends a session or an account is asked in the name of others than the rest is. */
const ENDS = /^(logout|logout_all|deactivateAccount|deleteDevices?)$/;

describe('every endpoint of accounts, asked by an application service', function () {
  this.timeout(120_000);
  let server: InProcessServer;
  before(async () => {
    server = await InProcessServer.start({
      appservices: [BRIDGE, PUPPETEER],
      config: { turn: { uris: ['turn:turn.test'], sharedSecret: 'secret' } },
    });
    await server.account(
      '_bridge_user',
      '_bridge_ended',
      '_bridge_guest',
      'alice',
      'admin-ann',
      'suspended-sue',
      'lou',
    );
    const { database, userAdministration, users } = server.services;
    await userAdministration.lock(OPERATOR, '@lou:test', true);
    await database.write((tx) => users.change(tx, '@_bridge_guest:test', { isGuest: true }));
  });
  after(() => server?.stop());

  const ask = (endpoint: Endpoint, token: string, user: string) => {
    const path = endpoint.path.replaceAll(/\{\w+\}/g, 'x');
    const body = endpoint.method === 'GET' || endpoint.method === 'DELETE' ? undefined : {};
    // Of two values the first one says as whom it acts, where the endpoint has a parameter of that name.
    return server.ask(token, endpoint.method, `${path}?user_id=${user}&user_id=@x:test&timeout=0`, body);
  };
  /** The endpoints that answer otherwise than expected. */
  const otherwise = async (
    endpoints: readonly Endpoint[],
    token: string,
    user: string,
    expected: (answer: { status: number; errcode: unknown }, endpoint: Endpoint) => boolean,
  ): Promise<string[]> => {
    const found: string[] = [];
    for (const endpoint of endpoints) {
      const { body, status } = await ask(endpoint, token, user);
      const errcode: unknown = body?.errcode;
      if (!expected({ status, errcode }, endpoint)) found.push(`${endpoint.operationId}: ${status} ${String(errcode)}`);
    }
    return found;
  };
  const forbidden = ({ status, errcode }: { status: number; errcode: unknown }): boolean =>
    status === 403 && errcode === 'M_FORBIDDEN';

  it('is refused in the name of a user of none of its namespaces, or of one that is not there', async () => {
    for (const user of ['@alice:test', '@_bridge_nobody:test', '@_bridge_user:elsewhere'])
      expect(await otherwise(OF_ACCOUNTS, BRIDGE.as_token, user, forbidden), user).to.deep.equal([]);
  });

  it('is refused in the name of a user who is locked, but for logging out', async () => {
    const locked = OF_ACCOUNTS.filter(({ allowLocked }) => allowLocked !== true);
    const isLocked = ({ status, errcode }: { status: number; errcode: unknown }): boolean =>
      status === 401 && errcode === 'M_USER_LOCKED';
    expect(await otherwise(locked, PUPPETEER.as_token, '@lou:test', isLocked)).to.deep.equal([]);
  });

  it('is refused as it is to the user: suspended, or a guest', async () => {
    const ofSuspended = OF_ACCOUNTS.filter(({ suspended }) => suspended !== undefined && !isAllowed(suspended));
    expect(
      await otherwise(ofSuspended, PUPPETEER.as_token, '@suspended-sue:test', ({ errcode }, { appservices }) =>
        appservices === undefined ? errcode === 'M_USER_SUSPENDED' : errcode === 'M_FORBIDDEN',
      ),
    ).to.deep.equal([]);
    const ofGuests = OF_ACCOUNTS.filter(({ guests }) => guests !== undefined && !isAllowed(guests));
    expect(
      await otherwise(ofGuests, BRIDGE.as_token, '@_bridge_guest:test', ({ errcode }, { appservices }) =>
        appservices === undefined ? errcode === 'M_GUEST_ACCESS_FORBIDDEN' : errcode === 'M_FORBIDDEN',
      ),
    ).to.deep.equal([]);
  });

  it('is refused where it is of administrators, in the name of a user who is none or whose rights are not for the service', async () => {
    expect(OF_ADMINS.length).to.be.greaterThan(20);
    expect(await otherwise(OF_ADMINS, BRIDGE.as_token, '@_bridge_user:test', forbidden)).to.deep.equal([]);
    expect(await otherwise(OF_ADMINS, PUPPETEER.as_token, '@admin-ann:test', forbidden)).to.deep.equal([]);
  });

  it('is refused where it manages the account, and only there', async () => {
    const managing = OF_ACCOUNTS.filter(({ appservices }) => appservices !== undefined && !isAllowed(appservices));
    expect(managing.map(({ operationId }) => operationId)).to.include.members([
      'changePassword',
      'generateLoginToken',
      'add3PID',
    ]);
    for (const [token, user] of [
      [BRIDGE.as_token, '@_bridge_user:test'],
      [PUPPETEER.as_token, '@alice:test'],
    ] as const)
      expect(await otherwise(managing, token, user, forbidden), user).to.deep.equal([]);
    const others = OF_ACCOUNTS.filter(
      (one) => !managing.includes(one) && one.auth !== 'admin' && !ENDS.test(one.operationId),
    );
    const isServed = ({ status, errcode }: { status: number; errcode: unknown }): boolean =>
      status !== 401 && errcode !== 'M_UNKNOWN_TOKEN' && errcode !== 'M_USER_DEACTIVATED';
    expect(await otherwise(others, BRIDGE.as_token, '@_bridge_user:test', isServed)).to.deep.equal([]);
    const ending = OF_ACCOUNTS.filter(
      ({ operationId }) => ENDS.test(operationId) && operationId !== 'deactivateAccount',
    );
    expect(await otherwise(ending, BRIDGE.as_token, '@_bridge_ended:test', isServed)).to.deep.equal([]);
  });
});
