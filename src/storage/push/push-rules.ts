import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

/** A user's own rule, or their changes of a default rule. */
export interface PushRuleRecord {
  readonly user_nid: number;
  readonly kind: number;
  readonly rule_id: string;
  /** Null for a default rule. */
  readonly place: number | null;
  readonly enabled: boolean | null;
  /** JSON. */
  readonly content: string;
}

const OF_USERS = sql(
  'push_rules_of_users',
  'select user_nid, kind, rule_id, place, enabled, content from push_rules where user_nid = any($1::int[])',
);

/** The rules of these users that differ from the default rules. */
export const pushRulesOf = (database: Database, users: readonly number[]): Promise<PushRuleRecord[]> =>
  database.query<PushRuleRecord>(OF_USERS, [users]);
