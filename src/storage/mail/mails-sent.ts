import { type Database, sql } from '../database.ts';

const WAS_SENT = sql('mail_was_sent', 'select 1 from mails_sent where id = $1');
const NOTE = sql('mail_sent', 'insert into mails_sent (id, sent_ts) values ($1, $2) on conflict do nothing');
const CLEAN = sql(
  'mails_sent_clean',
  'delete from mails_sent where id = any(array(select id from mails_sent where sent_ts < $1 limit $2)) returning 1',
);

export const wasMailSent = async (database: Database, id: string): Promise<boolean> =>
  (await database.query(WAS_SENT, [id])).length > 0;

export const noteMailSent = async (database: Database, id: string, now: number): Promise<void> => {
  await database.query(NOTE, [id, now]);
};

/** Forgets up to `limit` mails that were sent before a time (milliseconds since the epoch). @returns how many */
export const forgetMailsSent = async (database: Database, before: number, limit: number): Promise<number> =>
  (await database.query(CLEAN, [before, limit])).length;
