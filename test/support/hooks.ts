import type { RootHookObject } from 'mocha';
import { stopTestPostgres } from './database.ts';

/** Runs around the whole test run: what tests started is gone when it ends, also when they failed. */
export const mochaHooks: RootHookObject = {
  async afterAll() {
    await stopTestPostgres();
  },
};
