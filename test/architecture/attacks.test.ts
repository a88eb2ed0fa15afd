import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { ATTACKS } from '../../bench/attacks/attacks.ts';

const ROOT = join(import.meta.dirname, '..');
/** Ways in which one person, or a stranger, stopped a server; and what held them off, by what the ids of attacks begin with. */
const FAULTS = Array.from({ length: 37 }, (_, index) => `F${String(index + 1).padStart(2, '0')}`);
const MECHANISMS = ['bytes', 'turn', 'cost', 'kept', 'pages', 'login', 'text', 'outage'];
const ATTACKS_OF_A_MECHANISM = 2;

/** Nobody attacks by them: the bench looks at files and roles when all attacks are over, or no request comes to them. */
const NO_ATTACK: Readonly<Record<string, string>> = {
  F15: 'modes of files are a figure of their own',
  F34: 'no user can take the disk or the database away',
  F35: 'rights of the role are a figure of their own',
  F36: 'the document is read, not attacked',
};

/** The tests that show of each that it is mended: titles by file. */
const SHOWN_BY: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  F01: {
    'protocol/matching/glob.test.ts': [
      'takes a number of steps that is linear in the text, whatever the pattern',
      'stops, without a match, when the steps that it may take are used up',
    ],
  },
  F02: {
    'integration/user-data/endpoints.test.ts': [
      'is bounded by bytes, and what makes it less is always let in',
      'keeps so many of a user and no more, by number and by bytes',
    ],
  },
  F03: {
    'http/bytes-in-flight.test.ts': ['that nobody reads are dropped with their connection when their time is over'],
  },
  F04: {
    'http/bytes-in-flight.test.ts': [
      'do not come in chunks of one byte without end: the connection is closed',
      'of strangers are few: 413 beyond 16 KiB',
    ],
  },
  F05: { 'protocol/filters/filters.test.ts': ['have at most 500 entries: event_fields'] },
  F06: { 'http/cost.test.ts': ['is refused before it is spent where JSON is all structure: 413 M_TOO_LARGE'] },
  F07: {
    'integration/user-data/endpoints.test.ts': [
      'are written one by one: a change costs one row, however many there are',
      'are so many in a room and no more, and have names that are text',
    ],
  },
  F08: {
    'ws/floods.test.ts': [
      'of methods that do not exist close the socket, and cost tokens of what is refused',
      'of requests that are malformed close the socket',
    ],
    'http/refusals.test.ts': [
      'look at no token any more when they were too many, but for one that is known to be good',
    ],
  },
  F09: {
    'integration/accounts/sessions.test.ts': [
      'keep nobody out of their account who is elsewhere, or who has a session',
      'let the owner in from a new network, though somebody uses up from a few networks what the account may have',
    ],
  },
  F10: {
    'integration/reading/search/search.test.ts': [
      'looks through so many long texts a page and lets others have their turn meanwhile',
    ],
  },
  F11: { 'integration/user-data/quotas.test.ts': ['is a status message of 2048 characters, whichever way it comes'] },
  F12: {
    'integration/house/odd-values.test.ts': [
      'that somebody only asks for, or ignores, become no rows: reading makes no names',
    ],
  },
  F13: {
    'integration/rooms/membership-gate.test.ts': [
      'takes from the same limit for invites, as state and delayed',
      'takes from the same limit for invites with a new room, in `invite` and in `initial_state`',
      'takes from the same limit for joins and knocks, and nothing for a new name',
    ],
  },
  F14: {
    'services/accounts/sessions/access-token.test.ts': ['have one spelling: what only decodes to the same is none'],
  },
  F15: {
    'storage/private-files.test.ts': [
      'are written so, whatever the usual mode of files is',
      'are closed to others in a data directory that was made when they were not',
    ],
  },
  F16: {
    'services/accounts/uia/uia-service.test.ts': [
      'does what was asked for once, and gives its result to whoever repeats the request, until the session expires',
    ],
    'integration/accounts/sessions.test.ts': [
      'count what proves the password as logins do, whether or not the session of an authentication is named',
      'make users wait who have cost many hashes',
    ],
  },
  F17: {
    'integration/house/odd-values.test.ts': [
      'in a status message, such as NUL, are refused whichever way it comes, and lose nobody else’s presence',
    ],
  },
  F18: {
    'integration/house/odd-values.test.ts': [
      'of thousands of characters are ids that nobody has: no endpoint breaks at them',
    ],
  },
  F19: {
    'integration/rooms/bounded-reading.test.ts': [
      'goes through a bounded number of threads for one answer, and comes to those that one may see by its tokens',
      'a bounded number of relations, without their texts, and a token by which they come to the others',
      'looks at a bounded number of rooms below a space for one answer, and comes to the last one by its tokens',
    ],
  },
  F20: {
    'integration/rooms/bounded-reading.test.ts': [
      'asks for all rooms of a join rule at once, and for none that is in memory',
      'asks once for a room that is not there, and finds it when it is',
    ],
  },
  F21: {
    'integration/user-data/endpoints.test.ts': [
      'keeps those of so many threads; what was read in older ones stays read',
      'takes no event for a thread to which nobody replied in one',
    ],
  },
  F22: {
    'integration/rooms/membership-gate.test.ts': [
      'lets guests come, go and have a name, and refuses them what its endpoints refuse',
    ],
  },
  F23: {
    'integration/accounts/registration.test.ts': [
      'is made once: the link does not come back to life when the administrator goes',
    ],
  },
  F24: {
    'integration/rooms/what-was-before.test.ts': [
      'ends where the reader left the room, though they may see the event',
      'is not shown to users from whom it was hidden',
    ],
  },
  F25: {
    'http/bytes-in-flight.test.ts': [
      'are held until the request is done, not only until they have arrived',
      'are refused with 503 beyond the share of a user, who does not keep others from sending',
    ],
  },
  F26: { 'http/cost.test.ts': ['is paid by the user afterwards: for large answers, many rows, and large bodies'] },
  F27: {
    'integration/user-data/endpoints.test.ts': ['writes one rule where one is changed, and the position of the change'],
  },
  F28: {
    'integration/authorization/hidden-rooms.test.ts': [
      'answers ${who} as a room that does not exist, whatever they ask',
      'is not told by requests that name a room elsewhere than in the path',
    ],
  },
  F29: { 'ws/suspension.test.ts': ['may say nothing of themselves that others see, over HTTP and on connections'] },
  F30: {
    'integration/accounts/sessions.test.ts': [
      'stop guessing the password of an account from one network, however its addresses are written',
    ],
  },
  F31: {
    'http/server.test.ts': [
      'drops connections beyond those that one address may have, and beyond the most there may be',
    ],
  },
  F32: {
    'kernel/limits/fair-gate.test.ts': [
      'lets clients take turns, so that one request does not wait behind many of another client',
      'prefers those who are known, without keeping the others out',
    ],
  },
  F33: {
    'integration/accounts/sessions.test.ts': [
      'say the same of unknown, wrong and deactivated, after the same work and as often',
    ],
  },
  F34: {
    'integration/house/full-disk.test.ts': [
      'answers 503 with Retry-After whatever is asked, says so to probes and in few lines, loses nothing, and goes on by itself',
    ],
    'integration/house/database-away.test.ts': [
      'answers 503 with Retry-After wherever somebody waits, in few lines of the log, loses nothing, and goes on by itself',
    ],
  },
  F35: {
    'storage/postgres/embedded-postgres.test.ts': [
      'gives the server a role that owns its database and can do nothing to the machine',
    ],
  },
  F36: {
    'http/openapi.test.ts': [
      'show the challenge in the 401 of every operation with user-interactive authentication',
      'show the 409 of delayed events that are over, and of aliases that are taken',
    ],
  },
  F37: {
    'http/server-groups.test.ts': ['serves metrics in the text format of Prometheus to addresses that may read them'],
  },
};

