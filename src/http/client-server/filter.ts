import { Type } from 'typebox';
import { KEEPS_OWN, READS } from '#src/services/accounts/admission/access-rules.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { FilterService } from '#src/services/user-data/filters/filter-service.ts';
import { endpoint, Reply } from '../endpoint.ts';
import { assertOwn } from './parts/own-user.ts';

const WHAT = 'The filters';
const filter = Type.Object({}, { additionalProperties: true });
const path = '/_matrix/client/v3/user/{userId}/filter';

interface Services {
  readonly filters: FilterService;
}

export const filterEndpoints = [
  endpoint({
    operationId: 'defineFilter',
    summary: 'Upload a new filter.',
    method: 'POST',
    path,
    auth: 'accessToken',
    guests: { allowed: 'clients store the filter of their /sync before they call it' },
    suspended: KEEPS_OWN,
    rateLimit: 'default',
    params: Type.Object({ userId: Type.String() }),
    body: filter,
    response: Type.Object({ filter_id: Type.String() }),
    errcodes: ['M_FORBIDDEN', 'M_BAD_JSON', 'M_NOT_JSON', 'M_INVALID_PARAM', 'M_TOO_LARGE', 'M_LIMIT_EXCEEDED'],
    async handler({ filters }: Services, { requester, params: { userId }, body }) {
      assertOwn(requester, userId, WHAT);
      return { filter_id: await filters.define(userId, body as JsonObject) };
    },
  }),
  endpoint({
    operationId: 'getFilter',
    summary: 'Download a filter',
    method: 'GET',
    path: `${path}/{filterId}`,
    auth: 'accessToken',
    guests: { allowed: 'clients store the filter of their /sync before they call it' },
    suspended: READS,
    rateLimit: 'default',
    params: Type.Object({ userId: Type.String(), filterId: Type.String() }),
    response: filter,
    errcodes: ['M_FORBIDDEN', 'M_NOT_FOUND', 'M_LIMIT_EXCEEDED'],
    async handler({ filters }: Services, { requester, params: { userId, filterId } }) {
      assertOwn(requester, userId, WHAT);
      return new Reply({ json: await filters.get(userId, filterId) });
    },
  }),
];
