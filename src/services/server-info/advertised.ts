/**
 * What this server advertises to clients: the one table behind GET /_matrix/client/versions. docs/decisions/0001-advertised-versions.md
 * says why it is as it is.
 */

/**
 * Versions of the specification, oldest first, each with what clients conclude from it. A version is added when the endpoints that it
 * brought are served.
 */
const SPECIFICATION_VERSIONS: readonly (readonly [version: string, meaning: string])[] = [
  ['r0.6.1', 'the r0 paths, lazy loading of members, everything up to 2020'],
  ['v1.1', 'the v3 paths, knocking'],
  ['v1.2', 'restricted rooms, room previews by hierarchy, registration tokens'],
  ['v1.3', 'relations and their aggregation, refresh tokens'],
  ['v1.4', 'threads and threaded receipts, private read receipts'],
  ['v1.5', 'm.reference relations'],
  ['v1.6', 'jumping to a date, 404 and 405 M_UNRECOGNIZED'],
  ['v1.7', 'intentional mentions, asynchronous uploads, login tokens'],
  ['v1.8', 'events are reported only by members of their room, room version 11'],
  ['v1.9', 'the push rule that keeps edits silent'],
  ['v1.10', 'support contacts, Retry-After, relations of relations'],
  ['v1.11', 'authenticated media'],
  ['v1.12', 'account locking, rooms marked as unread, via on join and knock'],
  ['v1.13', 'account suspension, reporting of rooms'],
  ['v1.14', 'reporting of users'],
  ['v1.15', 'summaries of rooms; where there is no OAuth 2.0 API its metadata are M_UNRECOGNIZED'],
  ['v1.16', 'fields of profiles, state_after, room version 12'],
  ['v1.17', 'devices of application services; where there is no OAuth 2.0 API, no m.oauth stage'],
  [
    'v1.18',
    'locking and suspending accounts, blocking of invites, redactions sent as events are, policy servers named by their keys',
  ],
  ['v1.19', 'mutual rooms, replaces_state'],
];

/** Experimental features by the name clients look for. Only what is served in full stands here. */
const UNSTABLE_FEATURES: Readonly<Record<string, boolean>> = {
  // Delayed events: scheduling, managing and listing them, in the proposal's form and in the one that it had before.
  'org.matrix.msc4140': true,
  // Sticky events: sending them, and their section of /sync.
  'org.matrix.msc4354': true,
  // The ways by which media of calls go.
  'org.matrix.msc4143': true,
  // Authenticated media, and uploads that are announced before they come.
  'org.matrix.msc3916.stable': true,
  'fi.mau.msc2246.stable': true,
  // Application services that ask whether they can be reached.
  'fi.mau.msc2659.stable': true,
  // Simplified sliding sync.
  'org.matrix.simplified_msc3575': true,
  // Following threads: its endpoints and push rules, and its part of sliding sync with the list beside it (MSC4308).
  'org.matrix.msc4306': true,
  // Profiles in sliding sync, and in /sync.
  'org.matrix.msc4262': true,
  'org.matrix.msc4429': true,
  // Redactions of an event and what relates to it.
  'org.matrix.msc3912': true,
  // Redactions of all that a user has sent into a room.
  'org.matrix.msc4194': true,
  // Pushers that another device silences.
  'org.matrix.msc3881': true,
  // Lists of those whose invites are taken, hidden or refused.
  'org.matrix.msc4155': true,
  // Dehydrated devices.
  'org.matrix.msc3814': true,
  'org.matrix.e2e_cross_signing': true,
  // What clients look for by these names beside the versions that brought it.
  'org.matrix.msc2285.stable': true, // private read receipts
  'org.matrix.msc3030.stable': true, // jumping to a date
  'org.matrix.msc3440.stable': true, // threads
  'org.matrix.msc3771': true, // receipts in threads
  'org.matrix.msc3773': true, // unread counts of threads
  'org.matrix.msc3827.stable': true, // rooms of the directory by their types
  'org.matrix.msc3874': true, // events by how they relate to others
  'org.matrix.msc3930': true, // push rules on polls
  'org.matrix.msc3981': true, // relations of relations
  'org.matrix.msc4222': true, // state_after
  'uk.tcpip.msc4133.stable': true, // fields of profiles
  // Redactions that are sent as events are, blocking of invites, locking and suspending accounts, mutual rooms.
  'com.beeper.msc4169': true,
  'org.matrix.msc4380.stable': true,
  'uk.timedout.msc4323.stable': true,
  'uk.half-shot.msc2666.query_mutual_rooms': true,
  'uk.half-shot.msc2666.query_mutual_rooms.stable': true,
};

