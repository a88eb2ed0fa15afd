import { Type } from 'typebox';
import type { EventContext, MessagesPage } from '#src/services/reading/history/history.ts';
import type { Reply } from '../../endpoint.ts';
import { roomFilter } from './room-filter.ts';
import { clientEvent, jsonList, jsonReply } from './room-schemas.ts';

/** Which page of a room's history is wanted. The specification requires `dir`; clients that other servers serve leave it out. */
export const messagesQuery = Type.Object({
  from: Type.Optional(Type.String()),
  to: Type.Optional(Type.String()),
  dir: Type.Optional(Type.Union([Type.Literal('b'), Type.Literal('f')])),
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  filter: Type.Optional(roomFilter),
});

/** A page of a room's history. */
export const messagesAnswer = Type.Object({
  start: Type.String(),
  end: Type.Optional(Type.String()),
  chunk: Type.Array(clientEvent),
  state: Type.Optional(Type.Array(clientEvent)),
});

export const messagesReply = ({ chunk, end, start, state }: MessagesPage): Reply =>
  jsonReply({
    start: JSON.stringify(start),
    end: end === undefined ? undefined : JSON.stringify(end),
    chunk: jsonList(chunk),
    state: state === undefined ? undefined : jsonList(state),
  });

export const contextParams = Type.Object({ roomId: Type.String(), eventId: Type.String() });
export const contextQuery = Type.Object({
  limit: Type.Optional(Type.Integer({ minimum: 0 })),
  filter: Type.Optional(roomFilter),
});

/** What stands around an event. */
export const contextAnswer = Type.Object({
  start: Type.String(),
  end: Type.String(),
  event: clientEvent,
  events_before: Type.Array(clientEvent),
  events_after: Type.Array(clientEvent),
  state: Type.Array(clientEvent),
});

export const contextReply = (context: EventContext): Reply =>
  jsonReply({
    start: JSON.stringify(context.start),
    end: JSON.stringify(context.end),
    event: context.event,
    events_before: jsonList(context.before),
    events_after: jsonList(context.after),
    state: jsonList(context.state),
  });
