/** How the authorization rules of a room version differ from those of the others. */
export interface AuthRules {
  /** `m.room.aliases` has a rule of its own: the sender's domain must be the state key. v1 to v5. */
  readonly aliasesBySenderDomain: boolean;
  /** The authorization rules decide who may redact. v1 and v2. */
  readonly redactionsAuthorised: boolean;
  /** The `notifications` of `m.room.power_levels` are guarded like `events`. Since v6. */
  readonly notificationLevels: boolean;
  /** Membership `knock` and the join rule `knock`. Since v7. */
  readonly knocking: boolean;
  /** The join rule `restricted` and `join_authorised_via_users_server`. Since v8. */
  readonly restrictedJoins: boolean;
  /** The join rule `knock_restricted`. Since v10. */
  readonly knockRestricted: boolean;
  /** Power levels must be integers: no strings. Since v10. */
  readonly integerPowerLevels: boolean;
  /** Power levels may be floats, which are truncated. v1 to v5. */
  readonly floatPowerLevels: boolean;
  /** The creator is the sender of `m.room.create`, not its `content.creator`. Since v11. */
  readonly implicitCreator: boolean;
  /** Creators (`additional_creators` included) stand above every power level and cannot be listed in `users`. Since v12. */
  readonly privilegedCreators: boolean;
  /** `m.room.create` is among the auth events of other events; otherwise the room id implies it. v1 to v11. */
  readonly createEventSelected: boolean;
}

/** What the redaction algorithm of a room version leaves. */
export interface RedactionRules {
  readonly topLevelKeys: readonly string[];
  /** Event type -> keys of `content` that stay, or `all`. Of other types nothing stays. */
  readonly contentKeys: ReadonlyMap<string, readonly string[] | 'all'>;
  /** `m.room.member` keeps `third_party_invite`, reduced to its `signed`. Since v11. */
  readonly thirdPartyInviteSigned: boolean;
}

/** A room version as named rules. Code asks a rule, never a version number. */
export interface RoomVersion {
  readonly id: string;
  /**
   * `assigned`: `$opaque:domain`, chosen by the sending server and carried in the PDU (v1, v2); `base64`: the reference hash
   * (v3); `urlSafeBase64`: the same in the URL-safe alphabet (since v4).
   */
  readonly eventIdFormat: 'assigned' | 'base64' | 'urlSafeBase64';
  /** How `prev_events` and `auth_events` name events: `[id, { sha256 }]` (v1, v2) or the id alone (since v3). */
  readonly eventReferences: 'idAndHash' | 'id';
  readonly stateResolution: 'v1' | 'v2' | 'v2.1';
  /** "Servers MUST strictly enforce the JSON format specified in the appendices." Since v6. */
  readonly strictCanonicalJson: boolean;
  /** "servers MUST enforce the valid_until_ts property from a key request". Since v5. */
  readonly enforceKeyValidity: boolean;
  /** The limit of 255 for keys of events is one of bytes, not of code points. Since v11. */
  readonly keyLimitsInBytes: boolean;
  /** `redacts` stands in `content`, not at the top of the event. Since v11. */
  readonly redactsInContent: boolean;
  /** The room id is the event id of `m.room.create` with the sigil `!`; that event has no `room_id`. Since v12. */
  readonly roomIdIsCreateHash: boolean;
  readonly redaction: RedactionRules;
  readonly auth: AuthRules;
}
