import { expect } from 'chai';
import pg from 'pg';
import { OpenConnections } from '#src/storage/open-connections.ts';
import { silentLogger } from '#src/kernel/logger.ts';

describe('the connections of a database', () => {
  it('keep no pool that was closed, since its queues hang on it', async () => {
    const connections = new OpenConnections(silentLogger);
    for (let n = 0; n < 3; n++) {
      const pool = new pg.Pool();
      connections.watch(pool);
      expect(connections.pools).to.equal(1);
      await pool.end();
    }
    expect(connections.pools).to.equal(0);
  });
});
