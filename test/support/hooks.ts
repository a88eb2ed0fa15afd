import type { Context, RootHookObject } from 'mocha';
import { disposeChildServers } from './child-server.ts';
import { stopTestPostgres } from './database.ts';

/** Runs around the whole test run: what tests started is gone when it ends, also when they failed. */
export const mochaHooks: RootHookObject = {
  async afterAll(this: Context) {
    this.timeout(30_000);
    await disposeChildServers();
    await stopTestPostgres();
  },
};
