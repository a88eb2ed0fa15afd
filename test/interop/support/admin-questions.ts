import type { Account } from './account.ts';

/** What an administrator asks of: the same on both servers. */
export interface Administered {
  readonly admin: Account;
  /** Who made the room and said something in it. */
  readonly alice: Account;
  /** Who reported that, and alice. */
  readonly bob: Account;
  readonly roomId: string;
  readonly eventId: string;
  /** Ids of reports: of that, and of alice. */
  readonly eventReport: number;
  readonly userReport: number;
  /** A file that alice has uploaded, without `mxc://`. */
  readonly file: string;
  /** Who is there for what ends badly. */
  readonly carol: Account;
  /** A room of carol's. */
  readonly doomed: string;
  /** What was answered so far, by question. */
  // What a question needs of an answer it says itself.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly answers: Record<string, any>;
}

export interface Question {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Under `/_synapse/admin`. */
  readonly path: (of: Administered) => string;
  readonly body?: (of: Administered) => object;
  /** Asked again until the answer is this: something has to be done first. */
  readonly until?: (answer: Administered['answers'][string]) => boolean;
  /** Places of the answer that differ on purpose, each with the reason: `users[].some_key`. */
  readonly differs?: Readonly<Record<string, string>>;
}

const id = (text: string): string => encodeURIComponent(text);
const nobody = ({ alice }: Administered): string => id(`@nobody:${alice.serverName}`);
const noRoom = ({ alice }: Administered): string => id(`!nothing:${alice.serverName}`);
const mediaOf = ({ file }: Administered): string => file.split('/')[1]!;
/** A question of a user: alice, unless somebody else is meant. */
const ofUser =
  (what: string, version = 'v1') =>
  ({ alice }: Administered): string =>
    `/${version}/users/${id(alice.userId)}/${what}`;
const ofNobody =
  (what: string, version = 'v1') =>
  (of: Administered): string =>
    `/${version}/users/${nobody(of)}/${what}`;
const ofCarol =
  (what: string, version = 'v1') =>
  ({ carol }: Administered): string =>
    `/${version}/users/${id(carol.userId)}/${what}`;
const ofRoom =
  (what: string) =>
  ({ roomId }: Administered): string =>
    `/v1/rooms/${id(roomId)}/${what}`;

const isComplete: Question['until'] = ({ status }) => status === 'complete';
const NO_BOOLEANS = 'its database has numbers for them there';
/** How events are shown there, beside how all clients know them; and contents that each server makes in its own way. */
const olderForm = (place: string): Readonly<Record<string, string>> => ({
  [`${place}.age`]: 'a key of the older form of events',
  [`${place}.user_id`]: 'a key of the older form of events',
  [`${place}.content.displayname`]: 'a user without a name is called by their id there',
  [`${place}.content.historical`]: 'a content of the server',
  [`${place}.content.events`]: 'a content of the server',
});

/**
 * What administrators ask, by the promise that the answers have the same status and shape on Synapse and here. A line is a question; they
 * are asked in this order, so that one may make what the next one asks for.
 */
