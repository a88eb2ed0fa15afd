import { expect } from 'chai';
import { killPoints } from '#test/support/mortal/kill-points.ts';
import type { Life, MortalServer } from '#test/support/mortal/mortal-server.ts';

/** A task of administrators, and what there is once it is done. */
export interface TaskScenario<Subject> {
  readonly title: string;
  /** The kind of the task. */
  readonly task: string;
  readonly prepare: (life: Life) => Promise<Subject>;
  /** Starts the task. @returns its id */
  readonly start: (life: Life, subject: Subject) => Promise<string>;
  /** Asserts that everything is done, and once. @param when says in a failure when the process was killed */
  readonly assertDone: (life: Life, subject: Subject, id: string, when: string) => Promise<void>;
}

/**
 * A test that kills a server before and after each step of a task, each time of another one, and looks what the next life of the server makes of it. That life
 * is also the one that is killed next.
 */
export const taskKilledAnywhere = <Subject>(
  serverOf: () => MortalServer,
  { assertDone, prepare, start, task, title }: TaskScenario<Subject>,
): void => {
  it(title, async () => {
    const server = serverOf();
    let life = await server.begin();
    const run = async (kill: number): Promise<number> => {
      const subject = await prepare(life);
      await life.doJobs();
      await life.pass(0);
      const id = await start(life, subject);
      const { mortal } = life;
      mortal.killAt(kill);
      await mortal.survives(() => life.doJobs());
      const { steps } = mortal;
      if (mortal.isDead) life = await server.begin();
      mortal.killAt(Infinity);
      await life.doJobs();
      const when = kill === Infinity ? 'not killed' : `killed at half step ${kill}`;
      expect(await life.services.adminTasks.get(id), when).to.deep.include({
        action: task,
        status: 'complete',
      });
      await assertDone(life, subject, id, when);
      return steps;
    };
    const halfSteps = 2 * (await run(Infinity));
    for (const kill of killPoints(halfSteps)) await run(kill);
    await life.end();
  });
};
