import { expect } from 'chai';
import { connectionKey, type ConnectionName, Connections } from '#src/services/sync/sliding/connections.ts';
import { Connection, type SentRoom } from '#src/services/sync/sliding/connection.ts';

const CHANGE = { vector: [], count: 0, rooms: new Map(), counts: new Map(), keys: undefined, profiles: undefined };

describe('a connection of sliding sync', () => {
  it('weighs its last answer, and the request for it, beside its rooms, and nothing of them when the client has it', () => {
    const connection = new Connection('run');
    const empty = connection.size;
    connection.answer('d'.repeat(256_000), CHANGE, () => 'x'.repeat(256_000));
    expect(connection.size - empty).to.equal(512_000);
    expect(connection.goTo(1)).to.equal(true);
    expect(connection.size).to.equal(empty);
  });

  it('counts bytes of sent members, and the required_state of a list once', () => {
    const connection = new Connection('run');
    const empty = connection.size;
    const wanted = 'w'.repeat(10_000);
    const sent: SentRoom = {
      vector: [],
      count: 0,
      timelineLimit: 1,
      wanted,
      membership: 'join',
      isDm: false,
      lazy: new Map(Array.from({ length: 1_000 }, (_, n) => [`@user${n}:test`, n])),
      notification: 0,
      highlight: 0,
    };
    connection.answer('', { ...CHANGE, rooms: new Map(Array.from({ length: 10 }, (_, n) => [n, sent])) }, () => '');
    expect(connection.goTo(1)).to.equal(true);
    expect(connection.size - empty).to.be.within(10_000 + 10 * 64_000, 20_000 + 10 * 66_000);
  });

  it('gives its last answer back when it rests, and knows its positions all the same', () => {
    const connections = new Connections(1_000_000);
    const name = { userId: '@alice:test', deviceId: 'PHONE', connId: 'a' };
    const connection = new Connection('run');
    const empty = connection.size;
    connection.answer('asked', CHANGE, () => 'x'.repeat(256_000));
    connections.keep(name, connection);
    expect(connection.answered('asked')).to.have.length(256_000);
    connections.rest(connectionKey(name));
    expect(connection.answered('asked')).to.equal(undefined);
    expect(connection.size).to.equal(empty);
    expect(connection.goTo(1)).to.equal(true);
  });

  it('makes room for its answer, though it was there before: others that were not used for longer go', () => {
    const connections = new Connections(256_000);
    const named = (connId: string): ConnectionName => ({ userId: '@alice:test', deviceId: 'PHONE', connId });
    const [first, second] = [new Connection('first'), new Connection('second')];
    connections.keep(named('first'), first);
    connections.keep(named('second'), second);
    second.answer('', CHANGE, () => 'x'.repeat(254_950));
    connections.keep(named('second'), second);
    expect(connections.get(named('first'))).to.equal(undefined);
    expect(connections.get(named('second'))).to.equal(second);
  });

  it('weighs the names of its lists and fields, and the users of whom it is still to tell', () => {
    const connection = new Connection('run');
    const empty = connection.size;
    const asked = {
      ...CHANGE,
      counts: new Map([['l'.repeat(256_000), 1]]),
      profiles: { fields: ['f'.repeat(256_000)], due: Array.from({ length: 3_200 }, (_, n) => `@user${n}:test`) },
    };
    connection.answer('', asked, () => '');
    expect(connection.size - empty).to.equal(537_600);
    expect(connection.goTo(1)).to.equal(true);
    expect(connection.size - empty).to.equal(537_600);
    connection.answer('', CHANGE, () => '');
    expect(connection.goTo(2)).to.equal(true);
    expect(connection.size).to.equal(empty);
  });

  it('gives each answer a position of its own, and knows only that of the last one', () => {
    const connection = new Connection('run');
    const numbers: number[] = [];
    const answer = (): string =>
      connection.answer(String(numbers.length), CHANGE, (number) => {
        numbers.push(number);
        return '';
      });
    answer();
    answer();
    expect(new Set(numbers).size).to.equal(2);
    const [first = 0, second = 0] = numbers;
    expect(connection.goTo(first)).to.equal(false);
    expect(connection.goTo(second)).to.equal(true);
    answer();
    expect(new Set(numbers).size).to.equal(3);
  });

  it('stays at its position when there is nothing to tell, and knows more there', () => {
    const connection = new Connection('run');
    connection.answer('', CHANGE, () => '');
    expect(connection.goTo(1)).to.equal(true);
    connection.settle({ ...CHANGE, vector: [7] });
    expect([connection.number, connection.state.vector]).to.deep.equal([1, [7]]);
    connection.answer('', CHANGE, (number) => {
      expect(number).to.equal(2);
      return '';
    });
  });

  it('that was saved is the same connection again: at both of its positions, and giving no number twice', () => {
    const connection = new Connection('run');
    for (let n = 0; n < 3; n++) connection.answer(String(n), { ...CHANGE, vector: [n] }, () => '');
    const again = (): Connection => new Connection('run', connection.kept);
    expect(again().goTo(0)).to.equal(true);
    expect(again().goTo(2)).to.equal(false);
    const last = again();
    expect(last.goTo(3)).to.equal(true);
    expect(last.state.vector).to.deep.equal([2]);
    again().answer('', CHANGE, (number) => {
      expect(number).to.equal(4);
      return '';
    });
  });
});
