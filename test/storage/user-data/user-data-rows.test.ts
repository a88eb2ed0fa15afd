import { expect } from 'chai';
import pg from 'pg';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { PUSH_RULE_KIND_NUMBERS, PUSH_RULE_KINDS } from '#src/protocol/push/push-ruleset.ts';
import { keptRulesFrom } from '#src/protocol/push/rule-rows.ts';
import { Database } from '#src/storage/database.ts';
import { pushRulesOf } from '#src/storage/push/push-rules.ts';
import { loadMigrations } from '#src/storage/migrator.ts';
import { emptyDatabase } from '#test/support/database.ts';

const NAME = 'Migration20261129165500_user_data_rows';
const ALICE = '@alice:test';

const RULES = {
  own: {
    override: [
      { rule_id: 'first', default: false, enabled: true, actions: ['notify'], conditions: [{ kind: 'x.y', z: [1] }] },
      { rule_id: 'second', default: false, enabled: false, actions: [], conditions: [] },
    ],
    content: [{ rule_id: 'cake', default: false, enabled: true, actions: ['notify'], pattern: 'ca?ke' }],
    room: [{ rule_id: '!a:test', default: false, enabled: true, actions: [] }],
  },
  defaults: {
    '.m.rule.master': { enabled: true },
    '.m.rule.message': { actions: ['notify', { set_tweak: 'sound', value: 'x' }] },
    '.m.rule.is_user_mention': { enabled: false, actions: [] },
  },
};

describe('tags and push rules that were one piece each', function () {
  this.timeout(60_000);
  let database: Database;
  let client: pg.Client;
  before(async () => {
    const url = await emptyDatabase();
    database = await Database.open({ url, logger: silentLogger, metrics: noMetrics });
    await database.migrate();
    client = new pg.Client({ connectionString: url });
    await client.connect();
    const found = (await loadMigrations()).find(({ name }) => name === NAME);
    // It only lists statements: there is nothing to connect to for that.
    const migration = new found!.class(undefined as never, undefined as never);
    await migration.down();
    for (const query of migration.getQueries()) await client.query(query as string);
    await client.query('delete from migrations where name = $1', [NAME]);
    const tags = (count: number): object =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`u.${i}`, { order: i / 7 }]));
    const pieces: readonly (readonly [user: number, room: number, type: string, content: string])[] = [
      [
        1,
        7,
        'm.tag',
        '{"tags":{"m.favourite":{"order":0.25,"x":["y"]},"u.work":{},"u.odd":{"order":"1"},"u.no":7},"z":1}',
      ],
      [1, 8, 'm.tag', JSON.stringify({ tags: tags(2_000) })],
      [1, 9, 'm.tag', '{"tags":[]}'],
      [2, 7, 'm.tag', '{"tags":{"nul\\u0000":{}}}'],
      [2, 8, 'm.tag', '{"tags":{"half\\ud800":{}}}'],
      [2, 9, 'm.tag', `{"tags":{"${'l'.repeat(3_000)}":{},"short":{}}}`],
      [2, 0, 'm.tag', '{"tags":{"mine":{}}}'],
      [1, 0, 'm.push_rules', JSON.stringify(RULES)],
      [2, 0, 'm.push_rules', '{"own":{},"defaults":{}}'],
      [1, 0, 'org.example', '{"a":"\\u0000"}'],
    ];
    for (const [index, [user, room, type, content]] of pieces.entries()) {
      await client.query('insert into account_data (user_nid, room, type, content, pos) values ($1, $2, $3, $4, $5)', [
        user,
        room,
        type,
        content,
        1_000 + index,
      ]);
    }
    await database.migrate();
  });
  after(async () => {
    await client.end();
    await database.close();
  });

  const tagsOf = async (user: number, room: number): Promise<Record<string, unknown>> => {
    const { rows } = await client.query<{ tag: string; content: string }>(
      'select tag, content from room_tags where user_nid = $1 and room = $2',
      [user, room],
    );
    return Object.fromEntries(rows.map(({ tag, content }) => [tag, JSON.parse(content) as unknown]));
  };
  const pieceOf = async (user: number, room: number, type: string): Promise<unknown> => {
    const { rows } = await client.query<{ content: string; pos: string }>(
      'select content, pos from account_data where user_nid = $1 and room = $2 and type = $3',
      [user, room, type],
    );
    return rows.map(({ content, pos }) => [JSON.parse(content), Number(pos)]);
  };

  it('become tags, one by one, each as it was', async () => {
    expect(await tagsOf(1, 7)).to.deep.equal({
      'm.favourite': { order: 0.25, x: ['y'] },
      'u.work': {},
      'u.odd': { order: '1' },
    });
    expect(await pieceOf(1, 7, 'm.tag')).to.deep.equal([[{ tags: { 'u.no': 7 }, z: 1 }, 1_000]]);
    expect(await pieceOf(1, 9, 'm.tag')).to.deep.equal([[{ tags: [] }, 1_002]]);
    expect(Object.keys(await tagsOf(1, 8))).to.have.length(2_000);
    expect((await tagsOf(1, 8))['u.1999']).to.deep.equal({ order: 1_999 / 7 });
    expect(await tagsOf(1, 9)).to.deep.equal({});
  });

  it('leave out what cannot be a row, and nothing else of anybody', async () => {
    expect([await tagsOf(2, 7), await tagsOf(2, 8), await tagsOf(2, 9)]).to.deep.equal([{}, {}, { short: {} }]);
    expect(await pieceOf(2, 7, 'm.tag')).to.deep.equal([[{ tags: {} }, 1_003]]);
    expect(await pieceOf(2, 0, 'm.tag')).to.deep.equal([[{ tags: { mine: {} } }, 1_006]]);
    expect(await pieceOf(1, 0, 'org.example')).to.deep.equal([[{ a: '\0' }, 1_009]]);
  });

  it('become push rules, in their order, and changes of those of the server', async () => {
    const rows = await pushRulesOf(database, [1, 2]);
    expect(new Set(rows.map((row) => row.user_nid))).to.deep.equal(new Set([1]));
    const { ruleset } = keptRulesFrom(
      rows.map((row) => ({
        kind: PUSH_RULE_KINDS.find((kind) => PUSH_RULE_KIND_NUMBERS[kind] === row.kind)!,
        ruleId: row.rule_id,
        place: row.place,
        enabled: row.enabled,
        content: row.content,
      })),
      ALICE,
    );
    const find = (kind: 'override' | 'underride', id: string): unknown =>
      ruleset[kind].find(({ rule_id: ruleId }) => ruleId === id);
    expect(ruleset.override.slice(1, 3)).to.deep.equal(RULES.own.override);
    expect(ruleset.content).to.deep.equal(RULES.own.content);
    expect(ruleset.room).to.deep.equal(RULES.own.room);
    expect(find('override', '.m.rule.master')).to.deep.include({ enabled: true, actions: [] });
    expect(find('underride', '.m.rule.message')).to.deep.include({
      enabled: true,
      actions: RULES.defaults['.m.rule.message'].actions,
    });
    expect(find('override', '.m.rule.is_user_mention')).to.deep.include({ enabled: false, actions: [] });
    expect(await pieceOf(1, 0, 'm.push_rules')).to.deep.equal([[{}, 1_007]]);
  });
});
