import { expect } from 'chai';
import { Connection } from '#src/services/sync/sliding/connection.ts';

const CHANGE = { vector: [], count: 0, rooms: new Map(), counts: new Map(), keys: undefined, profiles: undefined };

describe('a connection of sliding sync', () => {
  it('weighs its last answer, and the request for it, beside its rooms, and nothing of them when the client has it', () => {
    const connection = new Connection<string>('run');
    const empty = connection.size;
    connection.answer('d'.repeat(256_000), CHANGE, () => 'x'.repeat(256_000));
    expect(connection.size - empty).to.equal(2_000);
    expect(connection.goTo(1)).to.equal(true);
    expect(connection.size).to.equal(empty);
  });
});
