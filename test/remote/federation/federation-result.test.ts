import { expect } from 'chai';
import { type FederationFailure, matrixErrorOf } from '#src/remote/federation/federation-result.ts';

describe('what a client is told of the refusal of another server', () => {
  const told = (
    status: number,
    errcode: string | undefined,
    body: FederationFailure['body'] = {},
  ): [number, string] => {
    const failure = { ok: false, kind: 'refused', destination: 'p.test', error: 'No.', status, body } as const;
    const { errcode: said, status: shown } = matrixErrorOf({
      ...failure,
      ...(errcode === undefined ? {} : { errcode }),
    });
    return [shown, said];
  };

  it('is its errcode and status where the API between servers knows it', () => {
    expect(told(403, 'M_FORBIDDEN')).to.deep.equal([403, 'M_FORBIDDEN']);
    expect(told(404, 'M_NOT_FOUND')).to.deep.equal([404, 'M_NOT_FOUND']);
    expect(told(400, 'M_UNABLE_TO_GRANT_JOIN')).to.deep.equal([400, 'M_UNABLE_TO_GRANT_JOIN']);
    expect(told(400, 'M_INCOMPATIBLE_ROOM_VERSION', { room_version: '99' })).to.deep.equal([
      400,
      'M_INCOMPATIBLE_ROOM_VERSION',
    ]);
  });

  it('is nothing about the session or the account of the client, whatever that server says', () => {
    for (const errcode of [
      'M_UNKNOWN_TOKEN',
      'M_MISSING_TOKEN',
      'M_UNAUTHORIZED',
      'M_UNRECOGNIZED',
      'M_USER_LOCKED',
      'M_USER_SUSPENDED',
      'M_USER_DEACTIVATED',
      'M_RESOURCE_LIMIT_EXCEEDED',
      'M_TERMS_NOT_SIGNED',
      'M_CONSENT_NOT_GIVEN',
      'M_UNKNOWN_POS',
      'M_UNKNOWN_DEVICE',
      'M_WRONG_ROOM_KEYS_VERSION',
      'ORG_MATRIX_EXPIRED_ACCOUNT',
      '__proto__',
      'constructor',
      undefined,
    ])
      expect(told(403, errcode), errcode).to.deep.equal([502, 'M_CONNECTION_FAILED']);
  });

  it('is an error, and no demand to log in, whatever its status is', () => {
    for (const status of [301, 302, 304, 399, 401])
      expect(told(status, 'M_FORBIDDEN'), String(status)).to.deep.equal([403, 'M_FORBIDDEN']);
    for (const status of [500, 502, 599])
      expect(told(status, 'M_FORBIDDEN'), String(status)).to.deep.equal([502, 'M_CONNECTION_FAILED']);
  });
});
