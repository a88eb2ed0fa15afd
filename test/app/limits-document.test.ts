import { readdir, readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { publishedSchema } from '#src/app/config/published-schema.ts';
import { limitsDocument, NO_BOUNDS } from '#src/app/limits-document.ts';

/** What is read of the schema of the configuration. */
interface Described {
  readonly type?: string;
  readonly default?: number | string | boolean | null;
  readonly anyOf?: readonly Described[];
  readonly properties?: Readonly<Record<string, Described>>;
}

/** Constants of the sources that the page of limits tells: file, name, and what stands on the page for it. */
const TOLD: readonly (readonly [file: string, constant: string, told: string])[] = [
  [
    'services/accounts/uia/uia-session-store.ts',
    'MAX_BYTES = 64 * 1024 * 1024',
    '64 MiB, 1 MiB of one user or network',
  ],
  ['services/accounts/uia/uia-session-store.ts', 'MAX_BYTES_OF_PARTY = 1024 * 1024', '64 MiB, 1 MiB of one user'],
  ['services/federation/inbound/inbound-transactions.ts', 'MAX_PDUS = 50', '50 events and 100 EDUs in 8 MiB'],
  ['services/federation/inbound/inbound-transactions.ts', 'MAX_EDUS = 100', '50 events and 100 EDUs in 8 MiB'],
  ['http/server-server/transactions.ts', 'MAX_BYTES = 8 * 1024 * 1024', '50 events and 100 EDUs in 8 MiB'],
  ['services/federation/inbound/inbound-queue.ts', 'MAX_PER_ORIGIN = 5_000', '5000, of them 1000 for one room'],
  [
    'services/federation/inbound/inbound-queue.ts',
    'MAX_PER_ORIGIN_AND_ROOM = 1_000',
    '5000, of them 1000 for one room',
  ],
  ['services/federation/inbound/inbound-receiving.ts', 'ASKING_AT_ONCE = 64', '64, of them 4 of one server'],
  ['services/federation/inbound/inbound-receiving.ts', 'ASKING_OF_ORIGIN_AT_ONCE = 4', '64, of them 4 of one server'],
  ['services/federation/inbound/missing-events.ts', 'MAX_IN_GAP = 150', '150 events in all'],
  ['services/federation/history/history-answers.ts', 'MAX_MISSING = 20', '100 events, 20 events; 4 MiB'],
  [
    'services/federation/invites/received-invites.ts',
    'MAX_WAITING = 1_000',
    'invites of other servers that wait for one user | 1000',
  ],
  ['services/reading/state/room-state.ts', 'LOAD_AT_ONCE = 200', '200 events at a time'],
  ['services/reading/state/room-state.ts', 'MAX_TEXT = 4 * 1024 * 1024', 'written at once | 4194304'],
  ['services/sync/engine/large-syncs.ts', 'AT_ONCE = 8', 'computed at once | 8; users take turns, and 2000'],
  ['services/sync/sliding/connections.ts', 'MAX_PER_DEVICE = 20', '20 of a device'],
  ['services/federation/inbound/inbound-receiving.ts', 'ROOMS_AT_ONCE = 4', 'turn of another | 4, 100'],
  ['services/federation/inbound/inbound-queue.ts', 'BATCH = 100', 'turn of another | 4, 100'],
  ['app/ground/outage-logger.ts', 'WINDOW_MS = 60_000', 'of each kind in a minute'],
  ['services/servers/keys/known-server-keys.ts', 'MAX_SERVERS = 40_000', '40000 servers, 64 keys of each'],
  ['services/servers/keys/key-notary.ts', 'MAX_SERVERS = 200', 'as a notary | 200, 50'],
  ['services/servers/requests/request-authenticator.ts', 'MAX_SIGNATURES = 8', 'that are looked at | 8'],
  ['services/e2ee/device-keys/key-query.ts', 'USERS_AT_ONCE = 500', 'answered at once | 500, 2'],
  ['services/e2ee/device-keys/key-query.ts', 'MAX_USERS = 10_000', '/keys/query, and devices of each | 10000, 1000'],
  ['services/admin/tasks/admin-tasks.ts', 'MAX_OPEN = 1_000', 'that are not done | 1000'],
  ['remote/federation/request-admission.ts', 'MAX_WAITING = 8_192', 'wait for their turn | 8192'],
  ['services/reading/relations/relation-index.ts', 'MAX_OF_EVENT = 20_000', '20000, the newest; 100000'],
  ['services/reading/relations/relation-index.ts', 'MAX_READ = 100_000', '20000, the newest; 100000'],
  ['services/reading/relations/threads-list.ts', 'SORTED_AT_ONCE = 2', '2; users take turns, and 200 of one may wait'],
  ['services/reading/relations/threads-list.ts', 'MAX_WAITING = 200', '2; users take turns, and 200 of one may wait'],
  ['services/rooms/spaces/space-hierarchy.ts', 'MAX_LOOKED = 500', '500, 10000; 16 MiB; 4 at once'],
  ['services/rooms/spaces/space-hierarchy.ts', 'MAX_VISITED = 10_000', '500, 10000; 16 MiB; 4 at once'],
  ['services/rooms/spaces/space-hierarchy.ts', 'KEPT_BYTES = 16 * 1024 * 1024', '500, 10000; 16 MiB; 4 at once'],
  ['services/rooms/spaces/space-hierarchy.ts', 'PASSING_AT_ONCE = 4', '500, 10000; 16 MiB; 4 at once'],
  ['services/reading/relations/relations.ts', 'MAX_SCANNED = 4_000', '/relations looks at | 4000'],
  ['services/reading/relations/bundled-aggregations.ts', 'MAX_JUDGED_OF_EVENT = 1_000', 'for them | 1000, 4000: the'],
  ['services/reading/relations/bundled-aggregations.ts', 'MAX_JUDGED = 4_000', 'for them | 1000, 4000: the newest'],
  ['services/reading/relations/bundled-aggregations.ts', 'MAX_EDITS = 20', '20, the newest; 100 of an answer'],
  ['services/reading/relations/bundled-aggregations.ts', 'MAX_EDITS_OF_ANSWER = 100', '20, the newest; 100 of an'],
  ['protocol/content/content-rules.ts', 'MAX_ANNOTATION_KEY = 1_024', 'key of an annotation | 1024 bytes'],
  ['remote/push-gateway.ts', 'MAX_BODY_BYTES = 65_536', 'push gateways, captchas and moderation tools | 64 KiB'],
];

describe('the page of limits', () => {
  it('tells the fixed bounds as they stand in the sources', async () => {
    const page = limitsDocument();
    for (const [file, constant, told] of TOLD) {
      const source = await readFile(new URL(`../../src/${file}`, import.meta.url), 'utf8');
      expect(source, file).to.contain(constant);
      expect(page, constant).to.contain(told);
    }
  });
  it('has every number of the configuration with its default, or says of it that it bounds nothing', () => {
    const page = limitsDocument();
    const numbers: { readonly key: string; readonly value: string }[] = [];
    const walk = ({ properties = {} }: Described, above: readonly string[]): void => {
      for (const [name, below] of Object.entries(properties)) {
        const path = [...above, name];
        const types = [below.type, ...(below.anyOf ?? []).map(({ type }) => type)];
        const { burst, per_second: perSecond } = below.properties ?? {};
        if (burst !== undefined && perSecond !== undefined)
          numbers.push({ key: path.join('.'), value: `${burst.default} at once, ${perSecond.default}/s` });
        else if (below.properties !== undefined) walk(below, path);
        else if (types.some((type) => type === 'integer' || type === 'number'))
          numbers.push({ key: path.join('.'), value: below.default === null ? 'none' : String(below.default) });
      }
    };
    walk(JSON.parse(publishedSchema()), []);
    expect(numbers.length).to.be.greaterThan(120);
    const isMentioned = (key: string): boolean => page.includes(`\`${key}\``);
    for (const { key, value } of numbers) {
      if (NO_BOUNDS.includes(key)) expect(page, key).not.to.contain(`| \`${key}\` |`);
      // Some stand within the row of a fixed bound.
      else if (page.includes(`| \`${key}\` |`))
        expect(page).to.match(new RegExp(`\\| \`${key}\` \\| ${value} \\| \\S`));
      else expect(isMentioned(key), key).to.equal(true);
    }
    expect(NO_BOUNDS.filter((key) => !numbers.some((one) => one.key === key))).to.deep.equal([]);
  });
  it('names metrics that there are, and groups of rate limits that something asks for', async () => {
    const page = limitsDocument();
    const metrics = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8');
    const named = new Set([...page.matchAll(/`((?:tsudoi|process)_[a-z_]+)/g)].map(([, name]) => name));
    expect(named.size).to.be.greaterThan(30);
    expect([...named].filter((name) => !metrics.includes(`\`${name}\``))).to.deep.equal([]);
    const folder = new URL('../../src/', import.meta.url);
    const sources = await Promise.all(
      (await readdir(folder, { recursive: true }))
        .filter((name) => name.endsWith('.ts') && !name.startsWith('app/config/'))
        .map((name) => readFile(new URL(name, folder), 'utf8')),
    );
    const code = sources.join('\n');
    const groups = [...page.matchAll(/\| `rate_limits\.([a-z_]+)` \|/g)].map(([, name]) => name);
    expect(groups.length).to.be.greaterThan(30);
    expect(groups.filter((name) => !code.includes(`'${name}'`))).to.deep.equal([]);
  });
  it('has the budgets, quotas and limits of clients, servers and application services', () => {
    const page = limitsDocument();
    for (const key of [
      'rate_limits.federation',
      'quotas.account_data.bytes',
      'bytes_in_flight.total',
      'appservices.max_waiting_events',
    ])
      expect(page).to.contain(`\`${key}\``);
    expect(page).not.to.match(/undefined|NaN/);
  });
});
