import type { RoomVersion } from './room-version.ts';

const POWER_LEVEL_KEYS = [
  'ban',
  'events',
  'events_default',
  'kick',
  'redact',
  'state_default',
  'users',
  'users_default',
];

const v1: RoomVersion = {
  id: '1',
  eventIdFormat: 'assigned',
  eventReferences: 'idAndHash',
  stateResolution: 'v1',
  strictCanonicalJson: false,
  enforceKeyValidity: false,
  keyLimitsInBytes: false,
  redactsInContent: false,
  roomIdIsCreateHash: false,
  redaction: {
    topLevelKeys: [
      'event_id',
      'type',
      'room_id',
      'sender',
      'state_key',
      'content',
      'hashes',
      'signatures',
      'depth',
      'prev_events',
      'prev_state',
      'auth_events',
      'origin',
      'origin_server_ts',
      'membership',
    ],
    contentKeys: new Map<string, readonly string[] | 'all'>([
      ['m.room.member', ['membership']],
      ['m.room.create', ['creator']],
      ['m.room.join_rules', ['join_rule']],
      ['m.room.power_levels', POWER_LEVEL_KEYS],
      ['m.room.aliases', ['aliases']],
      ['m.room.history_visibility', ['history_visibility']],
    ]),
    thirdPartyInviteSigned: false,
  },
  auth: {
    aliasesBySenderDomain: true,
    redactionsAuthorised: true,
    notificationLevels: false,
    knocking: false,
    restrictedJoins: false,
    knockRestricted: false,
    integerPowerLevels: false,
    floatPowerLevels: true,
    implicitCreator: false,
    privilegedCreators: false,
    createEventSelected: true,
  },
};

const v2: RoomVersion = { ...v1, id: '2', stateResolution: 'v2' };

const v3: RoomVersion = {
  ...v2,
  id: '3',
  eventIdFormat: 'base64',
  eventReferences: 'id',
  auth: { ...v2.auth, redactionsAuthorised: false },
};

const v4: RoomVersion = { ...v3, id: '4', eventIdFormat: 'urlSafeBase64' };

const v5: RoomVersion = { ...v4, id: '5', enforceKeyValidity: true };

const v6: RoomVersion = {
  ...v5,
  id: '6',
  strictCanonicalJson: true,
  redaction: { ...v5.redaction, contentKeys: new Map([...v5.redaction.contentKeys, ['m.room.aliases', []]]) },
  auth: { ...v5.auth, aliasesBySenderDomain: false, notificationLevels: true, floatPowerLevels: false },
};

const v7: RoomVersion = { ...v6, id: '7', auth: { ...v6.auth, knocking: true } };

const v8: RoomVersion = {
  ...v7,
  id: '8',
  redaction: {
    ...v7.redaction,
    contentKeys: new Map([...v7.redaction.contentKeys, ['m.room.join_rules', ['join_rule', 'allow']]]),
  },
  auth: { ...v7.auth, restrictedJoins: true },
};

const v9: RoomVersion = {
  ...v8,
  id: '9',
  redaction: {
    ...v8.redaction,
    contentKeys: new Map([
      ...v8.redaction.contentKeys,
      ['m.room.member', ['membership', 'join_authorised_via_users_server']],
    ]),
  },
};

const v10: RoomVersion = { ...v9, id: '10', auth: { ...v9.auth, knockRestricted: true, integerPowerLevels: true } };

const v11: RoomVersion = {
  ...v10,
  id: '11',
  keyLimitsInBytes: true,
  redactsInContent: true,
  redaction: {
    topLevelKeys: v10.redaction.topLevelKeys.filter(
      (key) => key !== 'origin' && key !== 'membership' && key !== 'prev_state',
    ),
    contentKeys: new Map<string, readonly string[] | 'all'>([
      ...v10.redaction.contentKeys,
      ['m.room.create', 'all'],
      ['m.room.power_levels', [...POWER_LEVEL_KEYS, 'invite']],
      ['m.room.redaction', ['redacts']],
    ]),
    thirdPartyInviteSigned: true,
  },
  auth: { ...v10.auth, implicitCreator: true },
};

const v12: RoomVersion = {
  ...v11,
  id: '12',
  stateResolution: 'v2.1',
  roomIdIsCreateHash: true,
  auth: { ...v11.auth, privilegedCreators: true, createEventSelected: false },
};

/** Every room version that this server knows, by its id. */
export const ROOM_VERSIONS: ReadonlyMap<string, RoomVersion> = new Map(
  [v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12].map((version) => [version.id, version]),
);

/** The rules of a room version, or undefined if it is not known. */
export function roomVersion(id: string): RoomVersion | undefined {
  return ROOM_VERSIONS.get(id);
}
