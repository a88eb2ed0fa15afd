import Mocha, { type Context, type RootHookObject } from 'mocha';
import { disposeChildServers } from './child-server.ts';
import { stopTestPostgres } from './database.ts';
import { memberEventRecorder, recordMemberEvents } from './member-event-recorder.ts';
import { runningServers } from './in-process-server.ts';
import { recorder } from './schema-recorder.ts';

/** The last test of the run, whichever files it has: it checks the responses that all the others received. */
function everyResponseFollowsTheSpecification(root: Mocha.Suite): void {
  const suite = Mocha.Suite.create(root, 'the specification');
  suite.addTest(
    new Mocha.Test("every response follows the specification's schema", function (this: Context) {
      if (!recorder.available || recorder.checked === 0) this.skip();
      recorder.assertNoViolations();
    }),
  );
}

/** Another one: it checks the member events that all the others made. */
function everyMemberEventIsDeclared(root: Mocha.Suite): void {
  const suite = Mocha.Suite.create(root, 'a member event');
  suite.addTest(
    new Mocha.Test('is made by no endpoint, method or job that does not declare it', function (this: Context) {
      if (memberEventRecorder.recorded === 0) this.skip();
      memberEventRecorder.assertAllDeclared();
    }),
  );
}

/** Describes the unfinished work of a test that timed out, for the reporter. */
function printPendingWork(title: string): void {
  for (const server of runningServers) {
    console.log(`${title}: out of time\n${server.waitsFor()}`);
    server.doesInDatabase().then(console.log, console.log);
  }
}

process.on('test out of time' as never, printPendingWork as never);

/** Runs around the whole test run: everything that tests started is stopped at its end, also when they failed. */
export const mochaHooks: RootHookObject = {
  beforeAll(this: Context) {
    everyResponseFollowsTheSpecification(this.test!.parent!);
    everyMemberEventIsDeclared(this.test!.parent!);
    recordMemberEvents();
  },
  async afterAll(this: Context) {
    this.timeout(60_000);
    await disposeChildServers();
    await stopTestPostgres();
  },
};
