import Mocha, { type Context, type RootHookObject } from 'mocha';
import { disposeChildServers } from './child-server.ts';
import { stopTestPostgres } from './database.ts';
import { recorder } from './schema-recorder.ts';

/** The last test of the run, whichever files it consists of: it judges what all the others received. */
function everyResponseFollowsTheSpecification(root: Mocha.Suite): void {
  const suite = Mocha.Suite.create(root, 'the specification');
  suite.addTest(
    new Mocha.Test("every response follows the specification's schema", function (this: Context) {
      if (!recorder.available || recorder.checked === 0) this.skip();
      recorder.assertNoViolations();
    }),
  );
}

/** Runs around the whole test run: what tests started is gone when it ends, also when they failed. */
export const mochaHooks: RootHookObject = {
  beforeAll(this: Context) {
    everyResponseFollowsTheSpecification(this.test!.parent!);
  },
  async afterAll(this: Context) {
    this.timeout(30_000);
    await disposeChildServers();
    await stopTestPostgres();
  },
};
