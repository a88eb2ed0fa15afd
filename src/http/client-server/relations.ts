import { type TObject, Type } from 'typebox';
import type { Relations } from '#src/services/reading/relations/relations.ts';
import { endpoint } from '../endpoint.ts';
import { clientEvent, jsonList, jsonReply } from './parts/room-schemas.ts';

const path = '/_matrix/client/v1/rooms/{roomId}/relations/{eventId}';
/** From before relations were in the specification; matrix-bot-sdk calls it still. */
const olderPath = path.replace('/v1/', '/unstable/');

const query = Type.Object({
  dir: Type.Optional(Type.Union([Type.Literal('b'), Type.Literal('f')])),
  from: Type.Optional(Type.String()),
  to: Type.Optional(Type.String()),
  limit: Type.Optional(Type.Integer({ minimum: 1 })),
  recurse: Type.Optional(Type.Boolean()),
});

const parent = { roomId: Type.String(), eventId: Type.String() };

interface Services {
  readonly relations: Relations;
}

const relating = ({
  suffix,
  ...declaration
}: {
  readonly operationId: string;
  readonly summary: string;
  /** After the path of all relations. */
  readonly suffix: string;
  readonly params: TObject;
}) =>
  endpoint({
    ...declaration,
    path: path + suffix,
    aliases: [olderPath + suffix],
    method: 'GET',
    auth: 'accessToken',
    guests: { allowed: 'another way through the events of getRoomEvents, under the same visibility' },
    suspended: 'allowed',
    rateLimit: 'default',
    query,
    response: Type.Object({
      chunk: Type.Array(clientEvent),
      next_batch: Type.Optional(Type.String()),
      prev_batch: Type.Optional(Type.String()),
      recursion_depth: Type.Optional(Type.Integer()),
    }),
    errcodes: ['M_NOT_FOUND', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ relations }: Services, { requester, params, query: { dir = 'b', recurse = false, ...query } }) {
      const { roomId = '', eventId = '', relType, eventType } = params as Readonly<Record<string, string>>;
      const page = await relations.page(roomId, requester, eventId, { ...query, dir, recurse, relType, eventType });
      return jsonReply({
        chunk: jsonList(page.chunk),
        next_batch: page.next === undefined ? undefined : JSON.stringify(page.next),
        prev_batch: page.previous === undefined ? undefined : JSON.stringify(page.previous),
        recursion_depth: page.depth?.toString(),
      });
    },
  });

export const relationsEndpoints = [
  relating({
    operationId: 'getRelatingEvents',
    summary: 'Get the child events for a given parent event',
    suffix: '',
    params: Type.Object(parent),
  }),
  relating({
    operationId: 'getRelatingEventsWithRelType',
    summary: 'Get the child events for a given parent event, with a given relType',
    suffix: '/{relType}',
    params: Type.Object({ ...parent, relType: Type.String() }),
  }),
  relating({
    operationId: 'getRelatingEventsWithRelTypeAndEventType',
    summary: 'Get the child events for a given parent event, with a given relType and eventType',
    suffix: '/{relType}/{eventType}',
    params: Type.Object({ ...parent, relType: Type.String(), eventType: Type.String() }),
  }),
];
