import { readdir, readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { publishedSchema } from '#src/app/config/published-schema.ts';
import { inBytes, inTime } from '#src/app/limits/fixed-bounds.ts';
import { limitsDocument, NO_BOUNDS } from '#src/app/limits/limits-document.ts';
import { ERRCODE_STATUS } from '#src/protocol/errors/matrix-error.ts';
import { FIXED_QUOTAS, QUOTAS } from '#src/protocol/errors/quota-full.ts';
import { MAX_LIMIT as ROOMS_OF_PAGE } from '#src/services/rooms/spaces/space-hierarchy.ts';

/** What is read of the schema of the configuration. */
interface Described {
  readonly type?: string;
  readonly default?: number | string | boolean | null;
  readonly anyOf?: readonly Described[];
  readonly properties?: Readonly<Record<string, Described>>;
}

/** Why a constant has no row on the page. `names` counts wherever it stands, `at` for one file (without `src/`). */
interface Excuse {
  readonly why: string;
  readonly names?: string;
  readonly at?: Readonly<Record<string, string>>;
}

const EXCUSED: readonly Excuse[] = [
  {
    why: 'how much of a work one statement, one batch or one turn of the event loop takes: all of it is done',
    names: `ROOMS_AT_ONCE USERS_AT_ONCE ENTRIES_AT_ONCE EVENTS_AT_ONCE ITEMS_AT_ONCE NOTES_AT_ONCE NAMES_AT_ONCE MEMBERS_AT_ONCE MEDIA_AT_ONCE
      INVITES_AT_ONCE BANS_AT_ONCE CHARACTERS_AT_ONCE BYTES_AT_ONCE STEPS_AT_ONCE STATE_EVENTS_AT_ONCE OUTLIERS_AT_ONCE OUTLINES_AT_ONCE
      TEXTS_AT_ONCE TIMES_AT_ONCE READ_AT_ONCE ROOMS_READ_AT_ONCE SCANNED_AT_ONCE CHECKED_AT_ONCE RANKED_AT_ONCE AROUND_AT_ONCE WRITTEN_AT_ONCE
      STORED_AT_ONCE KEPT_AT_ONCE SAVED_AT_ONCE REMOVED_AT_ONCE DELETED_AT_ONCE RELEASED_AT_ONCE MOVED_AT_ONCE CHANGES_AT_ONCE TRIED_AT_ONCE
      RECALLED_AT_ONCE HANDED_OUT_AT_ONCE SINGLE_AT_ONCE PARTS_AT_ONCE BATCH_SIZE MAX_BATCH MAX_TOGETHER MAX_SHARED_READS MAX_ROOMS_HELD`,
    at: {
      'services/federation/room-import/join-answer-reader.ts': 'CONCURRENCY',
      'services/federation/partial-state/completed-rooms.ts': 'MAX_LATER_ROUNDS',
      'services/media/media-move.ts': 'CONCURRENCY',
      'services/rooms/spaces/space-hierarchy.ts': 'MAX_HELD',
    },
  },
  {
    why: 'what is remembered so that it need not be found out again: others are forgotten and found out again',
    names: `MAX_OUTAGES MAX_POOLS MAX_HOSTS MAX_SESSIONS MAX_SLOW MAX_PROVEN MAX_VERDICTS MAX_FAILURES MAX_REMEMBERED MAX_FINISHED MAX_BUSY
      MAX_KNOWN_TYPES MAX_CACHED_LENGTH MAX_PAUSED_GROUPS MAX_ANSWERS MAX_SENT MAX_RESTS MAX_LAZY MAX_COMPARED MAX_SPANS`,
    at: {
      'remote/federation/service-records.ts': 'MAX_NAMES MAX_RECORDS',
      'services/federation/inbound/extremity-merger.ts': 'MAX_ROOMS MAX_SENDERS',
      'services/federation/outbound/own-event-pages.ts': 'MAX_CHARACTERS',
      'services/media/media-access.ts': 'MAX_WAITING',
      'services/push/unread/badge-counts.ts': 'MAX_USERS',
      'services/push/unread/unread-list.ts': 'MAX MAX_OLDER',
      'services/push/unread/unread-windows.ts': 'MAX_ROOMS',
      'services/sync/v3/v3-sync.ts': 'MAX_ROOMS MAX_LENGTH',
      'ws/shared-frames.ts': 'MAX_LENGTH',
    },
  },
  {
    why: 'pauses between attempts, times for which something is believed, and waits after which the answer goes without',
    names: `MIN_MS MAX_MS MAX_ERROR_MS MAX_VALIDITY_MS MAX_WAIT_MS MAX_PAUSE_MS MIN_PAUSE_MS MIN_WAITING_MS MAX_GROUP_PAUSE_MS MAX_SERVER_PAUSE_MS
      MAX_FAILURE_PAUSE_MS MAX_SETTLING_MS MAX_COMING_MS`,
  },
  {
    why: 'what the specification, an RFC or another program sets',
    names: `MAX_IDENTIFIER_BYTES MAX_EMAIL_BYTES MAX_LOCAL_PART_BYTES MAX_PREV_EVENTS MAX_AUTH_EVENTS MAX_HASHES MAX_HASH_LENGTH
      MAX_JSON_DEPTH MAX_HOPS MAX_SEARCHED MAX_NUMBER MAX_PER_SECOND MAX_USES`,
  },
  {
    why: 'numbers of an encoding, which bound no work',
    names: 'MAX_NUMBER_BYTES MAX_ENTRY_BYTES MAX_BYTES_OF_UNIT',
    at: { 'protocol/wire/packed-state.ts': 'MAX_KEY' },
  },
  {
    why: 'lengths of single texts and lists within a body, a header or an answer that is bounded as a whole',
    names: `MAX_NAME_LENGTH MAX_TEXT_LENGTH MAX_TYPE_LENGTH MAX_ID_LENGTH MAX_TOKEN_LENGTH MAX_LINK_LENGTH MAX_LINE_LENGTH
      MAX_VALUE_LENGTH MAX_VALUE_SIZE MAX_REASON_LENGTH MAX_FIELD_LENGTH MAX_ERROR_LENGTH MAX_MESSAGE_LENGTH MAX_MESSAGE_ID_LENGTH MAX_THREAD_LENGTH MAX_EVENT_LENGTH
      MAX_TOPIC_LENGTH MAX_NETWORK_LENGTH MAX_CONN_ID_LENGTH MAX_DEVICE_NAME_LENGTH MAX_LANGUAGES_LENGTH MAX_ANSWER_LENGTH MAX_PREFIX_LENGTH
      MAX_HEADER_BYTES MAX_PREAMBLE_BYTES MAX_PADDING MAX_METADATA_BYTES MAX_VIA MAX_PROPERTIES MAX_PREVIOUS MAX_NAMED MAX_INSTANCES MAX_OLD_KEYS`,
    at: {
      'protocol/signing/server-keys.ts': 'MAX_KEYS',
      'protocol/signing/x-matrix.ts': 'MAX_LENGTH',
      'remote/federation/queries-api.ts': 'MAX_FIELDS MAX_SERVERS',
      'remote/federation/room-summary.ts': 'MAX_ALLOWED',
      'remote/federation/spaces-api.ts': 'MAX_CHILDREN',
      'remote/federation/user-keys-api.ts': 'MAX_DEVICES',
      'remote/federation/history-api.ts': 'MAX_IDS',
      'services/appservices/lookups/third-party-lookups.ts': 'MAX_FIELDS',
      'services/federation/room-import/join-answer-splitter.ts': 'MAX_DEPTH',
      'services/retention/room-archive.ts': 'MAX_NAME',
      'services/rooms/aliases/alias-service.ts': 'MAX_SERVERS',
      'services/sync/sliding/room-lists.ts': 'MAX_NAME',
      'ws/appservice-sockets.ts': 'MAX_FRAGMENTS MAX_BUFFERED_CHUNKS',
    },
  },
  {
    why: 'answers of others to single questions, below the bound of all answers',
    names: 'MAX_PROFILE_SIZE MAX_DIRECTORY_ANSWER_SIZE MAX_ANSWER_SIZE MAX_STATE_BYTES MAX_ANSWER_BYTES',
    at: { 'remote/peer-probe.ts': 'MAX_BYTES' },
  },
  {
    why: 'steps on the way to something that has a row, or to which nothing is refused',
    names: `MAX_ATTEMPTS MAX_TRIES MAX_WANTED MAX_COUNTED MAX_WALKED MAX_READ MAX_BYTES_READ MAX_FILLED MAX_LOADED MAX_PENDING MAX_STATES MAX_LOOKS
      MAX_LOOKED_AT MAX_OTHERS MAX_ASKED MAX_TIMES MAX_PARTS MAX_TOMBSTONES MAX_INSTRUCTIONS MAX_STEPS MAX_PUSHED MAX_WAITING_WHILE_AWAY
      MAX_GATHERED MAX_RECEIPTS MAX_PER_SENDER MAX_COMPANIONS MAX_SHOWN MAX_SENT_TO`,
    at: {
      'services/appservices/delivery/appservice-transactions.ts': 'CONCURRENCY',
      'services/appservices/extras/device-extras.ts': 'MAX_USERS MAX_DEVICES',
      'services/appservices/interest/user-interest.ts': 'MAX_ROOMS',
      'services/push/notifications/missed-messages.ts': 'MAX',
      'services/mail/digests/digest-content.ts': 'MAX_ROOMS',
    },
  },
  {
    why: 'defaults of what the configuration sets',
    at: {
      'services/push/receipts/receipt-service.ts': 'MAX_THREADS',
      'services/user-data/profiles/profile-service.ts': 'MAX_FIELDS',
    },
  },
  {
    why: 'what is listed to administrators, and what their tasks look at',
    at: {
      'services/admin/privacy/user-erasure.ts': 'MAX_ROOMS',
      'services/admin/privacy/user-event-redactions.ts': 'MAX_ROOMS',
      'services/admin/privacy/user-exports.ts': 'MAX_LISTED',
      'services/admin/statistics/statistics.ts': 'MAX_LISTED',
      'services/federation/history/state-resets.ts': 'MAX',
      'services/media/media-moderation.ts': 'MAX_IN_ROOM',
    },
  },
];

const SOURCES = new URL('../../../src/', import.meta.url);
const wordsOf = (text = ''): readonly string[] => text.split(/\s+/).filter((word) => word !== '');
const sourceOf = (path: string): Promise<string> => readFile(new URL(path, SOURCES), 'utf8');
const filesOf = async (folder: string): Promise<string[]> =>
  (await readdir(new URL(folder, SOURCES), { recursive: true }))
    .filter((name) => name.endsWith('.ts'))
    .map((name) => `${folder}${name}`);

/** Constants that the page prints, `path#NAME`: they are imported where its rows stand. */
const printed = async (): Promise<Set<string>> => {
  const found = new Set<string>();
  for (const path of await filesOf('app/limits/'))
    for (const [, names = '', from] of (await sourceOf(path)).matchAll(/import \{([^}]*)\} from '#src\/([^']+)'/g))
      for (const name of names.split(',')) found.add(`${from}#${/\w+/.exec(name)?.[0]}`);
  return found;
};

