import type { Database } from '../database.ts';
import { sql } from '../statement.ts';

const ROOMS = sql('awaited_redactions_rooms', 'select distinct room from awaited_redactions');
const OF = sql(
  'awaited_redactions_of',
  'select target, redaction from awaited_redactions where room = $1 and target = any($2::bytea[]) order by redaction',
);
const DONE = sql(
  'awaited_redactions_done',
  'delete from awaited_redactions where room = $1 and target = any($2::bytea[])',
);

/** A redaction whose target is not here. */
export interface AwaitedRedaction {
  readonly target: Buffer;
  /** Its position. */
  readonly redaction: number;
}

/** Rooms in which redactions wait for what they redact. */
export const roomsAwaitingRedacted = async (database: Database): Promise<readonly number[]> =>
  (await database.query<{ room: number }>(ROOMS)).map(({ room }) => room);

/** Redactions that wait for some events. */
export const redactionsAwaiting = (
  database: Database,
  room: number,
  targets: readonly Buffer[],
): Promise<AwaitedRedaction[]> => database.query<AwaitedRedaction>(OF, [room, targets]);

/** Nothing waits for these events any more. */
export const endAwaiting = async (database: Database, room: number, targets: readonly Buffer[]): Promise<void> => {
  await database.query(DONE, [room, targets]);
};
