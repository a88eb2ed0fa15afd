import { expect } from 'chai';
import fc from 'fast-check';
import { binaryArray, type ElementKinds } from '#src/storage/binary-array.ts';
import { sql } from '#src/storage/statement.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';

/** Values of each type, odd ones among them. */
const VALUES: { readonly [Type in keyof ElementKinds]: fc.Arbitrary<ElementKinds[Type]> } = {
  smallint: fc.integer({ min: -(2 ** 15), max: 2 ** 15 - 1 }),
  int: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  bigint: fc.oneof(fc.maxSafeInteger(), fc.constantFrom(0, -1, 2 ** 32, -(2 ** 32), 2 ** 32 - 1, -(2 ** 31) - 1)),
  'double precision': fc.double({ noDefaultInfinity: true, noNaN: true }),
  boolean: fc.boolean(),
  text: fc.oneof(
    fc.string({ unit: 'binary' }).map((text) => text.replaceAll('\0', '')),
    fc.constantFrom('', 'null', 'NULL', '{}', '"', '\\', '{"a":"\\u0000\\\\"}', 'こんにちは', '😀'),
  ),
  uuid: fc.uuid(),
  bytea: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
};

describe('an array for PostgreSQL', () => {
  let test: TestDatabase;
  before(async () => {
    test = await cloneDatabase();
  });
  after(() => test.drop());

  for (const type of Object.keys(VALUES) as (keyof ElementKinds)[]) {
    it(`arrives as it was: ${type}`, async () => {
      const read = sql(
        `test_array_${type.replace(' ', '_')}`,
        `select v from unnest($1::${type}[]) with ordinality u(v, n) order by n`,
      );
      const values = fc.array(fc.option(VALUES[type] as fc.Arbitrary<never>), { maxLength: 20 });
      await fc.assert(
        fc.asyncProperty(values, async (sent) => {
          const rows = await test.database.query<{ v: unknown }>(read, [binaryArray(type, sent)]);
          expect(rows.map(({ v }) => v)).to.deep.equal(sent);
        }),
        { numRuns: 60 },
      );
    });
  }

  it('with half a character in a text has a character in its place, as it had in the text form', async () => {
    const read = sql('test_array_half', 'select v from unnest($1::text[]) u(v)');
    const [row] = await test.database.query<{ v: string }>(read, [binaryArray('text', ['a\ud800b'])]);
    const [other] = await test.database.query<{ v: string }>(read, [['a\ud800b']]);
    expect(row?.v).to.equal(other?.v);
  });
});
