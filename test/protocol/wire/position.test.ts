import { expect } from 'chai';
import fc from 'fast-check';
import {
  covers,
  decodeRoomToken,
  decodeSyncToken,
  encodeRoomToken,
  encodeSyncToken,
  MAX_ROOMS_BEHIND,
  ORIGIN,
  positionOf,
  SHARDS,
  sequenceOf,
  shardOfName,
  shardOfPosition,
} from '#src/protocol/wire/position.ts';

const sequence = fc.oneof(fc.nat(1000), fc.integer({ min: 0, max: 2 ** 48 }));
const vector = fc.array(sequence, { minLength: SHARDS, maxLength: SHARDS }).map((all) => all.map(positionOf));
const ephemeral = fc.record({ run: fc.stringMatching(/^[a-z0-9]{1,12}$/), count: fc.nat() });

describe('positions', () => {
  it('give back the shard and the sequence that they were made of', () => {
    fc.assert(
      fc.property(sequence, fc.nat(SHARDS - 1), (count, shard) => {
        const position = positionOf(count, shard);
        expect(Number.isSafeInteger(position)).to.equal(true);
        expect([sequenceOf(position), shardOfPosition(position)]).to.deep.equal([count, shard]);
      }),
    );
  });

  it('are covered by the vectors that have reached them in their own shard, whatever the other shards say', () => {
    fc.assert(
      fc.property(vector, sequence, fc.nat(SHARDS - 1), (seen, count, shard) => {
        expect(covers(seen, positionOf(count, shard))).to.equal(count <= sequenceOf(seen[shard]!));
      }),
    );
    for (let shard = 0; shard < SHARDS; shard++) expect(covers(ORIGIN, positionOf(1, shard))).to.equal(false);
  });

  it('spread rooms and users over all shards about evenly', () => {
    for (const name of [(n: number) => `@user${n}:example.org`, (n: number) => `!${n.toString(36)}abc:t`, String]) {
      const counts = Array.from({ length: SHARDS }, () => 0);
      for (let n = 0; n < 16_000; n++) counts[shardOfName(name(n))]! += 1;
      for (const count of counts) expect(count).to.be.within(750, 1250);
    }
  });

  it('put a name into the same shard for ever', () => {
    expect(['@alice:example.org', '!room:example.org', '', 'é漢🙂'].map(shardOfName)).to.deep.equal([3, 7, 9, 13]);
  });
});

const behind = fc.dictionary(fc.constantFrom('a', 'd', 'z'), fc.nat(), { minKeys: 1, noNullPrototype: true });

