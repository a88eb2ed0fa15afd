import { expect } from 'chai';
import { killPoints } from '#test/support/mortal/kill-points.ts';
import type { Life, MortalServer } from '#test/support/mortal/mortal-server.ts';

/** Something that is done, and what must happen because of it. */
export interface KillScenario<Subject> {
  readonly title: string;
  /** Names of the jobs between whose steps the process is killed. */
  readonly jobs: readonly string[];
  readonly prepare: (life: Life) => Promise<Subject>;
  /** The request. Once it was answered, the rest happens whenever the process is killed. */
  readonly act: (life: Life, subject: Subject) => Promise<unknown>;
  /** What there is to see afterwards, and what there is to see where nothing was done. */
  readonly outcome: (life: Life, subject: Subject) => Promise<unknown>;
  readonly done: (subject: Subject) => unknown;
  readonly untouched: (subject: Subject) => unknown;
}

/**
 * Does what follows: what listeners and followers began, then the jobs, then what these began. So no step of the preparation falls among those that are
 * counted, and the steps come in the same order in each life.
 */
const settled = async (life: Life): Promise<void> => {
  await life.pass(0);
  await life.doJobs();
  await life.pass(0);
};

/** A test that kills a server before and after each step of a scenario, and looks what the next one makes of it. */
export const killedAnywhere = <Subject>(
  serverOf: () => MortalServer,
  { title, jobs, prepare, act, outcome, done, untouched }: KillScenario<Subject>,
): void => {
  it(title, async () => {
    const server = serverOf();
    const first = await server.begin();
    const subject = await prepare(first);
    await settled(first);
    first.jobsDone.clear();
    first.mortal.killAt(Infinity);
    await act(first, subject);
    await settled(first);
    const halfSteps = 2 * first.mortal.steps;
    expect(await outcome(first, subject)).to.deep.equal(done(subject));
    expect([...first.jobsDone]).to.include.members([...jobs]);
    await first.end();
    let acknowledged = 0;
    for (const kill of killPoints(halfSteps)) {
      const before = await server.begin();
      const doomed = await prepare(before);
      await settled(before);
      before.mortal.killAt(kill);
      const answered = await before.mortal.survives(() => act(before, doomed));
      if (answered) await before.mortal.survives(() => settled(before));
      const after = await server.begin();
      await settled(after);
      const seen = await outcome(after, doomed);
      // What was answered has been done; what was not has been done, or not at all.
      if (answered || JSON.stringify(seen) !== JSON.stringify(untouched(doomed)))
        expect(seen, `killed at half step ${kill} of ${halfSteps}`).to.deep.equal(done(doomed));
      if (answered) acknowledged += 1;
      await after.end();
    }
    expect(acknowledged, 'there are steps after the answer').to.be.above(0);
  });
};