/** Constants that say by their names that they bound something, `path#NAME`. */
const bounds = async (): Promise<string[]> => {
  const found: string[] = [];
  for (const folder of ['services/', 'http/', 'ws/', 'remote/', 'protocol/'])
    for (const path of await filesOf(folder))
      for (const [, name] of (await sourceOf(path)).matchAll(
        /^(?:export )?const ((?:MAX|MIN)(?:_[A-Z0-9_]+)?|(?:[A-Z0-9_]+_)?(?:AT_ONCE|CONCURRENCY|BATCH_SIZE))\b/gm,
      ))
        found.push(`${path}#${name}`);
  return found;
};

describe('the page of limits', () => {
  it('has every constant that bounds something, or there is a reason why not', async () => {
    const [all, onPage] = [await bounds(), await printed()];
    expect(all.length).to.be.greaterThan(400);
    const names = new Set(EXCUSED.flatMap((excuse) => wordsOf(excuse.names)));
    const single = new Set(
      EXCUSED.flatMap(({ at = {} }) => Object.entries(at)).flatMap(([path, texts]) =>
        wordsOf(texts).map((name) => `${path}#${name}`),
      ),
    );
    const missing = all.filter((one) => !onPage.has(one));
    const nameOf = (one: string): string => one.split('#')[1] ?? '';
    expect(missing.filter((one) => !single.has(one) && !names.has(nameOf(one)))).to.deep.equal([]);
    // No excuse outlives what it is for.
    expect([...single].filter((one) => !missing.includes(one))).to.deep.equal([]);
    expect([...names].filter((name) => !missing.some((one) => nameOf(one) === name))).to.deep.equal([]);
  });
  it('prints the numbers of the sources, in units that people say', () => {
    const page = limitsDocument();
    expect(page).to.contain(`${ROOMS_OF_PAGE} rooms`);
    expect([inBytes(64 * 1024 ** 2), inBytes(1_536), inBytes(1_000), inTime(30_000), inTime(1_500)]).to.deep.equal([
      '64 MiB',
      '1536 bytes',
      '1000 bytes',
      '30 s',
      '1500 ms',
    ]);
  });
  it('says of every quota what is answered, as the code answers, and knows no quota that nothing refuses', async () => {
    const page = limitsDocument();
    const code = (await Promise.all((await filesOf('services/')).map(sourceOf))).join('\n');
    for (const [quota, errcode] of Object.entries(QUOTAS)) {
      const rows = page
        .split('\n')
        .filter((line) => line.startsWith(`| \`${quota}\``) || line.startsWith(`| \`${quota}.`));
      expect(rows.length, quota).to.be.greaterThan(0);
      for (const row of rows) expect(row, quota).to.contain(`| ${ERRCODE_STATUS[errcode]} \`${errcode}\` |`);
      expect(code, quota).to.contain(`'${quota}'`);
    }
    const counted = page.split('\n').filter((line) => line.includes('tsudoi_quota_refused_total{quota="'));
    for (const [quota, { errcode, status }] of Object.entries(FIXED_QUOTAS)) {
      const [row, ...others] = counted.filter((line) => line.includes(`{quota="${quota}"}`));
      expect(row, quota).to.contain(`| ${status} \`${errcode}\` |`);
      expect(others, quota).to.deep.equal([]);
      expect(code, quota).to.contain(`'${quota}'`);
    }
    expect(counted).to.have.length(Object.keys(FIXED_QUOTAS).length);
    const quotas = page.split('\n').filter((line) => line.startsWith('| `quotas.'));
    expect(quotas.length).to.be.greaterThan(10);
    for (const row of quotas) expect(row).not.to.match(/\| -? ?\|$/);
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
        expect(page).to.match(new RegExp(`\\| \`${key}\` \\| ${value}(?: \\([^)]*\\))? \\| \\S`));
      else expect(isMentioned(key), key).to.equal(true);
    }
    expect(NO_BOUNDS.filter((key) => !numbers.some((one) => one.key === key))).to.deep.equal([]);
  });
  it('names metrics that there are, and groups of rate limits that something asks for', async () => {
    const page = limitsDocument();
    const metrics = await readFile(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
    const named = new Set([...page.matchAll(/`((?:tsudoi|process)_[a-z_]+)/g)].map(([, name]) => name));
    expect(named.size).to.be.greaterThan(30);
    expect([...named].filter((name) => !metrics.includes(`\`${name}\``))).to.deep.equal([]);
    const folder = SOURCES;
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
