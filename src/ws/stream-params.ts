import Type, { type Static } from 'typebox';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { NO_FILTER } from '#src/protocol/filters/parse-filter.ts';
import type { Filter } from '#src/protocol/filters/filter.ts';
import type { SyncPosition } from '#src/protocol/wire/position.ts';
import type { Asserted } from '#src/services/accounts/sessions/requester.ts';
import { sinceOf, type SyncRequest } from '#src/services/sync/engine/sync-request.ts';
import type { Presence, WebSocketServices } from './services.ts';
import { paramsValidator } from './validation.ts';

export const PresenceParam = Type.Union([Type.Literal('online'), Type.Literal('unavailable'), Type.Literal('offline')]);

export const FilterParam = Type.Union([Type.String(), Type.Object({}, { additionalProperties: true }), Type.Null()], {
  description: 'The id of a filter that was stored, a filter in full, or null for none.',
});

const OF_APPSERVICES = 'For application services: the user and device that they act as. Ignored for others.';

/** How a stream begins. Over the handshake these are query parameters: a filter in full is JSON text there. */
const StreamParams = Type.Object({
  since: Type.Optional(
    Type.String({ description: 'The next_batch up to which the client knows; left out: everything.' }),
  ),
  filter: Type.Optional(FilterParam),
  full_state: Type.Optional(Type.Boolean({ description: 'The first frame holds the whole state of all rooms.' })),
  set_presence: Type.Optional(PresenceParam),
  use_state_after: Type.Optional(Type.Boolean({ description: 'State up to the end of the timeline, as state_after.' })),
  user_id: Type.Optional(Type.String({ description: OF_APPSERVICES })),
  device_id: Type.Optional(Type.String({ description: OF_APPSERVICES })),
});
export type StreamParams = Static<typeof StreamParams>;

export const AuthParams = Type.Object({
  token: Type.String({ description: 'An access token.', minLength: 1 }),
  ...StreamParams.properties,
});
export type AuthParams = Static<typeof AuthParams>;

/** Checks the params of `auth`. @throws MatrixError M_MISSING_PARAM, M_BAD_JSON */
export const validateAuth: (params: unknown) => asserts params is AuthParams = paramsValidator(AuthParams);
const validateStream = paramsValidator(StreamParams);

/** The documentation of the query parameters. */
export const streamQuerySchema = StreamParams;

const flag = (text: string): unknown => (text === 'true' ? true : text === 'false' ? false : text);

/** Reads the query parameters of the handshake. @throws MatrixError M_INVALID_PARAM */
export const streamParamsOf = (query: string): StreamParams => {
  const params: Record<string, unknown> = {};
  for (const [name, value] of new URLSearchParams(query)) {
    if (!Object.hasOwn(StreamParams.properties, name) || Object.hasOwn(params, name)) continue;
    params[name] = name === 'full_state' || name === 'use_state_after' ? flag(value) : value;
  }
  try {
    validateStream(params);
  } catch (error) {
    throw error instanceof MatrixError
      ? new MatrixError('M_INVALID_PARAM', error.message.replace('params', 'the query'))
      : error;
  }
  return params as StreamParams;
};

/** The user that an application service asserts in the query of the handshake. */
export const assertedInQuery = (query: string): Asserted => {
  const params = new URLSearchParams(query);
  const value = (name: string): string | undefined => params.get(name) ?? undefined;
  return {
    userId: value('user_id'),
    deviceId: value('device_id') ?? value('org.matrix.msc3202.device_id'),
  };
};

/** The same, by the params of `auth`. */
export const assertedIn = ({ device_id: deviceId, user_id: userId }: StreamParams): Asserted => ({ userId, deviceId });

/** A filter as /sync takes it. */
export const filterText = (filter: StreamParams['filter']): string | undefined =>
  filter === null || filter === undefined ? undefined : typeof filter === 'string' ? filter : JSON.stringify(filter);

/** What a stream was asked for, looked up and ready. */
export interface StreamStart {
  readonly since: SyncPosition | undefined;
  readonly filter: Filter;
  readonly fullState: boolean;
  readonly presence: Presence;
  readonly stateAfter: SyncRequest['stateAfter'];
}

/** @throws MatrixError M_INVALID_PARAM, M_NOT_FOUND (a filter that is not there) and what else is wrong with a filter */
export const streamStart = async (
  services: Pick<WebSocketServices, 'filters'>,
  userId: string,
  params: StreamParams,
): Promise<StreamStart> => {
  const since = sinceOf(params.since);
  const filter = filterText(params.filter);
  return {
    since,
    filter: filter === undefined ? NO_FILTER : await services.filters.filterFor(userId, filter),
    fullState: params.full_state ?? false,
    presence: params.set_presence ?? 'online',
    stateAfter: params.use_state_after === true ? 'state_after' : undefined,
  };
};
