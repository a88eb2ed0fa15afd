import { Type } from 'typebox';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { FilterService } from '#src/services/user-data/filters/filter-service.ts';
import { type Endpoint, endpoint, Reply } from '../endpoint.ts';
import { assertOwn } from './own-user.ts';

const WHAT = 'The filters';
const filter = Type.Object({}, { additionalProperties: true });
const path = '/_matrix/client/v3/user/{userId}/filter';

export const filterEndpoints = (services: { readonly filters: FilterService }): readonly Endpoint[] => [
  endpoint({
    operationId: 'defineFilter',
    summary: 'Upload a new filter.',
    method: 'POST',
    path,
    auth: 'accessTokenOrGuest',
    rateLimit: 'default',
    params: Type.Object({ userId: Type.String() }),
    body: filter,
    response: Type.Object({ filter_id: Type.String() }),
    errors: ['M_FORBIDDEN', 'M_BAD_JSON', 'M_NOT_JSON', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { userId }, body }) {
      assertOwn(requester, userId, WHAT);
      return { filter_id: await services.filters.define(userId, body as JsonObject) };
    },
  }),
  endpoint({
    operationId: 'getFilter',
    summary: 'Download a filter',
    method: 'GET',
    path: `${path}/{filterId}`,
    auth: 'accessTokenOrGuest',
    rateLimit: 'default',
    params: Type.Object({ userId: Type.String(), filterId: Type.String() }),
    response: filter,
    errors: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handle({ requester, params: { userId, filterId } }) {
      assertOwn(requester, userId, WHAT);
      return new Reply({ json: await services.filters.get(userId, filterId) });
    },
  }),
];
