import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { BODY_BYTES } from '#src/http/body-sizes.ts';
import { DEFAULT_HTTP_LIMITS } from '#src/http/dependencies.ts';
import type { Endpoint } from '#src/http/endpoint.ts';
import { FormBody, RawBody, StreamBody } from '#src/http/endpoint.ts';
import { mostBytes } from '#src/http/received-body.ts';
import { InProcessServer } from '#test/support/in-process-server.ts';

/** What takes lists, or account data, of any length: its own services bound what is in there. */
const TAKE_MUCH: Readonly<Record<string, string>> = {
  setAccountData: 'data of clients',
  setAccountDataPerRoom: 'data of clients',
  createRoom: 'events of the initial state',
  deleteDevices: 'up to 5,000 devices',
  defineFilter: 'lists; a filter has a bound of its own',
  search: 'the lists of a filter',
  sendToDevice: 'messages for many devices',
  uploadKeys: 'keys by the hundred',
  queryKeys: 'users by the thousand',
  claimKeys: 'devices by the thousand',
  uploadCrossSigningSignatures: 'signatures by the thousand',
  slidingSync: 'lists, and rooms that are subscribed to',
  slidingSyncUnstable: 'lists, and rooms that are subscribed to',
  adminDeleteDevices: 'up to 10,000 devices',
  adminRedactUserEvents: 'up to 10,000 rooms',
  addAppservice: 'namespaces by the hundred',
  replaceAppservice: 'namespaces by the hundred',
};

/** Endpoints of accounts with a body that is read as a whole. Those without an account have `http.max_stranger_body_bytes`. */
const withBodies = ENDPOINTS.filter(
  ({ auth, body }) =>
    body !== undefined &&
    !(body instanceof FormBody || body instanceof RawBody || body instanceof StreamBody) &&
    (auth === 'accessToken' || auth === 'optionalToken' || auth === 'admin'),
);
const most = (endpoint: Endpoint): number => mostBytes(endpoint, DEFAULT_HTTP_LIMITS);

describe('the body of a request', () => {
  let app: InProcessServer;
  before(async () => {
    app = await InProcessServer.start();
  });
  after(() => app.stop());

  const refusal = async (endpoint: Endpoint): Promise<unknown> => {
    // The version is that of a backup.
    const path = endpoint.path.replaceAll(/\{\w+\}/g, '1');
    const token = endpoint.auth === 'admin' ? 'admin-of-sizes' : 'alice';
    const { status, body } = await app.ask(token, endpoint.method, `${path}?version=1`, {
      x: 'x'.repeat(most(endpoint)),
    });
    return [status, body['errcode'], body['error']];
  };

  it('has a bound that fits the endpoint, unless that takes lists or account data', () => {
    const sizes: readonly number[] = Object.values(BODY_BYTES);
    const large = withBodies.filter((endpoint) => most(endpoint) === DEFAULT_HTTP_LIMITS.maxBodyBytes);
    const raised = withBodies.filter((endpoint) => most(endpoint) > DEFAULT_HTTP_LIMITS.maxBodyBytes);
    const others = withBodies.filter((endpoint) => !sizes.includes(most(endpoint)));
    const named = (endpoints: readonly Endpoint[]): string[] => endpoints.map(({ operationId }) => operationId);
    expect(named(raised)).to.have.members(['putRoomKeys', 'putRoomKeysByRoomId']);
    expect(named(others)).to.have.members([...named(large), ...named(raised)]);
    expect(named(large)).to.have.members([...Object.keys(TAKE_MUCH), 'putDehydratedDevice']);
  });
  it('is refused with 413 M_TOO_LARGE, and a sentence that says how much the endpoint takes, where it is larger', async () => {
    const bounded = withBodies.filter((endpoint) => most(endpoint) < DEFAULT_HTTP_LIMITS.maxBodyBytes);
    expect(bounded.length).to.be.greaterThan(70);
    for (const endpoint of bounded)
      expect(await refusal(endpoint), endpoint.operationId).to.deep.equal([
        413,
        'M_TOO_LARGE',
        `The body is larger than the ${most(endpoint)} bytes that this endpoint takes.`,
      ]);
  });
});
