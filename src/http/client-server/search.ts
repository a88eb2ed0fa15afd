import { type Static, Type } from 'typebox';
import { READS } from '#src/services/accounts/admission/access-rules.ts';
import type { SearchContext } from '#src/services/reading/search/search-context.ts';
import type {
  SearchAnswer,
  SearchGroup,
  SearchRequest,
  SearchService,
} from '#src/services/reading/search/search-service.ts';
import { endpoint, type Reply } from '../endpoint.ts';
import { anyObject, clientEvent, jsonList, jsonReply } from './parts/room-schemas.ts';

/** Events around a result where the request does not say how many. */
const DEFAULT_AROUND = 5;

const count = Type.Integer({ minimum: 0 });
const text = Type.String();
const oneOf = <T extends string>(...values: readonly T[]) => Type.Union(values.map((value) => Type.Literal(value)));

const roomEvents = Type.Object({
  search_term: text,
  keys: Type.Optional(Type.Array(oneOf('content.body', 'content.name', 'content.topic'))),
  filter: Type.Optional(anyObject),
  order_by: Type.Optional(oneOf('recent', 'rank')),
  event_context: Type.Optional(
    Type.Object({
      before_limit: Type.Optional(count),
      after_limit: Type.Optional(count),
      include_profile: Type.Optional(Type.Boolean()),
    }),
  ),
  include_state: Type.Optional(Type.Boolean()),
  groupings: Type.Optional(
    Type.Object({
      group_by: Type.Optional(Type.Array(Type.Object({ key: Type.Optional(oneOf('room_id', 'sender')) }))),
    }),
  ),
});

const context = Type.Object({
  start: text,
  end: text,
  events_before: Type.Array(clientEvent),
  events_after: Type.Array(clientEvent),
  profile_info: Type.Optional(
    Type.Record(text, Type.Object({ displayname: Type.Optional(text), avatar_url: Type.Optional(text) })),
  ),
});

const group = Type.Object({ order: Type.Integer(), results: Type.Array(text), next_batch: Type.Optional(text) });

const response = Type.Object({
  search_categories: Type.Object({
    room_events: Type.Optional(
      Type.Object({
        count: Type.Integer(),
        highlights: Type.Array(text),
        results: Type.Array(Type.Object({ rank: Type.Number(), result: clientEvent, context: Type.Optional(context) })),
        state: Type.Optional(Type.Record(text, Type.Array(clientEvent))),
        groups: Type.Optional(Type.Record(text, Type.Record(text, group))),
        next_batch: Type.Optional(text),
      }),
    ),
  }),
});

/** JSON of an object whose values are JSON texts; undefined ones are left out. */
const jsonObject = (members: Iterable<readonly [string, string | undefined]>): string => {
  const parts: string[] = [];
  for (const [name, json] of members) if (json !== undefined) parts.push(`${JSON.stringify(name)}:${json}`);
  return `{${parts.join(',')}}`;
};

const contextJson = ({ start, end, before, after, profiles }: SearchContext): string =>
  jsonObject([
    ['start', JSON.stringify(start)],
    ['end', JSON.stringify(end)],
    ['events_before', jsonList(before)],
    ['events_after', jsonList(after)],
    ['profile_info', profiles === undefined ? undefined : JSON.stringify(Object.fromEntries(profiles))],
  ]);

const groupJson = ({ order, results, nextBatch }: SearchGroup): string =>
  JSON.stringify({ order, results, ...(nextBatch === undefined ? {} : { next_batch: nextBatch }) });

const reply = (answer: SearchAnswer): Reply => {
  const results = answer.results.map(({ rank, event, context: around }) =>
    jsonObject([
      ['rank', JSON.stringify(rank)],
      ['result', event],
      ['context', around === undefined ? undefined : contextJson(around)],
    ]),
  );
  const { state, groups, nextBatch } = answer;
  const found = jsonObject([
    ['count', JSON.stringify(answer.count)],
    ['highlights', JSON.stringify(answer.highlights)],
    ['results', jsonList(results)],
    [
      'state',
      state === undefined ? undefined : jsonObject(Array.from(state, ([room, events]) => [room, jsonList(events)])),
    ],
    [
      'groups',
      groups.size === 0
        ? undefined
        : jsonObject(
            Array.from(groups, ([key, members]) => [
              key,
              jsonObject(Array.from(members, ([value, one]) => [value, groupJson(one)])),
            ]),
          ),
    ],
    ['next_batch', nextBatch === undefined ? undefined : JSON.stringify(nextBatch)],
  ]);
  return jsonReply({ search_categories: `{"room_events":${found}}` });
};

const requestOf = (wanted: Static<typeof roomEvents>, nextBatch: string | undefined): SearchRequest => {
  const around = wanted.event_context;
  return {
    term: wanted.search_term,
    keys: wanted.keys,
    filter: wanted.filter,
    orderBy: wanted.order_by ?? 'rank',
    context:
      around === undefined
        ? undefined
        : {
            before: around.before_limit ?? DEFAULT_AROUND,
            after: around.after_limit ?? DEFAULT_AROUND,
            includeProfile: around.include_profile ?? false,
          },
    groupBy: (wanted.groupings?.group_by ?? []).flatMap(({ key }) => key ?? []),
    includeState: wanted.include_state ?? false,
    nextBatch,
  };
};

interface Services {
  readonly search: SearchService;
}

export const searchEndpoints = [
  endpoint({
    operationId: 'search',
    summary: 'Perform a server-side search',
    method: 'POST',
    onlyAsks: true,
    path: '/_matrix/client/v3/search',
    auth: 'accessToken',
    guests: 'refused',
    suspended: READS,
    rateLimit: 'search',
    query: Type.Object({ next_batch: Type.Optional(text) }),
    body: Type.Object({ search_categories: Type.Object({ room_events: Type.Optional(roomEvents) }) }),
    response,
    errcodes: ['M_BAD_JSON', 'M_INVALID_PARAM', 'M_LIMIT_EXCEEDED'],
    async handler({ search }: Services, { requester, query, body }) {
      const wanted = body.search_categories.room_events;
      if (wanted === undefined) return { search_categories: {} };
      return reply(await search.search(requester, requestOf(wanted, query.next_batch)));
    },
  }),
];
