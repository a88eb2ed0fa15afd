import { expect } from 'chai';
import {
  BatchStatements,
  BatchTable,
  bigint,
  bigints,
  bytea,
  insertStep,
  int,
  type Step,
  text,
} from '#src/storage/batch-statement.ts';
import { sql } from '#src/storage/statement.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';

interface Cat {
  readonly id: number;
  readonly name: string | null;
  readonly litters: readonly number[];
}

interface Batch {
  readonly cats: readonly Cat[];
  readonly gone?: readonly number[];
}

const CATS = BatchTable.declare<Batch, Cat>({
  name: 'cats',
  rows: (batch) => batch.cats,
  key: (cat) => cat.id,
  columns: {
    id: int((cat) => cat.id),
    name: { ...text((cat) => cat.name), expression: (row) => `coalesce(${row}.name, ${row}.otherwise)` },
    otherwise: { ...text(() => 'たま'), isArgument: true },
    litters: bigints((cat) => cat.litters),
    tag: bytea((cat) => Buffer.from([cat.id])),
  },
});
const GONE = BatchTable.declare<Batch, number>({
  name: 'cats',
  rows: (batch) => batch.gone ?? [],
  columns: { id: bigint((id) => id) },
});
const DELETED: Step<Batch> = {
  name: 'deleted',
  tables: [GONE],
  text: (rows) => `delete from cats c using ${rows(GONE, 'g')} where c.id = g.id and c.id <> all(
  select k.id from ${rows(CATS, 'k', ['id'])}) returning c.id`,
};

describe('a batch statement', function () {
  this.timeout(60_000);

  const statements = new BatchStatements<Batch>(
    [
      { name: 'test_cats', steps: [insertStep(CATS, { after: 'returning id' })] },
      { name: 'test_cats_and_gone', steps: [DELETED] },
    ],
    (steps) => (steps.includes(DELETED) ? 'select id from deleted' : 'select id from new_cats'),
  );

  it('numbers its parameters in the order in which they are named, each column once, and reads their arrays by `unnest`', () => {
    expect(statements.sizes.map(({ statement }) => statement.text)).to.deep.equal([
      `with new_cats as (
insert into cats (id, name, litters, tag)
select n.id, coalesce(n.name, n.otherwise), n.litters::bigint[], n.tag
from unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::bytea[]) n(id, name, otherwise, litters, tag)
returning id
)
select id from new_cats`,
      `with new_cats as (
insert into cats (id, name, litters, tag)
select n.id, coalesce(n.name, n.otherwise), n.litters::bigint[], n.tag
from unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::bytea[]) n(id, name, otherwise, litters, tag)
returning id
), deleted as (
delete from cats c using unnest($6::bigint[]) g(id) where c.id = g.id and c.id <> all(
  select k.id from unnest($1::int[]) k(id)) returning c.id
)
select id from deleted`,
    ]);
  });

  it('refuses a step that names a column which is not declared', () => {
    const wrong: Step<Batch> = {
      name: 'wrong',
      tables: [],
      text: (rows) => `select 1 from ${rows(CATS, 'c', ['age'])}`,
    };
    const declare = (): unknown => new BatchStatements([{ name: 'test_wrong', steps: [wrong] }], () => 'select 1');
    expect(declare).to.throw('the table cats has no column age');
  });

  describe('with a database', () => {
    let clone: TestDatabase;
    before(async () => {
      clone = await cloneDatabase();
      await clone.database.query(
        sql('test_make_cats', 'create table cats (id int primary key, name text, litters bigint[], tag bytea)'),
      );
    });
    after(() => clone.drop());
    const stored = () =>
      clone.database.query(sql('test_all_cats', 'select id, name, litters, tag from cats order by id'));

    it('writes every row, of those with the same key the last, in one statement', async () => {
      const before = clone.database.statements();
      const cats = [
        { id: 1, name: 'みけ', litters: [3, 2 ** 50] },
        { id: 2, name: null, litters: [] },
        { id: 1, name: 'とら', litters: [4] },
      ];
      await statements.write(clone.database, { cats });
      expect(clone.database.statements() - before).to.equal(1);
      expect(await stored()).to.deep.equal([
        { id: 1, name: 'とら', litters: [4], tag: Buffer.from([1]) },
        { id: 2, name: 'たま', litters: [], tag: Buffer.from([2]) },
      ]);
    });

    it('is the smallest one that has what the batch needs', async () => {
      const texts: string[] = [];
      const watched = {
        query: (statement: { readonly name: string }, values: readonly unknown[]) => {
          texts.push(`${statement.name} with ${values.length}`);
          return Promise.resolve([]);
        },
      } as unknown as TestDatabase['database'];
      await statements.write(watched, { cats: [{ id: 5, name: null, litters: [] }] });
      await statements.write(watched, { cats: [], gone: [5] });
      expect(texts).to.deep.equal(['test_cats with 5', 'test_cats_and_gone with 6']);
    });
  });
});
