/** One SQL statement that is prepared once per connection under its name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

const textsByName = new Map<string, string>();

/**
 * Declares a statement, once, at module level.
 *
 * @param name unique in the whole program, at most 63 bytes (PostgreSQL cuts longer ones); shows up in metrics
 * @param text SQL with `$1`, `$2` ... as parameters
 * @throws if another text was declared under the same name: two statements would be prepared as one
 */
export function sql(name: string, text: string): Statement {
  const known = textsByName.get(name);
  if (known !== undefined && known !== text) throw new Error(`two SQL statements are named ${name}`);
  if (Buffer.byteLength(name) > 63) throw new Error(`the name of SQL statement ${name} is longer than 63 bytes`);
  textsByName.set(name, text);
  return { name, text };
}

/**
 * A CTE for a statement that is a transaction of its own, and whose loss in a crash of PostgreSQL costs nothing but doing it again: a `with`
 * that begins so does not wait until the log is on disk, and so keeps no message waiting that is committed meanwhile. What is committed later
 * and does wait takes it along. It takes effect where the statement reads from `unhurried`.
 */
export const UNHURRIED = `unhurried as materialized (select set_config('synchronous_commit', 'off', true) as setting)`;
