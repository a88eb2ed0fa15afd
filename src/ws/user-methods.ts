import Type from 'typebox';
import { KEEPS_OWN, OTHERS_SEE } from '#src/services/accounts/admission/access-rules.ts';
import { type Method, method } from './method.ts';
import { FilterParam, filterText, PresenceParam } from './stream-params.ts';

const RoomId = Type.String({ description: 'Id of the room.', minLength: 1 });
const Empty = Type.Object({});
const ROOM = '!room:example.org';
const EVENT = '$event';

/** Methods about users: presence, receipts, typing; and about the stream itself. */
export const userMethods: readonly Method[] = [
  method({
    name: 'ping',
    summary: 'Does nothing: to find out whether the server still answers.',
    rateLimit: 'default',
    guests: { allowed: 'it does nothing' },
    suspended: { allowed: 'it does nothing' },
    params: Type.Object({}),
    result: Empty,
    errors: [],
    example: {},
    handle: async () => ({}),
  }),
  method({
    name: 'typing',
    summary: 'Begins, continues or stops to type.',
    sameAs: 'setTyping',
    rateLimit: 'default',
    guests: 'refused',
    suspended: OTHERS_SEE,
    params: Type.Object({
      room_id: RoomId,
      typing: Type.Boolean(),
      timeout: Type.Optional(Type.Integer({ description: 'Milliseconds for which the user counts as typing.' })),
    }),
    result: Empty,
    errors: ['M_FORBIDDEN'],
    example: { room_id: ROOM, typing: true, timeout: 30_000 },
    handle: async ({ params, requester, services }) => {
      await services.typing.set(requester.userId, params.room_id, params.typing, params.timeout);
      return {};
    },
  }),
  method({
    name: 'receipt',
    summary: 'Says up to where the user has read.',
    sameAs: 'postReceipt',
    rateLimit: 'default',
    guests: 'refused',
    suspended: {
      allowed: 'users may still read, and unread counts go by it; it says nothing but how far the user has read',
    },
    params: Type.Object({
      room_id: RoomId,
      receipt_type: Type.String({ description: 'm.read, m.read.private or m.fully_read.' }),
      event_id: Type.String({ minLength: 1 }),
      thread_id: Type.Optional(Type.String({ description: 'main or the id of a thread; left out: unthreaded.' })),
    }),
    result: Empty,
    errors: ['M_INVALID_PARAM', 'M_FORBIDDEN', 'M_NOT_FOUND'],
    example: { room_id: ROOM, receipt_type: 'm.read', event_id: EVENT },
    handle: async ({ params, requester, services }) => {
      const { room_id: roomId, receipt_type: kind, event_id: eventId, thread_id: thread } = params;
      await services.readMarkers.send(requester.userId, roomId, kind, eventId, thread);
      return {};
    },
  }),
  method({
    name: 'read_markers',
    summary: 'Moves the fully read marker and sends receipts in one go.',
    sameAs: 'setReadMarker',
    rateLimit: 'default',
    guests: 'refused',
    suspended: {
      allowed: 'users may still read, and unread counts go by it; it says nothing but how far the user has read',
    },
    params: Type.Object({
      room_id: RoomId,
      'm.fully_read': Type.Optional(Type.String()),
      'm.read': Type.Optional(Type.String()),
      'm.read.private': Type.Optional(Type.String()),
    }),
    result: Empty,
    errors: ['M_FORBIDDEN', 'M_NOT_FOUND'],
    example: { room_id: ROOM, 'm.fully_read': EVENT, 'm.read': EVENT },
    handle: async ({ params, requester, services }) => {
      await services.readMarkers.sendAll(requester.userId, params.room_id, {
        fullyRead: params['m.fully_read'],
        read: params['m.read'],
        readPrivate: params['m.read.private'],
      });
      return {};
    },
  }),
  method({
    name: 'presence',
    summary: 'Sets the presence of the user, and what this socket says of it from now on.',
    sameAs: 'setPresence',
    rateLimit: 'default',
    guests: 'refused',
    suspended: OTHERS_SEE,
    params: Type.Object({
      presence: PresenceParam,
      status_msg: Type.Optional(Type.Union([Type.String(), Type.Null()], { description: 'null takes it away.' })),
    }),
    result: Empty,
    errors: ['M_INVALID_PARAM'],
    example: { presence: 'unavailable', status_msg: 'At lunch' },
    handle: async ({ params, requester, services, stream }) => {
      await services.presence.set(requester.userId, params.presence, params.status_msg);
      stream.presence = params.presence;
      return {};
    },
  }),
  method({
    name: 'set_filter',
    summary: 'Changes the filter of the frames to come.',
    rateLimit: 'default',
    guests: { allowed: 'clients choose the filter of what they are told, as with sync' },
    suspended: KEEPS_OWN,
    params: Type.Object({ filter: FilterParam }),
    result: Empty,
    errors: ['M_NOT_FOUND', 'M_INVALID_PARAM'],
    example: { filter: { room: { timeline: { limit: 20 } } } },
    handle: async ({ params, requester, services, stream }) => {
      stream.filter = await services.filters.filterFor(requester.userId, filterText(params.filter));
      return {};
    },
  }),
];
