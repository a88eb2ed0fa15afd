import { expect } from 'chai';
import fc from 'fast-check';
import { Interner } from '#src/storage/room-model/interner.ts';
import type { Names, StateKeyNames } from '#src/storage/room-model/names.ts';
import { sql } from '#src/storage/statement.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';

const COUNTS = sql(
  'test_counts_of_names',
  `select (select count(*) from users) as users, (select count(*) from strings) as types,
     (select count(*) from state_keys) as keys`,
);

describe('the interner', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone.drop());

  const interner = (cacheBytes?: number): Interner =>
    new Interner(clone.database, (userId) => userId.endsWith(':here'), cacheBytes === undefined ? {} : { cacheBytes });
  const counts = async (): Promise<unknown> => (await clone.database.query(COUNTS))[0];
  const statements = async (work: () => Promise<unknown>): Promise<number> => {
    const before = clone.database.statements();
    await work();
    return clone.database.statements() - before;
  };

  it('gives every name one integer, for good, whoever asks and whenever', async () => {
    const [one, other] = [interner(), interner()];
    const wanted = {
      types: ['m.a', 'm.b'],
      users: ['@a:here', '@b:there'],
      stateKeys: [
        { type: 'm.a', stateKey: '' },
        { type: 'm.c', stateKey: '猫' },
      ],
    };
    const [first, second] = await Promise.all([one.ensure(wanted), other.ensure(wanted)]);
    const all = (names: Names): unknown => [
      ...wanted.types.map((type) => names.type(type)),
      ...wanted.users.map((user) => names.user(user)),
      ...wanted.stateKeys.map(({ type, stateKey }) => names.stateKey(type, stateKey)),
    ];
    expect(all(first)).to.deep.equal(all(second));
    expect(all(await interner().find(wanted))).to.deep.equal(all(first));
    const back = await interner().named({ users: [first.user('@a:here')], stateKeys: [first.stateKey('m.c', '猫')] });
    expect(back.userName(first.user('@a:here'))).to.equal('@a:here');
    expect(back.stateKeyNames(first.stateKey('m.c', '猫'))).to.deep.equal({ type: 'm.c', stateKey: '猫' });
  });

  it('creates nothing for those who only read, however many names they ask for', async () => {
    const reader = interner();
    const before = await counts();
    const invented = Array.from({ length: 3_000 }, (_, i) => `@invented${i}:nowhere`);
    const names = await reader.find({
      users: [...invented, '@NUL\0:x', `@${'long'.repeat(2_000)}:x`],
      types: ['m.invented', 'NUL\0'],
      stateKeys: [
        { type: 'm.invented', stateKey: 'x' },
        { type: 'm.room.member', stateKey: 'long'.repeat(2_000) },
        { type: 'm.room.member', stateKey: '\0' },
      ],
    });
    expect(names.peekUser(invented[0]!)).to.equal(undefined);
    expect(names.peekStateKey('m.invented', 'x')).to.equal(undefined);
    expect(await reader.findUser('@somebody:nowhere')).to.equal(undefined);
    expect(await counts()).to.deep.equal(before);
    expect(reader.bytes).to.be.below(1_000);
  });

  it('needs no statement for what was used lately', async () => {
    const warm = interner();
    const wanted = { types: ['m.warm'], users: ['@warm:here'], stateKeys: [{ type: 'm.warm', stateKey: 'key' }] };
    const names = await warm.ensure(wanted);
    expect(await statements(() => warm.ensure(wanted))).to.equal(0);
    expect(await statements(() => warm.find(wanted))).to.equal(0);
    expect(await statements(() => warm.named({ users: [names.user('@warm:here')] }))).to.equal(0);
    expect(await statements(() => warm.userNid('@warm:here'))).to.equal(0);
  });

  it('takes no more memory than it may, whatever is asked for; who asked keeps what they got', async () => {
    const small = interner(64 * 1024);
    const users = Array.from({ length: 2_000 }, (_, i) => `@many${i}:here`);
    const all = await small.ensure({ users });
    expect(small.bytes).to.be.at.most(64 * 1024);
    const numbers = users.map((userId) => all.user(userId));
    expect(new Set(numbers).size).to.equal(users.length);
    const named = await small.named({ users: numbers });
    expect(numbers.map((nid) => named.userName(nid))).to.deep.equal(users);
    expect(small.bytes).to.be.at.most(64 * 1024);
  });

  it('says the same under any eviction, also to many at once', async () => {
    const text = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g');
    const stateKey: fc.Arbitrary<StateKeyNames> = fc.record({ type: text.map((one) => `m.${one}`), stateKey: text });
    const request = fc.record({
      types: fc.array(
        text.map((one) => `m.${one}`),
        { maxLength: 4 },
      ),
      users: fc.array(
        text.map((one) => `@${one}:here`),
        { maxLength: 4 },
      ),
      stateKeys: fc.array(stateKey, { maxLength: 4 }),
      isWriting: fc.boolean(),
    });
    const truth = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(request, { minLength: 1, maxLength: 5 }), { maxLength: 6 }),
        async (rounds) => {
          const tiny = interner(1_500);
          for (const round of rounds) {
            await Promise.all(
              round.map(async ({ isWriting, ...wanted }) => {
                const names = await (isWriting ? tiny.ensure(wanted) : tiny.find(wanted));
                const check = (key: string, nid: number | undefined): void => {
                  if (isWriting) expect(nid, key).to.be.a('number');
                  if (nid === undefined) return;
                  expect(truth.get(key) ?? nid, key).to.equal(nid);
                  truth.set(key, nid);
                };
                for (const type of wanted.types) check(`type ${type}`, names.peekType(type));
                for (const userId of wanted.users) check(`user ${userId}`, names.peekUser(userId));
                for (const { type, stateKey: key } of wanted.stateKeys)
                  check(`key ${type} ${key}`, names.peekStateKey(type, key));
              }),
            );
            expect(tiny.bytes).to.be.at.most(1_500);
            const back = await tiny.named({
              users: [...truth].filter(([key]) => key.startsWith('user')).map(([, nid]) => nid),
            });
            for (const [key, nid] of truth)
              if (key.startsWith('user')) expect(`user ${back.userName(nid)}`).to.equal(key);
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