/** As clients look for them: whether they may make rooms that are not encrypted. */
const PRESETS = ['public', 'private', 'trusted_private'];

/**
 * Body of GET /_matrix/client/versions.
 *
 * @param settings `encryptedEvents`: whether all that is encrypted is pushed (MSC4028); `encryptedPresets`: of which presets rooms are always
 *   encrypted
 */
export const advertisedVersions = (
  settings: { readonly encryptedEvents: boolean; readonly encryptedPresets: readonly string[] } = {
    encryptedEvents: true,
    encryptedPresets: [],
  },
): { versions: string[]; unstable_features: Record<string, boolean> } => ({
  versions: SPECIFICATION_VERSIONS.map(([version]) => version),
  unstable_features: {
    ...UNSTABLE_FEATURES,
    'org.matrix.msc4028': settings.encryptedEvents,
    ...Object.fromEntries(
      PRESETS.map((preset) => [
        `io.element.e2ee_forced.${preset}`,
        settings.encryptedPresets.includes(`${preset}_chat`),
      ]),
    ),
  },
});

/** What the configuration decides about capabilities. */
export interface CapabilitySettings {
  readonly defaultRoomVersion: string;
  /** Room versions that rooms can be made of and joined with, in the order in which they are listed. */
  readonly stableRoomVersions: readonly string[];
  /** Whether passwords of this server's users are kept, and so changed, here. */
  readonly canChangePassword: boolean;
  /** Whether users can add addresses to their accounts. */
  readonly canChangeThreepids: boolean;
  /** Whether this server makes previews of URLs. */
  readonly makesPreviews: boolean;
  /** Whether the requester may lock and suspend accounts. */
  readonly canModerateAccounts: boolean;
  /** Limits on delayed events; null: there is none. */
  readonly delayedEvents: { readonly maxDelayMs: number | null; readonly maxScheduled: number | null };
}

/** Body of GET /_matrix/client/v3/capabilities. Client-Server API, "Capabilities negotiation". */
export const advertisedCapabilities = (settings: CapabilitySettings): { capabilities: Record<string, unknown> } => ({
  capabilities: {
    'm.room_versions': {
      default: settings.defaultRoomVersion,
      available: Object.fromEntries(settings.stableRoomVersions.map((version) => [version, 'stable'])),
    },
    'm.change_password': { enabled: settings.canChangePassword },
    'm.set_displayname': { enabled: true },
    'm.set_avatar_url': { enabled: true },
    'm.profile_fields': { enabled: true },
    'm.3pid_changes': { enabled: settings.canChangeThreepids },
    'm.get_login_token': { enabled: true },
    'io.element.msc4452.preview_url': { enabled: settings.makesPreviews },
    'org.matrix.msc4140.delayed_events': {
      ...(settings.delayedEvents.maxDelayMs === null ? {} : { max_delay_ms: settings.delayedEvents.maxDelayMs }),
      ...(settings.delayedEvents.maxScheduled === null ? {} : { max_scheduled: settings.delayedEvents.maxScheduled }),
    },
    ...(settings.canModerateAccounts ? { 'm.account_moderation': { lock: true, suspend: true } } : {}),
  },
});
