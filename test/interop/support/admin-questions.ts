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
}

export interface Question {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Under `/_synapse/admin`. */
  readonly path: (of: Administered) => string;
  readonly body?: (of: Administered) => object;
  /** Places of the answer that differ on purpose, each with the reason: `users[].some_key`. */
  readonly differs?: Readonly<Record<string, string>>;
}

const id = (text: string): string => encodeURIComponent(text);

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
};
