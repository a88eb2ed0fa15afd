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

  it('weighs the names of its lists and fields, and the users of whom it is still to tell', () => {
    const connection = new Connection<string>('run');
    const empty = connection.size;
    const asked = {
      ...CHANGE,
      counts: new Map([['l'.repeat(256_000), 1]]),
      profiles: { fields: ['f'.repeat(256_000)], due: Array.from({ length: 3_200 }, (_, n) => `@user${n}:test`) },
    };
    connection.answer('', asked, () => '');
    expect(connection.size - empty).to.equal(2_100);
    expect(connection.goTo(1)).to.equal(true);
    expect(connection.size - empty).to.equal(2_100);
    connection.answer('', CHANGE, () => '');
    expect(connection.goTo(2)).to.equal(true);
    expect(connection.size).to.equal(empty);
  });
});
