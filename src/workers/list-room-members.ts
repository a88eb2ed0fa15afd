import { listRoomMembers } from '#src/jobs/definitions.ts';
import { type JobHandler, jobHandler } from '#src/jobs/job-definition.ts';
import type { DirectoryEntries } from '#src/services/reading/user-directory/directory-entries.ts';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';

export const listRoomMembersHandler = (directory: DirectoryEntries, rooms: Pick<RoomRegistry, 'byNid'>): JobHandler =>
  jobHandler(listRoomMembers, async ({ room: nid }) => {
    const room = await rooms.byNid(nid);
    if (room?.isResident === true) await directory.listMembers(room);
    return undefined;
  });
