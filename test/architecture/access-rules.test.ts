import { expect } from 'chai';
import { ENDPOINTS } from '#src/app/endpoints.ts';
import { type AccessRule, isAllowed } from '#src/services/accounts/admission/access-rules.ts';
import { METHODS } from '#src/ws/methods.ts';

/** Client-Server API, "Guest Access", by operation. */
const OPEN_TO_GUESTS = new Set(
  `getRoomState getEventContext getOneRoomEvent getRoomStateWithKey getRoomEvents getMembersByRoom roomInitialSync sync peekEvents
  getContentAuthed getContentOverrideNameAuthed getContentThumbnailAuthed joinRoomById leaveRoom sendMessage setRoomStateWithKey sendToDevice
  setProfileField deleteProfileField getDevices getDevice updateDevice getTokenOwner uploadKeys queryKeys claimKeys`.split(
    /\s+/,
  ),
);

/** Client-Server API, "Account suspension", by operation: what the user should still be able to do, and what servers should forbid. */
const OPEN_TO_SUSPENDED =
  `generateLoginToken sync getRoomEvents sendToDevice uploadKeys queryKeys claimKeys uploadCrossSigningKeys
  uploadCrossSigningSignatures postRoomKeysVersion putRoomKeysVersion putRoomKeys putRoomKeysByRoomId putRoomKeyBySessionId leaveRoom redactEvent
  logout logout_all deleteDevice deleteDevices deactivateAccount`.split(/\s+/);
const CLOSED_TO_SUSPENDED = 'joinRoom joinRoomById knockRoom inviteUser setProfileField deleteProfileField'.split(' ');

const endpointOf = new Map(ENDPOINTS.map((endpoint) => [endpoint.operationId, endpoint]));
const ruled = ENDPOINTS.filter(({ auth }) => ['accessToken', 'optionalToken', 'admin'].includes(auth));
const reasonOf = (rule: AccessRule | undefined): string | undefined =>
  typeof rule === 'object' ? Object.values(rule).join('') : rule;

describe('who may call what', () => {
  it('is said by every endpoint that accounts call', () => {
    expect(ruled.length).to.be.greaterThan(90);
    for (const { operationId, guests, suspended } of ruled) {
      expect(reasonOf(guests), operationId).to.be.a('string').and.not.equal('');
      expect(reasonOf(suspended), operationId).to.be.a('string').and.not.equal('');
    }
  });
  it('opens to guests all that the specification lists, and gives a reason for what else is open to them', () => {
    for (const { operationId, guests = 'refused' } of ruled) {
      if (OPEN_TO_GUESTS.has(operationId)) expect(guests, operationId).to.equal('allowed');
      else expect(guests, `${operationId} is not on the list of the specification`).not.to.equal('allowed');
    }
  });
  it('leaves suspended users what the specification says that they should be able to do, and forbids what it says to forbid', () => {
    const verdict = (operationId: string): boolean | undefined => {
      const suspended = endpointOf.get(operationId)?.suspended;
      return suspended === undefined ? undefined : isAllowed(suspended);
    };
    expect(OPEN_TO_SUSPENDED.filter((operationId) => verdict(operationId) === false)).to.deep.equal([]);
    expect(CLOSED_TO_SUSPENDED.filter((operationId) => verdict(operationId) !== false)).to.deep.equal([]);
  });
  it('keeps administrators who are suspended from administrating', () => {
    const admins = ENDPOINTS.filter(({ auth }) => auth === 'admin');
    expect(admins.length).to.be.greaterThan(3);
    for (const { operationId, suspended } of admins)
      expect(suspended !== undefined && isAllowed(suspended), operationId).to.equal(false);
  });
  it('is the same for a method of the WebSocket API as for the endpoint that does the same', () => {
    const twins = [...METHODS.values()].filter(({ sameAs }) => sameAs !== undefined);
    expect(twins.length).to.be.greaterThan(8);
    for (const { name, sameAs = '', guests, suspended, rateLimit } of twins) {
      const endpoint = endpointOf.get(sameAs);
      expect(endpoint, `${name} names ${sameAs}`).not.to.equal(undefined);
      expect({ guests, suspended, rateLimit }, name).to.deep.equal({
        guests: endpoint?.guests,
        suspended: endpoint?.suspended,
        rateLimit: endpoint?.rateLimit,
      });
    }
  });
});
