import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { SlidingPolls } from '#src/services/sync/sliding/sliding-polls.ts';
import { endpoint, Reply } from '../endpoint.ts';

interface Services {
  readonly slidingPolls: SlidingPolls;
}

const presence = Type.Optional(Type.String({ description: '`online`, `offline` or `unavailable`.' }));
const anything = Type.Object({}, { additionalProperties: true });
const answer = Type.Object({
  pos: Type.String(),
  txn_id: Type.Optional(Type.String()),
  lists: Type.Record(Type.String(), anything),
  rooms: Type.Record(Type.String(), anything),
  extensions: anything,
});

const common = {
  method: 'POST',
  auth: 'accessToken',
  guests: { allowed: 'guests read by /sync, and this is another form of it' },
  suspended: { allowed: 'suspended users may still read' },
  rateLimit: 'sync',
  longPoll: true,
  bodyOptional: true,
  response: answer,
  errcodes: ['M_BAD_JSON', 'M_INVALID_PARAM', 'M_UNKNOWN_POS', 'M_UNKNOWN_DEVICE', 'M_LIMIT_EXCEEDED'],
} as const;

/** MSC4186: simplified sliding sync, in the form that clients use and in the one that was accepted. */
export const slidingSyncEndpoints = [
  endpoint({
    ...common,
    operationId: 'slidingSyncUnstable',
    summary: 'What a connection of a client does not know yet of its rooms',
    path: '/_matrix/client/unstable/org.matrix.simplified_msc3575/sync',
    query: Type.Object({
      pos: Type.Optional(Type.String()),
      timeout: Type.Optional(Type.Integer()),
      set_presence: presence,
    }),
    body: anything,
    handler: async ({ slidingPolls }: Services, { requester, query, body, info }) => {
      const { pos, timeout, set_presence: presenceState } = query;
      const poll = { form: 'msc3575', pos, timeout, presence: presenceState, body: body as JsonObject } as const;
      return new Reply({ json: await slidingPolls.poll(requester, poll, info.signal) });
    },
  }),
  endpoint({
    ...common,
    operationId: 'slidingSync',
    summary: 'What a connection of a client does not know yet of its rooms',
    path: '/_matrix/client/v4/sync',
    body: Type.Object(
      { pos: Type.Optional(Type.String()), timeout: Type.Optional(Type.Integer()), set_presence: presence },
      { additionalProperties: true },
    ),
    handler: async ({ slidingPolls }: Services, { requester, body, info }) => {
      const { pos, timeout, set_presence: presenceState, ...params } = body;
      const poll = { form: 'v4', pos, timeout, presence: presenceState, body: params as JsonObject } as const;
      return new Reply({ json: await slidingPolls.poll(requester, poll, info.signal) });
    },
  }),
];
