import { Migration } from '@mikro-orm/migrations';

const PATH = (name: string): string => `'{content,m.relates_to,${name}}'`;
/** What is hashed, as it is joined for new events. */
const SAID = [`e.text #>> ${PATH('event_id')}`, `e.text ->> 'sender'`, `e.text ->> 'type'`, `e.text #>> ${PATH('key')}`]
  .map((part) => `convert_to(${part}, 'UTF8')`)
  .join(` || '\\x00'::bytea || `);

/**
 * What an annotation says, as the first 48 bits of a hash: whether a user has said the same before is one look into an index, and not the
 * reading of all that they said. Of what there is, texts with escapes are left out: they may hold what PostgreSQL's text cannot.
 */
export class Migration20261130183000_annotations extends Migration {
  override up(): void {
    this.addSql('alter table events add column annotation bigint');
    this.addSql(
      `update events t set annotation = ('x0000' || substr(encode(sha256(${SAID}), 'hex'), 1, 12))::bit(64)::bigint
       from (
         select room, nid, json::json as text from events
         where rel_type = (select nid from strings where s = 'm.annotation') and redacted_by is null and strpos(json, '\\u') = 0
       ) e
       where t.room = e.room and t.nid = e.nid and json_typeof(e.text #> ${PATH('key')}) = 'string'`,
    );
    this.addSql('create index events_annotations on events (annotation) where annotation is not null');
  }

  override down(): void {
    this.addSql('drop index events_annotations');
    this.addSql('alter table events drop column annotation');
  }
}
