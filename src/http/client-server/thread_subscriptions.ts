import { Type } from 'typebox';
import { KEEPS_OWN, READS } from '#src/services/accounts/admission/access-rules.ts';
import { threadMembers } from '#src/services/push/threads/thread-page.ts';
import type { ThreadSubscriptionService } from '#src/services/push/threads/thread-subscription-service.ts';
import { BODY_BYTES } from '../body-sizes.ts';
import { endpoint } from '../endpoint.ts';
import { anyObject, empty } from './parts/room-schemas.ts';

interface Services {
  readonly threadSubscriptions: ThreadSubscriptionService;
}

const thread = {
  path: '/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription',
  auth: 'accessToken',
  guests: { refused: 'it is about notifications, and guests are sent none' },
  rateLimit: 'default',
  params: Type.Object({ roomId: Type.String(), eventId: Type.String() }),
} as const;

/** MSC4306: subscriptions to threads; MSC4308: the list of their changes. */
export const threadSubscriptionEndpoints = [
  endpoint({
    ...thread,
    operationId: 'subscribeThread',
    summary: 'Subscribes to a thread, on behalf of the user or of a client that decides so by itself.',
    method: 'PUT',
    suspended: KEEPS_OWN,
    body: Type.Object(
      {
        automatic: Type.Optional(
          Type.Union([Type.String(), Type.Literal(false), Type.Null()], {
            description: 'Of a client that decides so by itself, the latest event of the thread that made it.',
          }),
        ),
      },
      { additionalProperties: true },
    ),
    bodyOptional: true,
    maxBodyBytes: BODY_BYTES.small,
    response: empty,
    errcodes: [
      'M_NOT_FOUND',
      'M_TOO_LARGE',
      'IO.ELEMENT.MSC4306.M_NOT_IN_THREAD',
      'IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION',
    ],
    async handler({ threadSubscriptions }: Services, { requester, params: { roomId, eventId }, body: { automatic } }) {
      const cause = typeof automatic === 'string' ? automatic : undefined;
      await threadSubscriptions.subscribe(requester.userId, roomId, eventId, cause);
      return {};
    },
  }),
  endpoint({
    ...thread,
    operationId: 'unsubscribeThread',
    summary: 'Unsubscribes from a thread.',
    method: 'DELETE',
    suspended: KEEPS_OWN,
    response: empty,
    errcodes: ['M_NOT_FOUND', 'M_TOO_LARGE'],
    async handler({ threadSubscriptions }: Services, { requester, params: { roomId, eventId } }) {
      await threadSubscriptions.unsubscribe(requester.userId, roomId, eventId);
      return {};
    },
  }),
  endpoint({
    ...thread,
    operationId: 'getThreadSubscription',
    summary: 'Whether the user is subscribed to a thread, and who decided so.',
    method: 'GET',
    suspended: READS,
    response: Type.Object({ automatic: Type.Boolean() }),
    errcodes: ['M_NOT_FOUND'],
    async handler({ threadSubscriptions }: Services, { requester, params: { roomId, eventId } }) {
      return { automatic: await threadSubscriptions.read(requester.userId, roomId, eventId) };
    },
  }),
  endpoint({
    operationId: 'getThreadSubscriptions',
    summary: 'What was decided about threads of all rooms, the latest first.',
    method: 'GET',
    path: '/_matrix/client/unstable/io.element.msc4308/thread_subscriptions',
    auth: 'accessToken',
    guests: thread.guests,
    suspended: READS,
    rateLimit: 'default',
    query: Type.Object({
      dir: Type.Literal('b'),
      from: Type.Optional(Type.String()),
      to: Type.Optional(Type.String()),
      limit: Type.Optional(Type.Integer({ minimum: 1 })),
    }),
    response: Type.Object({
      subscribed: Type.Optional(anyObject),
      unsubscribed: Type.Optional(anyObject),
      end: Type.Optional(Type.String()),
    }),
    errcodes: ['M_INVALID_PARAM', 'M_MISSING_PARAM'],
    async handler({ threadSubscriptions }: Services, { requester, query: { from, to, limit } }) {
      const page = await threadSubscriptions.page(requester.userId, { from, to, limit });
      return { ...threadMembers(page), ...(page.older === undefined ? {} : { end: page.older }) };
    },
  }),
];
