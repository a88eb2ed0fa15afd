import type { Readable } from 'node:stream';
import { Type } from 'typebox';
import { Reply } from '../../endpoint.ts';

export const roomParams = Type.Object({ roomId: Type.String() });
export const empty = Type.Object({});
export const anyObject = Type.Object({}, { additionalProperties: true });
export const reasonBody = Type.Object({ reason: Type.Optional(Type.String()) });
export const targetBody = Type.Object({ user_id: Type.String(), reason: Type.Optional(Type.String()) });
export const roomIdAnswer = Type.Object({ room_id: Type.String() });
export const eventIdAnswer = Type.Object({ event_id: Type.String() });

/** The answer for an event, if there is one. */
export const eventIdOf = (eventId: string | undefined): { event_id: string } | undefined =>
  eventId === undefined ? undefined : { event_id: eventId };

/** An event as clients read it. Client-Server API, "Room event format". */
export const clientEvent = Type.Object({
  type: Type.String(),
  event_id: Type.String(),
  room_id: Type.String(),
  sender: Type.String(),
  origin_server_ts: Type.Integer(),
  content: anyObject,
  state_key: Type.Optional(Type.String()),
  unsigned: Type.Optional(anyObject),
});

/** A JSON list of texts that are JSON already. Appended and not joined: a text that is long is copied once, when it is written. */
export const jsonList = (items: readonly string[]): string => {
  let text = '[';
  for (const [index, item] of items.entries()) text += index === 0 ? item : `,${item}`;
  return `${text}]`;
};

/** A JSON object whose values are JSON texts; undefined ones are left out. */
export const jsonText = (members: Readonly<Record<string, string | undefined>>): string => {
  let text = '{';
  for (const [name, json] of Object.entries(members))
    if (json !== undefined) text += `${text === '{' ? '' : ','}${JSON.stringify(name)}:${json}`;
  return `${text}}`;
};

/** An answer of such an object. */
export const jsonReply = (members: Readonly<Record<string, string | undefined>>): Reply =>
  new Reply({ json: jsonText(members) });

/** JSON that is there as a text, or comes as a stream. */
export const jsonAnswer = (answer: string | Readable): Reply =>
  new Reply(typeof answer === 'string' ? { json: answer } : { stream: answer });

/** A room as the directory shows it. */
const publicRoom = {
  room_id: Type.String(),
  name: Type.Optional(Type.String()),
  topic: Type.Optional(Type.String()),
  canonical_alias: Type.Optional(Type.String()),
  avatar_url: Type.Optional(Type.String()),
  num_joined_members: Type.Integer(),
  world_readable: Type.Boolean(),
  guest_can_join: Type.Boolean(),
  join_rule: Type.String(),
  room_type: Type.Optional(Type.String()),
};

/** A page of a room directory. */
export const publicRoomsPage = Type.Object({
  chunk: Type.Array(Type.Object(publicRoom)),
  next_batch: Type.Optional(Type.String()),
  prev_batch: Type.Optional(Type.String()),
  total_room_count_estimate: Type.Integer(),
});

/** What is searched for in a room directory. */
export const publicRoomsFilter = Type.Optional(
  Type.Object({
    generic_search_term: Type.Optional(Type.Union([Type.String(), Type.Null()])),
    room_types: Type.Optional(Type.Union([Type.Array(Type.Union([Type.String(), Type.Null()])), Type.Null()])),
  }),
);

/** A room as those see it who may want to join. */
export const roomSummary = {
  ...publicRoom,
  room_version: Type.Optional(Type.String()),
  encryption: Type.Optional(Type.String()),
  allowed_room_ids: Type.Optional(Type.Array(Type.String())),
};
