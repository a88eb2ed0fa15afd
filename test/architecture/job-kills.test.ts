import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { JOBS } from '#src/jobs/definitions.ts';

const ROOT = join(import.meta.dirname, '..', 'integration');
/** Where scenarios name the jobs between whose steps the process is killed; that these are really done, each scenario looks itself. */
const SCENARIOS = join(ROOT, 'reactions');

/** Jobs that are killed by tests of their own kind: the file and a part of the title. */
const ELSEWHERE: Readonly<Record<string, readonly [file: string, title: string]>> = {
  'federation.send_leave': ['federation/joins/handshakes.test.ts', 'at whichever step the process is killed'],
  'third_party_invites.sent': ['mail/kills.test.ts', 'the mail about an invitation to a room'],
  'mail.validation': ['mail/kills.test.ts', 'the mail that validates an address'],
  'mail.invitation': ['mail/kills.test.ts', 'the mail about an invitation to a room'],
  'mail.login_notice': ['mail/kills.test.ts', 'the mail about a login on a new device'],
  'mail.find_digests': ['mail/kills.test.ts', 'the mail about missed messages'],
  'mail.digest': ['mail/kills.test.ts', 'the mail about missed messages'],
  'mail.find_expiring': ['mail/kills.test.ts', 'the mail about an account that is about to expire'],
  'mail.expiry_notice': ['mail/kills.test.ts', 'the mail about an account that is about to expire'],
  'admin.run_task': ['admin/tasks.test.ts', 'wherever it is killed'],
  // The same runner, in another queue.
  'admin.run_update': ['admin/tasks.test.ts', 'wherever it is killed'],
};

describe('the jobs', () => {
  it('are all killed between their steps by a test', () => {
    const named = readdirSync(SCENARIOS)
      .filter((file) => file.endsWith('.test.ts'))
      .flatMap((file) => [...readFileSync(join(SCENARIOS, file), 'utf8').matchAll(/^ +jobs: \[(?<names>[^\]]*)\],$/gm)])
      .flatMap(({ groups }) => (groups?.['names'] ?? '').match(/[a-z_]+\.[a-z_]+/g) ?? []);
    for (const [job, [file, title]] of Object.entries(ELSEWHERE))
      expect(readFileSync(join(ROOT, file), 'utf8'), job).to.include(title);
    const killed = new Set([...named, ...Object.keys(ELSEWHERE)]);
    expect([...killed].toSorted()).to.deep.equal(JOBS.map(({ name }) => name).toSorted());
  });
});
