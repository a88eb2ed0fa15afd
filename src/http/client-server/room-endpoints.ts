import type { DelayedEventService } from '#src/services/rooms/delayed-events/delayed-event-service.ts';
import type { AliasService } from '#src/services/rooms/aliases/alias-service.ts';
import type { PublicRooms } from '#src/services/rooms/directory/public-rooms.ts';
import type { MembershipService } from '#src/services/rooms/membership/membership-service.ts';
import type { MutualRooms } from '#src/services/rooms/membership/mutual-rooms.ts';
import type { Relations } from '#src/services/reading/relations/relations.ts';
import type { ThirdPartyInvites } from '#src/services/rooms/third-party-invites/third-party-invites.ts';
import type { ThreadsList } from '#src/services/reading/relations/threads-list.ts';
import type { EventByTime } from '#src/services/reading/history/event-by-time.ts';
import type { History } from '#src/services/reading/history/history.ts';
import type { RoomCreationService } from '#src/services/rooms/creation/room-creation.ts';
import type { RoomSending } from '#src/services/rooms/sending/room-sending.ts';
import type { RoomState } from '#src/services/reading/state/room-state.ts';
import type { RoomSummaries } from '#src/services/rooms/directory/room-summaries.ts';
import type { SpaceHierarchy } from '#src/services/rooms/spaces/space-hierarchy.ts';
import type { Endpoint } from '../endpoint.ts';
import { banningEndpoints } from './banning.ts';
import { createRoomEndpoints } from './create_room.ts';
import { directoryEndpoints } from './directory.ts';
import { eventContextEndpoints } from './event_context.ts';
import { invitingEndpoints } from './inviting.ts';
import { joiningEndpoints } from './joining.ts';
import { kickingEndpoints } from './kicking.ts';
import { knockingEndpoints } from './knocking.ts';
import { leavingEndpoints } from './leaving.ts';
import { listJoinedRoomsEndpoints } from './list_joined_rooms.ts';
import { listPublicRoomsEndpoints } from './list_public_rooms.ts';
import { messagePaginationEndpoints } from './message_pagination.ts';
import { mutualRoomsEndpoints } from './mutual_rooms.ts';
import { redactionEndpoints } from './redaction.ts';
import { relationsEndpoints } from './relations.ts';
import { roomEventByTimestampEndpoints } from './room_event_by_timestamp.ts';
import { roomSendEndpoints } from './room_send.ts';
import { roomStateEndpoints } from './room_state.ts';
import { roomSummaryEndpoints } from './room_summary.ts';
import { roomsEndpoints } from './rooms.ts';
import { spaceHierarchyEndpoints } from './space_hierarchy.ts';
import { threadsListEndpoints } from './threads_list.ts';

/** What the endpoints about rooms call. */
export interface RoomEndpointServices {
  readonly aliases: AliasService;
  readonly delayedEvents: DelayedEventService;
  readonly publicRooms: PublicRooms;
  readonly membership: MembershipService;
  readonly history: History;
  readonly roomCreation: RoomCreationService;
  readonly roomSending: RoomSending;
  readonly roomState: RoomState;
  readonly relations: Relations;
  readonly threads: ThreadsList;
  readonly eventByTime: EventByTime;
  readonly roomSummaries: RoomSummaries;
  readonly hierarchy: SpaceHierarchy;
  readonly mutualRooms: MutualRooms;
  readonly thirdPartyInvites: ThirdPartyInvites;
}

/** Every endpoint about rooms, their members, their history and the directory. */
export const roomEndpoints = (services: RoomEndpointServices): readonly Endpoint[] =>
  [
    createRoomEndpoints,
    joiningEndpoints,
    knockingEndpoints,
    invitingEndpoints,
    leavingEndpoints,
    kickingEndpoints,
    banningEndpoints,
    listJoinedRoomsEndpoints,
    roomSendEndpoints,
    roomStateEndpoints,
    redactionEndpoints,
    roomsEndpoints,
    messagePaginationEndpoints,
    eventContextEndpoints,
    relationsEndpoints,
    threadsListEndpoints,
    roomEventByTimestampEndpoints,
    roomSummaryEndpoints,
    spaceHierarchyEndpoints,
    mutualRoomsEndpoints,
    directoryEndpoints,
    listPublicRoomsEndpoints,
  ].flatMap((group) => group(services));