/** Titles of the tests in a file, as they are written there. */
const titlesIn = (file: string): readonly string[] =>
  [...readFileSync(join(ROOT, file), 'utf8').matchAll(/^ *it\(\s*(['"`])(?<title>.*?)\1,/gm)].map(
    ({ groups }) => groups?.['title'] ?? '',
  );

describe('the attacks of the bench', () => {
  const ids = ATTACKS.map(({ id }) => id);

  it('are of every way in which a server was stopped that somebody can go', () => {
    const attacked = FAULTS.filter((fault) => ids.some((id) => id === fault || id.startsWith(`${fault}.`)));
    expect([...attacked, ...Object.keys(NO_ATTACK)].toSorted()).to.deep.equal(FAULTS);
  });

  it('try each mechanism in two more ways at least', () => {
    const tried = (mechanism: string): number => ids.filter((id) => id.startsWith(`${mechanism}.`)).length;
    expect(MECHANISMS.filter((mechanism) => tried(mechanism) < ATTACKS_OF_A_MECHANISM)).to.deep.equal([]);
  });

  it('have ids of their own, and each says by which outcomes it shows that it got through', () => {
    expect(new Set(ids).size).to.equal(ids.length);
    expect(ATTACKS.filter(({ outcomes }) => outcomes.expects.length === 0).map(({ id }) => id)).to.deep.equal([]);
  });
});

describe('the ways in which a server was stopped', () => {
  it('each have a test that shows that they are closed', () => {
    expect(Object.keys(SHOWN_BY)).to.deep.equal(FAULTS);
    for (const [fault, shown] of Object.entries(SHOWN_BY))
      for (const [file, titles] of Object.entries(shown)) {
        expect(titles, fault).not.to.deep.equal([]);
        expect(titlesIn(file), fault).to.include.members(titles);
      }
  });
});
