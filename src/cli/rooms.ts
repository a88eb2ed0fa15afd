import { OPERATOR } from '#src/services/audit/actor.ts';
import { DAY_MS } from '#src/kernel/dates.ts';
import type { CliPorts } from './ports.ts';

export interface RoomCommandOptions {
  readonly room: string | undefined;
  readonly block: boolean;
  readonly force: boolean;
  readonly days: string | undefined;
  readonly deleteLocal: boolean;
}

/** Has a room deleted, or its old history purged, while the server is stopped: it is a task, and done when the server starts. */
export async function roomCommand(
  ports: CliPorts,
  files: readonly string[],
  what: 'delete' | 'purge-history',
  { block, days, deleteLocal, force, room }: RoomCommandOptions,
): Promise<number> {
  const age = Number(days);
  if (room === undefined || room === '') {
    ports.err(`room ${what} needs --room ROOM_ID.\n`);
    return 2;
  }
  if (what === 'purge-history' && !(Number.isInteger(age) && age > 0)) {
    ports.err('room purge-history needs --days N: what is older is purged.\n');
    return 2;
  }
  return ports.administrate(files, async ({ deletions, purges }) => {
    const id =
      what === 'delete'
        ? await deletions.start(OPERATOR, room, { block, purge: true, forcePurge: force })
        : await purges.start(OPERATOR, room, {
            eventId: undefined,
            ts: ports.now() - age * DAY_MS,
            deletesLocal: deleteLocal,
          });
    ports.out(`${room} is ${what === 'delete' ? 'deleted' : 'purged'} when the server starts, as task ${id}.\n`);
    return 0;
  });
}