describe('sync tokens', () => {
  it('say after the round trip which rooms were told up to where, in order and no more than may be', () => {
    const part = fc.record({
      after: fc.nat(2 ** 31),
      since: fc.oneof(vector, fc.constant(ORIGIN)),
      fullState: fc.boolean(),
    });
    const parts = fc.uniqueArray(part, { selector: ({ after }) => after, minLength: 1, maxLength: MAX_ROOMS_BEHIND });
    fc.assert(
      fc.property(vector, ephemeral, parts, fc.option(behind, { nil: undefined }), (seen, count, unordered, others) => {
        const rooms = unordered.toSorted((one, other) => one.after - other.after);
        const position = { vector: seen, ephemeral: count, rooms, ...(others === undefined ? {} : { behind: others }) };
        const token = encodeSyncToken(position);
        expect(decodeSyncToken(token)).to.deep.equal(position);
        expect(decodeURIComponent(token)).to.equal(token);
        const last = rooms.at(-1)!;
        expect(decodeSyncToken(encodeSyncToken({ ...position, rooms: [...rooms, last] }))).to.equal(undefined);
        const many = Array.from({ length: MAX_ROOMS_BEHIND + 1 }, (_, after) => ({ ...last, after }));
        expect(decodeSyncToken(encodeSyncToken({ ...position, rooms: many }))).to.equal(undefined);
        for (const bad of ['~', '~p', '~p1_', '~x1_AAAA', '~p1_AAAA', `~p${'z'.repeat(14)}_AAAA`])
          expect(decodeSyncToken(`${encodeSyncToken({ vector: seen, ephemeral: count })}${bad}`)).to.equal(undefined);
      }),
    );
  });

  it('say the same after the round trip', () => {
    fc.assert(
      fc.property(vector, ephemeral, (seen, count) => {
        const position = { vector: seen, ephemeral: count };
        expect(decodeSyncToken(encodeSyncToken(position))).to.deep.equal(position);
      }),
    );
  });

  it('say the same of streams of which less was told', () => {
    fc.assert(
      fc.property(vector, ephemeral, behind, (seen, count, less) => {
        const position = { vector: seen, ephemeral: count, behind: less };
        expect(decodeSyncToken(encodeSyncToken(position))).to.deep.equal(position);
      }),
    );
  });

  it('are made of characters that need no escaping in a URL', () => {
    fc.assert(
      fc.property(vector, ephemeral, behind, (seen, count, less) => {
        expect(encodeSyncToken({ vector: seen, ephemeral: count, behind: less })).to.match(/^[A-Za-z0-9._~-]+$/);
      }),
    );
  });

  it('are refused when cut short, lengthened or of another kind', () => {
    fc.assert(
      fc.property(vector, ephemeral, fc.nat(), (seen, count, at) => {
        const token = encodeSyncToken({ vector: seen, ephemeral: count });
        const rest = token.slice(token.indexOf('.') - count.run.length - 1);
        const body = token.slice('s1_'.length, -rest.length);
        expect(decodeSyncToken(`s1_${body.slice(0, at % 16)}${rest}`)).to.equal(undefined);
        expect(decodeSyncToken(`s1_${body}AAAA${rest}`)).to.equal(undefined);
        expect(decodeSyncToken(token.replace('s1_', 's2_'))).to.equal(undefined);
        expect(decodeSyncToken(token.replace('s1_', 't1_'))).to.equal(undefined);
      }),
    );
  });

  it('are refused when they are garbage', () => {
    for (const token of [
      '',
      's1_',
      's1__a.b',
      's1_AAAA_a.b',
      's1_!_a.b',
      's72594_4483_1934',
      `s1_${'_'.repeat(400)}_a.1`,
      `${encodeSyncToken({ vector: ORIGIN, ephemeral: { run: 'a', count: 0 } })}.`,
      `${encodeSyncToken({ vector: ORIGIN, ephemeral: { run: 'a', count: 0 } })}.d`,
      `${encodeSyncToken({ vector: ORIGIN, ephemeral: { run: 'a', count: 0 } })}.d-1`,
      `${encodeSyncToken({ vector: ORIGIN, ephemeral: { run: 'a', count: 0 } })}.d${'z'.repeat(400)}`,
      't1_1_1',
    ]) {
      expect(decodeSyncToken(token), token).to.equal(undefined);
    }
    fc.assert(
      fc.property(fc.string(), (text) => {
        const position = decodeSyncToken(text);
        if (position !== undefined) expect(position.vector).to.have.length(SHARDS);
      }),
    );
  });

  it('never hold a count that is no number one can compare with', () => {
    const vectorText = encodeSyncToken({ vector: ORIGIN, ephemeral: { run: 'a', count: 0 } }).split('_')[1];
    expect(decodeSyncToken(`s1_${vectorText}_a.${'z'.repeat(400)}`)).to.equal(undefined);
  });
});

describe('room tokens', () => {
  it('say the same after the round trip, for backfilled events too', () => {
    const number = fc.integer({ min: -(2 ** 52), max: 2 ** 52 });
    fc.assert(
      fc.property(number, number, fc.option(fc.nat()), fc.option(number), (topo, nid, upTo, within) => {
        const token = encodeRoomToken({ topo, nid }, { upTo: upTo ?? undefined, within: within ?? undefined });
        expect(decodeRoomToken(token)).to.deep.equal({
          topo,
          nid,
          ...(upTo === null ? {} : { upTo }),
          ...(within === null ? {} : { within }),
        });
      }),
    );
  });

  it('are refused when they are garbage', () => {
    for (const token of [
      '',
      't1_',
      't1_1',
      't1_1_',
      't1_-_1',
      't1_1_2_',
      't1_1_2_-3',
      't1_1_2_3_4',
      `t1_1_2_${'z'.repeat(400)}`,
      't1_A_1',
      't1_1.5_1',
      's1_1_1',
      `t1_${'z'.repeat(400)}_1`,
    ]) {
      expect(decodeRoomToken(token), token).to.equal(undefined);
    }
  });
});
