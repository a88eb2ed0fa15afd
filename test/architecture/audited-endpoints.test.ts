import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { AUDITED, CHANGES_NOTHING, WITHOUT_ENTRY } from '#test/integration/admin/audited-requests.ts';

describe('every endpoint of administrators that changes something', () => {
  it('is called by the tests of the audit log: test/integration/admin/audited-requests.ts has a line for it', () => {
    const changing = ENDPOINTS.filter(({ auth, method }) => auth === 'admin' && method !== 'GET');
    const told = [...Object.keys(AUDITED), ...Object.keys(CHANGES_NOTHING), ...WITHOUT_ENTRY];
    expect(changing.map(({ operationId }) => operationId)).to.have.members(told);
    expect(new Set(told).size, 'a line is there twice').to.equal(told.length);
  });
});
