import { expect } from 'chai';
import type { RoomVersion } from '#src/protocol/room-versions/room-version.ts';
import { ROOM_VERSIONS, roomVersion } from '#src/protocol/room-versions/room-versions.ts';

/** Named rule -> the values it takes, each with the first version that has it. */
const HISTORY: readonly (readonly [string, (version: RoomVersion) => unknown, Readonly<Record<number, unknown>>])[] = [
  ['eventIdFormat', (v) => v.eventIdFormat, { 1: 'assigned', 3: 'base64', 4: 'urlSafeBase64' }],
  ['eventReferences', (v) => v.eventReferences, { 1: 'idAndHash', 3: 'id' }],
  ['stateResolution', (v) => v.stateResolution, { 1: 'v1', 2: 'v2', 12: 'v2.1' }],
  ['enforceKeyValidity', (v) => v.enforceKeyValidity, { 1: false, 5: true }],
  ['strictCanonicalJson', (v) => v.strictCanonicalJson, { 1: false, 6: true }],
  ['keyLimitsInBytes', (v) => v.keyLimitsInBytes, { 1: false, 11: true }],
  ['redactsInContent', (v) => v.redactsInContent, { 1: false, 11: true }],
  ['roomIdIsCreateHash', (v) => v.roomIdIsCreateHash, { 1: false, 12: true }],
  ['thirdPartyInviteSigned', (v) => v.redaction.thirdPartyInviteSigned, { 1: false, 11: true }],
  ['redactionsAuthorised', (v) => v.auth.redactionsAuthorised, { 1: true, 3: false }],
  ['aliasesBySenderDomain', (v) => v.auth.aliasesBySenderDomain, { 1: true, 6: false }],
  ['floatPowerLevels', (v) => v.auth.floatPowerLevels, { 1: true, 6: false }],
  ['notificationLevels', (v) => v.auth.notificationLevels, { 1: false, 6: true }],
  ['knocking', (v) => v.auth.knocking, { 1: false, 7: true }],
  ['restrictedJoins', (v) => v.auth.restrictedJoins, { 1: false, 8: true }],
  ['knockRestricted', (v) => v.auth.knockRestricted, { 1: false, 10: true }],
  ['integerPowerLevels', (v) => v.auth.integerPowerLevels, { 1: false, 10: true }],
  ['implicitCreator', (v) => v.auth.implicitCreator, { 1: false, 11: true }],
  ['privilegedCreators', (v) => v.auth.privilegedCreators, { 1: false, 12: true }],
  ['createEventSelected', (v) => v.auth.createEventSelected, { 1: true, 12: false }],
];

describe('room versions', () => {
  it('are 1 to 12, under their own ids', () => {
    expect([...ROOM_VERSIONS.keys()]).to.deep.equal(Array.from({ length: 12 }, (_, index) => String(index + 1)));
    for (const [id, version] of ROOM_VERSIONS) expect(version.id).to.equal(id);
  });

  it('are unknown by any other name', () => {
    for (const id of ['0', '13', '', '01', 'constructor']) expect(roomVersion(id)).to.equal(undefined);
  });

  for (const [rule, read, history] of HISTORY) {
    it(`changed ${rule} in ${Object.keys(history).slice(1).join(', ')}`, () => {
      let expected: unknown;
      for (const [id, version] of ROOM_VERSIONS) {
        if (Number(id) in history) expected = history[Number(id)];
        expect(read(version), `v${id}`).to.equal(expected);
      }
    });
  }
});
