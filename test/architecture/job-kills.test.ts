import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'chai';
import { JOBS } from '#src/jobs/definitions.ts';

const ROOT = join(import.meta.dirname, '..', 'integration');
/** Where scenarios name the jobs between whose steps the process is killed; that these are really done, each scenario looks itself. */
const SCENARIOS = [
  ...readdirSync(join(ROOT, 'reactions')).map((file) => join(ROOT, 'reactions', file)),
  join(ROOT, 'mail', 'kills.test.ts'),
];

/** Jobs that are killed by tests of their own kind: the file and a part of the title. */
const ELSEWHERE: Readonly<Record<string, readonly [file: string, title: string]>> = {
  'federation.send_leave': ['federation/joins/handshakes.test.ts', 'at whichever step the process is killed'],
  'admin.run_task': ['admin/tasks.test.ts', 'wherever it is killed'],
  'admin.run_update': ['admin/task-kills.test.ts', 'writes the user directory anew'],
};

describe('the jobs', () => {
  it('are all killed between their steps by a test', () => {
    const named = SCENARIOS.filter((file) => file.endsWith('.test.ts'))
      .flatMap((file) => [...readFileSync(file, 'utf8').matchAll(/^ +jobs: \[(?<names>[^\]]*)\],$/gm)])
      .flatMap(({ groups }) => (groups?.['names'] ?? '').match(/[a-z_]+\.[a-z_]+/g) ?? []);
    for (const [job, [file, title]] of Object.entries(ELSEWHERE))
      expect(readFileSync(join(ROOT, file), 'utf8'), job).to.include(title);
    const killed = new Set([...named, ...Object.keys(ELSEWHERE)]);
    expect([...killed].toSorted()).to.deep.equal(JOBS.map(({ name }) => name).toSorted());
  });
});
