import { type AccessRule, isAllowed } from '#src/services/accounts/admission/access-rules.ts';
import { MEMBER_EVENT_KINDS } from '#src/services/rooms/membership/member-event-kinds.ts';
import type { Endpoint } from './endpoint.ts';
import { type Api, apiOf } from './operation.ts';

const GENERATED =
  '<!-- Generated from the declarations of the endpoints by `npm run generate`: change them, not this file. -->';

/** In the order in which a reader looks for them. */
const HEADINGS: readonly (readonly [Api, string])[] = [
  ['client-server', 'Client-Server API'],
  ['server-server', 'Server-Server API'],
  ['application-service', 'Application Service API'],
  ['identity', 'Identity Service API'],
  ['synapse-admin', 'Admin API (compatible with Synapse)'],
  ['well-known', 'Discovery'],
  ['server', 'The server itself'],
];

const CALLERS: Readonly<Record<Endpoint['auth'], string>> = {
  none: 'anyone',
  optionalToken: 'anyone; users with their token',
  accessToken: 'users',
  admin: 'administrators',
  server: 'homeservers',
  appservice: 'application services',
};

const byPath = (endpoints: readonly Endpoint[]): Endpoint[] => {
  const key = ({ method, path }: Endpoint): string => `${path} ${method}`;
  return endpoints.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
};

const mark = (rule: AccessRule | undefined): string => (rule === undefined ? '' : isAllowed(rule) ? 'yes' : 'no');

const changesOf = (changes: Endpoint['memberEvents'] = []): string =>
  changes.length === MEMBER_EVENT_KINDS.length ? 'any' : changes.join(', ');

/** A table of every endpoint, and who may call it (`docs/endpoints.md`). */
const endpointsDocument = (endpoints: readonly Endpoint[]): string => {
  const sections = HEADINGS.flatMap(([api, heading]) => {
    const own = byPath(endpoints.filter((endpoint) => apiOf(endpoint) === api));
    if (own.length === 0) return [];
    const rows = own.map(
      ({ operationId, method, path, auth, guests, suspended, rateLimit, memberEvents }) =>
        `| \`${operationId}\` | \`${method} ${path}\` | ${CALLERS[auth]} | ${mark(guests)} | ${mark(suspended)} | ${rateLimit} | ${changesOf(memberEvents)} |`,
    );
    return [
      `\n## ${heading}\n\n| Operation | Path | Who | Guests | Suspended | Limit | Memberships |\n|---|---|---|---|---|---|---|\n${rows.join('\n')}\n`,
    ];
  });
  return `${GENERATED}

# Endpoints

What is served, and who may call it. Aliases, parameters and answers are in \`spec/\`. "Guests" and "Suspended" say whether accounts of that kind
may call it, where accounts do; why is in [guests.md](guests.md) and [suspension.md](suspension.md). "Limit" is the group of
\`rate_limits\` that it takes from, "Memberships" what it changes of them: a test tries each change as every kind of user, and no other operation makes
member events.
${sections.join('')}`;
};

/** Operations by the reason of their rule; what the specification says itself comes first. */
const byReason = (
  endpoints: readonly Endpoint[],
  ruleOf: (endpoint: Endpoint) => AccessRule | undefined,
  verdict: 'allowed' | 'refused',
): Map<string, string[]> => {
  const groups = new Map<string, string[]>([[SPECIFICATION, []]]);
  for (const endpoint of byPath(endpoints)) {
    const rule = ruleOf(endpoint);
    if (rule === undefined || isAllowed(rule) !== (verdict === 'allowed')) continue;
    const reason = typeof rule === 'string' ? SPECIFICATION : Object.values(rule).join('');
    const group = groups.get(reason) ?? [];
    group.push(endpoint.operationId);
    groups.set(reason, group);
  }
  return groups;
};

const SPECIFICATION = 'specification';

/** A line for each operation, so that changes of different operations touch different lines. */
const reasonTable = (groups: ReadonlyMap<string, readonly string[]>): string => {
  const rows = Array.from(groups).flatMap(([reason, operations]) =>
    operations.map((name) => `| \`${name}\` | ${reason} |`),
  );
  return `| Operation | Why |\n|---|---|\n${rows.join('\n')}\n`;
};

/** Which endpoints guests may call, and why (`docs/guests.md`). */
const guestsDocument = (endpoints: readonly Endpoint[]): string => {
  const refused = byReason(endpoints, ({ guests }) => guests, 'refused');
  refused.delete(SPECIFICATION);
  return `${GENERATED}

# What guests may do

Guests get their tokens from \`POST /register?kind=guest\` where \`registration.guests\` is on. Every endpoint that accounts call says whether guests
may call it; what they may not call answers 403 \`M_GUEST_ACCESS_FORBIDDEN\`.

"Specification" means the list in the Client-Server API, "Guest Access". The others are open because every client calls them before or beside
those of the list, and because they tell guests nothing, and let them do nothing, that they cannot have by the list already.

${reasonTable(byReason(endpoints, ({ guests }) => guests, 'allowed'))}
What they may call has bounds for them: they join only where \`m.room.guest_access\` is \`can_join\`, by whatever way; state and delayed events let
them do with memberships only what the endpoints for that do; of their profile they change only \`displayname\`; \`peekEvents\` takes a \`room_id\`.

Closed although one might expect them:

${reasonTable(refused)}
Over the WebSocket API guests may call what does the same (\`x-guests\` in spec/websocket.asyncapi.json).
`;
};

/** Which endpoints suspended users may call, and why (`docs/suspension.md`). */
const suspensionDocument = (endpoints: readonly Endpoint[]): string => `${GENERATED}

# What suspended users may do

An administrator suspends an account by \`PUT /_matrix/client/v1/admin/suspend/{userId}\`. Every endpoint that accounts call says whether suspended
users may call it; what they may not call answers 403 \`M_USER_SUSPENDED\`. "Specification" means what the Client-Server API, "Account
suspension", lists; it leaves the rest to the server.

## They may

${reasonTable(byReason(endpoints, ({ suspended }) => suspended, 'allowed'))}
## They may not

${reasonTable(byReason(endpoints, ({ suspended }) => suspended, 'refused'))}
Over the WebSocket API the same holds for what does the same (\`x-suspended\` in spec/websocket.asyncapi.json).
`;

/** The tables of docs/ that are made from the declarations, by file name. */
export const accessDocuments = (endpoints: readonly Endpoint[]): ReadonlyMap<string, string> =>
  new Map([
    ['endpoints.md', endpointsDocument(endpoints)],
    ['guests.md', guestsDocument(endpoints)],
    ['suspension.md', suspensionDocument(endpoints)],
  ]);