export const QUESTIONS: Readonly<Record<string, Question>> = {
  'the version': { path: () => '/v1/server_version' },
  'a new registration token': {
    method: 'POST',
    path: () => '/v1/registration_tokens/new',
    body: () => ({ token: 'interop', uses_allowed: 2 }),
  },
  'a registration token that exists': {
    method: 'POST',
    path: () => '/v1/registration_tokens/new',
    body: () => ({ token: 'interop' }),
  },
  'the registration tokens': { path: () => '/v1/registration_tokens' },
  'the registration tokens that are good': { path: () => '/v1/registration_tokens?valid=true' },
  'a registration token': { path: () => '/v1/registration_tokens/interop' },
  'a change of a registration token': {
    method: 'PUT',
    path: () => '/v1/registration_tokens/interop',
    body: () => ({ uses_allowed: null }),
  },
  'the end of a registration token': { method: 'DELETE', path: () => '/v1/registration_tokens/interop' },
  'a registration token that is gone': { path: () => '/v1/registration_tokens/interop' },
  'reports of events': { path: () => '/v1/event_reports' },
  'a page of reports of events': { path: () => '/v1/event_reports?limit=1&dir=f' },
  'reports of events that nobody made': { path: () => '/v1/event_reports?user_id=nobody' },
  'a report of an event': {
    path: ({ eventReport }) => `/v1/event_reports/${eventReport}`,
    differs: {
      'event_json.signatures': 'they are named after each server',
      'event_json.event_id': 'it comes along here',
      'event_json.unsigned': 'here the age itself is told, and there when it began',
    },
  },
  'a report of a user': { path: ({ userReport }) => `/v1/user_reports/${userReport}` },
  users: { path: () => '/v2/users' },
  'a user': { path: ({ alice }) => `/v2/users/${id(alice.userId)}` },
  'a user who is not there': { path: ({ alice }) => `/v2/users/${id(`@nobody:${alice.serverName}`)}` },
  'where a user is logged in': { path: ({ alice }) => `/v1/whois/${id(alice.userId)}` },
  'the rooms of a user': { path: ({ alice }) => `/v1/users/${id(alice.userId)}/joined_rooms` },
  rooms: { path: () => '/v1/rooms' },
  'a room': { path: ({ roomId }) => `/v1/rooms/${id(roomId)}` },
  'the members of a room': { path: ({ roomId }) => `/v1/rooms/${id(roomId)}/members` },
  'whether a room is blocked': { path: ({ roomId }) => `/v1/rooms/${id(roomId)}/block` },
  'a report of an event that is not there': { path: () => '/v1/event_reports/999999' },
  'a report of an event by what is no number': { path: () => '/v1/event_reports/x' },
  'reports of users': { path: () => '/v1/user_reports' },
  'reports of one user': { path: ({ alice }) => `/v1/user_reports?target_user_id=${id(alice.userId)}` },
  'a report of a user that is not there': { path: () => '/v1/user_reports/999999' },
  'what users have uploaded': { path: () => '/v1/statistics/users/media' },
  'what users have uploaded in no time': { path: () => '/v1/statistics/users/media?from_ts=5&until_ts=5' },
  'what users have uploaded in an order that there is not': { path: () => '/v1/statistics/users/media?order_by=odd' },
  'other servers': { path: () => '/v1/federation/destinations' },
  'a server that nobody knows': { path: () => '/v1/federation/destinations/unknown.test' },
  'rooms of a server that nobody knows': { path: () => '/v1/federation/destinations/unknown.test/rooms' },
  'scheduled tasks': { path: () => '/v1/scheduled_tasks' },
  'scheduled tasks of a status that there is not': { path: () => '/v1/scheduled_tasks?status=odd' },
  'the rooms by an order that there is not': { path: () => '/v1/rooms?order_by=odd' },
  'the rooms of a name': { path: () => '/v1/rooms?search_term=nothing-of-that-name' },
  'a room that is not there': { path: (of) => `/v1/rooms/${noRoom(of)}` },
  'the members of a room that is not there': { path: (of) => `/v1/rooms/${noRoom(of)}/members` },
  'the state of a room': { path: ofRoom('state'), differs: olderForm('state[]') },
  'the state of a room that is not there': { path: (of) => `/v1/rooms/${noRoom(of)}/state` },
  'the messages of a room': { path: ofRoom('messages?dir=b&limit=3'), differs: olderForm('chunk[]') },
  'what was said around an event': {
    path: (of) => ofRoom(`context/${id(of.eventId)}?limit=2`)(of),
    differs: {
      ...olderForm('event'),
      ...olderForm('events_before[]'),
      ...olderForm('events_after[]'),
      ...olderForm('state[]'),
    },
  },
  'what was said around an event that is not there': { path: ofRoom('context/$nothing') },
  'the event of a time': { path: ofRoom('timestamp_to_event?ts=1&dir=f') },
  'the hierarchy of a room': { path: ofRoom('hierarchy') },
  'the forward extremities of a room': { path: ofRoom('forward_extremities') },
  'a healing of a room': { method: 'DELETE', path: ofRoom('forward_extremities') },
  'an event by its id': {
    path: ({ eventId }) => `/v1/fetch_event/${id(eventId)}`,
    differs: { 'event.signatures': 'they are named after each server' },
  },
  'an event by an id that nothing has': { path: () => '/v1/fetch_event/%24nothing' },
  'the media of a room': { path: ({ roomId }) => `/v1/room/${id(roomId)}/media` },
  'the media of a user': { path: ofUser('media'), differs: { 'media[].authenticated': NO_BOOLEANS } },
  'the media of a user who is not there': { path: ofNobody('media') },
  'the media of a user in an order that there is not': { path: ofUser('media?order_by=odd') },
  'a file': {
    path: ({ file }) => `/v1/media/${file}`,
    differs: { 'media_info.authenticated': NO_BOOLEANS, 'media_info.safe_from_quarantine': NO_BOOLEANS },
  },
  'a file that is not there': { path: ({ alice }) => `/v1/media/${alice.serverName}/nothing` },
  'a protection of a file': { method: 'POST', path: (of) => `/v1/media/protect/${mediaOf(of)}`, body: () => ({}) },
  'the end of the protection of a file': {
    method: 'POST',
    path: (of) => `/v1/media/unprotect/${mediaOf(of)}`,
    body: () => ({}),
  },
  'a quarantine of a file': { method: 'POST', path: ({ file }) => `/v1/media/quarantine/${file}`, body: () => ({}) },
  'the end of the quarantine of a file': {
    method: 'POST',
    path: ({ file }) => `/v1/media/unquarantine/${file}`,
    body: () => ({}),
  },
  'what was quarantined of late': {
    path: () => '/v1/media/quarantine_changes?from=0',
    differs: { 'changes[].quarantined': NO_BOOLEANS },
  },
  'a quarantine of the media of a room': {
    method: 'POST',
    path: (of) => `/v1/room/${id(of.roomId)}/media/quarantine`,
    body: () => ({}),
  },
  'a quarantine of the media of a user': {
    method: 'POST',
    path: ({ bob }) => `/v1/user/${id(bob.userId)}/media/quarantine`,
    body: () => ({}),
  },
  'a deletion of what is kept of the media of others': {
    method: 'POST',
    path: () => '/v1/purge_media_cache?before_ts=1600000000000',
    body: () => ({}),
  },
  'a deletion of what is kept of the media of others without a time': {
    method: 'POST',
    path: () => '/v1/purge_media_cache',
    body: () => ({}),
  },
  'a deletion of old media': {
    method: 'POST',
    path: () => '/v1/media/delete?before_ts=1600000000000',
    body: () => ({}),
  },
  'a deletion of old media by a time that is none': {
    method: 'POST',
    path: () => '/v1/media/delete?before_ts=-1',
    body: () => ({}),
  },
  'a deletion of a file': { method: 'DELETE', path: ({ file }) => `/v1/media/${file}` },
  'a deletion of a file that is not there': {
    method: 'DELETE',
    path: ({ alice }) => `/v1/media/${alice.serverName}/nothing`,
  },
  'a deletion of the media of a user': { method: 'DELETE', path: ofUser('media') },
  'users by the newer version': { path: () => '/v3/users?limit=2' },
  'users by an order that there is not': { path: () => '/v2/users?order_by=odd' },
  'users by a limit that is none': { path: () => '/v2/users?limit=-1' },
  'whether a user is an administrator': { path: ofUser('admin') },
  'whether nobody is an administrator': { path: ofNobody('admin') },
  'the end of oneself as an administrator': {
    method: 'PUT',
    path: ({ admin }) => `/v1/users/${id(admin.userId)}/admin`,
    body: () => ({ admin: false }),
  },
  'a user who becomes an administrator': { method: 'PUT', path: ofCarol('admin'), body: () => ({ admin: true }) },
  'the memberships of a user': { path: ofUser('memberships') },
  'the rooms of nobody': { path: ofNobody('joined_rooms') },
  'the pushers of a user': { path: ofUser('pushers') },
  'the pushers of nobody': { path: ofNobody('pushers') },
  'the account data of a user': { path: ofUser('accountdata') },
  'the account data of nobody': { path: ofNobody('accountdata') },
  'how many invites a user has sent': { path: ofUser('sent_invite_count?from_ts=0') },
  'how many rooms a user has joined': { path: ofUser('cumulative_joined_room_count?from_ts=0') },
  'how a user is limited': { path: ofUser('override_ratelimit') },
  'how nobody is limited': { path: ofNobody('override_ratelimit') },
  'a limit of a user': {
    method: 'POST',
    path: ofUser('override_ratelimit'),
    body: () => ({ messages_per_second: 5, burst_count: 10 }),
  },
  'a limit of a user that is none': {
    method: 'POST',
    path: ofUser('override_ratelimit'),
    body: () => ({ messages_per_second: -5 }),
  },
  'the end of the limit of a user': { method: 'DELETE', path: ofUser('override_ratelimit') },
  'a shadow ban': { method: 'POST', path: ofCarol('shadow_ban'), body: () => ({}) },
  'the end of a shadow ban': { method: 'DELETE', path: ofCarol('shadow_ban') },
  'a suspension': {
    method: 'PUT',
    path: ({ carol }) => `/v1/suspend/${id(carol.userId)}`,
    body: () => ({ suspend: true }),
  },
  'the end of a suspension': {
    method: 'PUT',
    path: ({ carol }) => `/v1/suspend/${id(carol.userId)}`,
    body: () => ({ suspend: false }),
  },
  'a suspension of nobody': {
    method: 'PUT',
    path: (of) => `/v1/suspend/${nobody(of)}`,
    body: () => ({ suspend: true }),
  },
  'the devices of a user': {
    path: ofUser('devices', 'v2'),
    differs: { 'devices[].dehydrated': 'it is told here which one is' },
  },
  'the devices of nobody': { path: ofNobody('devices', 'v2') },
  'a new device of a user': { method: 'POST', path: ofUser('devices', 'v2'), body: () => ({ device_id: 'BYADMIN' }) },
  'a device of a user': { path: ofUser('devices/BYADMIN', 'v2') },
  'a device that is not there': { path: ofUser('devices/NOTHING', 'v2') },
  'a name of a device': {
    method: 'PUT',
    path: ofUser('devices/BYADMIN', 'v2'),
    body: () => ({ display_name: 'Named' }),
  },
  'the end of some devices': {
    method: 'POST',
    path: ofUser('delete_devices', 'v2'),
    body: () => ({ devices: ['BYADMIN', 'NOTHING'] }),
  },
  'the end of a device': { method: 'DELETE', path: ofUser('devices/BYADMIN', 'v2') },
  'whether a name is free': { path: () => '/v1/username_available?username=interop-free' },
  'whether a name is free that somebody has': {
    path: ({ alice }) => `/v1/username_available?username=${alice.userId.slice(1).split(':')[0]}`,
  },
  'whether a name is free that is none': { path: () => '/v1/username_available?username=N%20ONE' },
  'a user by an address that nobody has': { path: () => '/v1/threepid/email/users/nobody%40mail.test' },
  'a user by an identity of elsewhere that nobody has': { path: () => '/v1/auth_providers/oidc/users/nobody' },
  'a new user': {
    method: 'PUT',
    path: ({ alice }) => `/v2/users/${id(`@interop-new:${alice.serverName}`)}`,
    body: () => ({ password: 'a long enough password', displayname: 'New' }),
  },
  'a change of a user': {
    method: 'PUT',
    path: ({ alice }) => `/v2/users/${id(`@interop-new:${alice.serverName}`)}`,
    body: () => ({ displayname: 'Newer', admin: false }),
  },
  'a user of another server who is to be changed': {
    method: 'PUT',
    path: () => '/v2/users/%40somebody%3Aelsewhere.test',
    body: () => ({ displayname: 'x' }),
  },
  'a user who is to be changed by what is no name': {
    method: 'PUT',
    path: ({ alice }) => `/v2/users/${id(`@interop-new:${alice.serverName}`)}`,
    body: () => ({ admin: 'yes' }),
  },
  'a new password': {
    method: 'POST',
    path: ({ carol }) => `/v1/reset_password/${id(carol.userId)}`,
    body: () => ({ new_password: 'another long password', logout_devices: false }),
  },
  'a new password that is none': {
    method: 'POST',
    path: ({ carol }) => `/v1/reset_password/${id(carol.userId)}`,
    body: () => ({}),
  },
  'a login as a user': { method: 'POST', path: ofCarol('login'), body: () => ({}) },
  'a login as oneself': {
    method: 'POST',
    path: ({ admin }) => `/v1/users/${id(admin.userId)}/login`,
    body: () => ({}),
  },
  'a login as nobody': { method: 'POST', path: ofNobody('login'), body: () => ({}) },
  'an allowance of new keys': {
    method: 'POST',
    path: ofCarol('_allow_cross_signing_replacement_without_uia'),
    body: () => ({}),
  },
  'an allowance of new keys for nobody': {
    method: 'POST',
    path: ofNobody('_allow_cross_signing_replacement_without_uia'),
    body: () => ({}),
  },
  'a join of a user': {
    method: 'POST',
    path: ({ doomed }) => `/v1/join/${id(doomed)}`,
    body: ({ alice }) => ({ user_id: alice.userId }),
  },
  'a join of nobody': { method: 'POST', path: ({ doomed }) => `/v1/join/${id(doomed)}`, body: () => ({}) },
  'a user who comes to power in a room': {
    method: 'POST',
    path: ofRoom('make_room_admin'),
    body: ({ bob }) => ({ user_id: bob.userId }),
  },
  'a block of a room': { method: 'PUT', path: ofRoom('block'), body: () => ({ block: true }) },
  'the end of the block of a room': { method: 'PUT', path: ofRoom('block'), body: () => ({ block: false }) },
  'a block of a room by a word': { method: 'PUT', path: ofRoom('block'), body: () => ({ block: 'yes' }) },
  'a purge of history': {
    method: 'POST',
    path: ({ eventId, roomId }) => `/v1/purge_history/${id(roomId)}/${id(eventId)}`,
    body: () => ({ delete_local_events: true }),
  },
  'how far a purge of history is': {
    until: isComplete,
    path: ({ answers }) => `/v1/purge_history_status/${answers['a purge of history'].purge_id}`,
  },
  'how far a purge is that nobody began': { path: () => '/v1/purge_history_status/nothing' },
  'a purge of history up to nothing': {
    method: 'POST',
    path: ({ roomId }) => `/v1/purge_history/${id(roomId)}`,
    body: () => ({}),
  },
  'a redaction of all of a user': {
    method: 'POST',
    path: ({ carol }) => `/v1/user/${id(carol.userId)}/redact`,
    body: () => ({ rooms: [] }),
  },
  'how far a redaction of all of a user is': {
    until: isComplete,
    path: ({ answers }) => `/v1/user/redact_status/${answers['a redaction of all of a user'].redact_id}`,
  },
  'how far a redaction is that nobody began': { path: () => '/v1/user/redact_status/nothing' },
  'a deletion of a room': {
    method: 'DELETE',
    path: ({ doomed }) => `/v2/rooms/${id(doomed)}`,
    body: () => ({ purge: true }),
  },
  'how far a deletion of a room is': {
    until: isComplete,
    path: ({ answers }) => `/v2/rooms/delete_status/${answers['a deletion of a room'].delete_id}`,
  },
  'how far the deletions of a room are': { path: ({ doomed }) => `/v2/rooms/${id(doomed)}/delete_status` },
  'how far a deletion is that nobody began': { path: () => '/v2/rooms/delete_status/nothing' },
  'how far the deletions of no room are': { path: (of) => `/v2/rooms/${noRoom(of)}/delete_status` },
  'a deletion of a room by a word': {
    method: 'DELETE',
    path: ({ roomId }) => `/v2/rooms/${id(roomId)}`,
    body: () => ({ purge: 'yes' }),
  },
  'a notice of the server to nobody': {
    method: 'POST',
    path: () => '/v1/send_server_notice',
    body: (of) => ({ user_id: decodeURIComponent(nobody(of)), content: { msgtype: 'm.text', body: 'x' } }),
  },
  'the end of a report of an event': {
    method: 'DELETE',
    path: ({ eventReport }) => `/v1/event_reports/${eventReport}`,
  },
  'the end of a report of a user': { method: 'DELETE', path: ({ userReport }) => `/v1/user_reports/${userReport}` },
  'a reset of a server that nobody knows': {
    method: 'POST',
    path: () => '/v1/federation/destinations/unknown.test/reset_connection',
    body: () => ({}),
  },
  'the experimental features of a user': { path: ({ alice }) => `/v1/experimental_features/${id(alice.userId)}` },
  'an experimental feature that there is not': {
    method: 'PUT',
    path: ({ alice }) => `/v1/experimental_features/${id(alice.userId)}`,
    body: () => ({ features: { odd: true } }),
  },
  'what is done in the background': {
    path: () => '/v1/background_updates/status',
    differs: { 'current_updates.master': 'a new server counts its rooms there' },
  },
  'whether anything is done in the background': { path: () => '/v1/background_updates/enabled' },
  'a pause of what is done in the background': {
    method: 'POST',
    path: () => '/v1/background_updates/enabled',
    body: () => ({ enabled: false }),
  },
  'the end of that pause': {
    method: 'POST',
    path: () => '/v1/background_updates/enabled',
    body: () => ({ enabled: true }),
  },
  'an update that there is not': {
    method: 'POST',
    path: () => '/v1/background_updates/start_job',
    body: () => ({ job_name: 'odd' }),
  },
  'an update without a name': { method: 'POST', path: () => '/v1/background_updates/start_job', body: () => ({}) },
  'a nonce for a registration by secret': { path: () => '/v1/register' },
  'a registration by a secret that is wrong': {
    method: 'POST',
    path: () => '/v1/register',
    body: () => ({ nonce: 'x', username: 'u', password: 'p', mac: 'm' }),
  },
  'the end of an account': {
    method: 'POST',
    path: ({ carol }) => `/v1/deactivate/${id(carol.userId)}`,
    body: () => ({ erase: false }),
  },
  'the end of the account of nobody': {
    method: 'POST',
    path: (of) => `/v1/deactivate/${nobody(of)}`,
    body: () => ({}),
  },
  'the account that ended': { path: ({ carol }) => `/v2/users/${id(carol.userId)}` },
};
