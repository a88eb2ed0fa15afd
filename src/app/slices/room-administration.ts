import { HistoryPurges, purgeHistoryKind } from '#src/services/admin/rooms/history-purges.ts';
import { RoomBlocks } from '#src/services/admin/rooms/room-blocks.ts';
import { deleteRoomKind, RoomDeletions } from '#src/services/admin/rooms/room-deletion.ts';
import { RoomList } from '#src/services/admin/rooms/room-list.ts';
import { RoomOperators } from '#src/services/admin/rooms/room-operators.ts';
import { RoomPurge } from '#src/services/admin/rooms/room-purge.ts';
import { RoomShutdown } from '#src/services/admin/rooms/room-shutdown.ts';
import { StoredEvents } from '#src/services/admin/rooms/stored-events.ts';
import type { AnyTaskKind } from '#src/services/admin/tasks/task.ts';
import { EVERYTHING_VISIBLE, UnrestrictedAccess } from '#src/services/reading/access/unrestricted-reading.ts';
import { ClientEvents } from '#src/services/reading/client-events/client-events.ts';
import { EventByTime } from '#src/services/reading/history/event-by-time.ts';
import { EventFinder } from '#src/services/reading/history/event-finder.ts';
import { HistoryPages, NO_PAST } from '#src/services/reading/history/history-pages.ts';
import { HistoryTokens } from '#src/services/reading/history/history-tokens.ts';
import { History } from '#src/services/reading/history/history.ts';
import { Aggregations } from '#src/services/reading/relations/bundled-aggregations.ts';
import { RoomState } from '#src/services/reading/state/room-state.ts';
import { OF_STATE, RoomOverviews } from '#src/services/rooms/directory/room-overviews.ts';
import { SpaceHierarchy } from '#src/services/rooms/spaces/space-hierarchy.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Tasks } from './admin-tasks.ts';
import type { Auditing } from './audit.ts';
import type { RoomClosing } from './closed-rooms.ts';
import type { Commit } from './commit.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Events } from './events.ts';
import type { FederationInbound } from './federation-inbound.ts';
import type { FederationJoins } from './federation-joins.ts';
import type { Outbound } from './federation-outbound.ts';
import { composeFollower } from './follower.ts';
import type { Media } from './media.ts';
import type { Memberships } from './membership.ts';
import type { PushRules } from './push-rules.ts';
import type { Reading } from './reading.ts';
import type { Retention } from './retention.ts';
import type { Rooms } from './rooms.ts';
import type { UserData } from './user-data.ts';
import type { Users } from './users.ts';
import type { RoomModel } from './room-model.ts';

/** Administration of rooms. */
export interface RoomAdministration {
  readonly roomList: RoomList;
  readonly roomBlocks: RoomBlocks;
  readonly storedEvents: StoredEvents;
  readonly roomDeletions: RoomDeletions;
  readonly historyPurges: HistoryPurges;
  readonly roomOperators: RoomOperators;
  /** The long-running parts. */
  readonly roomTasks: readonly AnyTaskKind[];
  readonly roomOverviews: RoomOverviews;
  /** The same as for users, without regard to history visibility. */
  readonly everyHistory: History;
  readonly everyRoomState: RoomState;
  readonly everyEventByTime: EventByTime;
  readonly everyHierarchy: SpaceHierarchy;
}

const NO_USERS: Promise<ReadonlySet<string>> = Promise.resolve(new Set<string>());

export function composeRoomAdministration(
  below: Platform &
    Auditing &
    Tasks &
    Commit &
    Users &
    UserData &
    RoomModel &
    EventStreaming &
    Events &
    Reading &
    RoomClosing &
    FederationJoins &
    Memberships &
    Rooms &
    Retention &
    Media &
    PushRules &
    Outbound &
    FederationInbound,
): Slice<RoomAdministration> {
  const { auditLog: audit, clock, closedRooms: closed, config, database, events, interner, loader, rooms } = below;
  const { relationIndex: index, states } = below;
  const {
    accountData,
    adminTasks: tasks,
    aliases,
    followedThreads,
    logger,
    joins,
    membership,
    purge,
    stream,
    timers,
  } = below;
  const { extremityMerger: merger, federationOutbound: outbound, mediaReferences: media, users, writer } = below;
  const overviews = new RoomOverviews(database);
  const { follower, close } = composeFollower(below, {
    name: 'room_overviews',
    types: [],
    containing: OF_STATE,
    take: (batch) => overviews.take(batch),
  });
  const access = new UnrestrictedAccess(rooms);
  const visibility = EVERYTHING_VISIBLE;
  const ignoresNobody = { of: () => NO_USERS };
  const aggregations = new Aggregations({
    index,
    loader,
    visibility,
    clock,
    ignoredUsers: ignoresNobody.of,
    maxBytes: config.http.maxPageBytes,
  });
  const roomState = new RoomState({
    access,
    wholeState: below.wholeState,
    visibility,
    clock,
    database,
    interner,
    loader,
    states,
  });
  const pages = new HistoryPages({
    maxBytes: config.http.maxPageBytes,
    database,
    interner,
    loader,
    visibility,
    ignoredUsers: ignoresNobody,
  });
  const eventByTime = new EventByTime({ access, database, loader, visibility, past: NO_PAST });
  const roomBlocks = new RoomBlocks({ database, audit, closed, clock });
  const roomPurge = new RoomPurge({
    database,
    rooms,
    loader,
    writer,
    stream,
    closed,
    media,
    remote: below.remoteJoins,
    outbound,
    caches: [accountData, followedThreads],
    clock,
    timers,
    logger,
    batchSize: config.retention.batchSize,
    pauseMs: config.retention.pauseMs,
  });
  const creation = below.roomCreation;
  const shutdown = new RoomShutdown({ database, interner, rooms, events, joins, membership, creation, logger });
  const deleteRoom = deleteRoomKind(shutdown, roomPurge);
  const purgeHistory = purgeHistoryKind({ database, rooms, purge });
  const isLocal = (userId: string): boolean => events.isLocal(userId);
  return {
    name: 'room administration',
    services: {
      roomList: new RoomList({ database, rooms, follower }),
      roomBlocks,
      roomDeletions: new RoomDeletions({
        database,
        rooms,
        tasks,
        blocks: roomBlocks,
        kind: deleteRoom,
        isLocal,
        clock,
      }),
      historyPurges: new HistoryPurges({
        database,
        rooms,
        loader,
        eventByTime,
        wholeState: below.wholeState,
        tasks,
        kind: purgeHistory,
      }),
      roomOperators: new RoomOperators({
        database,
        audit,
        rooms,
        loader,
        events,
        aliases,
        joins,
        membership,
        users,
        merger,
      }),
      roomTasks: [deleteRoom, purgeHistory],
      roomOverviews: overviews,
      storedEvents: new StoredEvents({ database, rooms, loader, clock }),
      everyHistory: new History({
        access,
        finder: new EventFinder(events, visibility),
        pages,
        tokens: new HistoryTokens(database, loader),
        state: roomState,
        writer: new ClientEvents(clock, aggregations, events.sticky),
      }),
      everyRoomState: roomState,
      everyEventByTime: eventByTime,
      everyHierarchy: new SpaceHierarchy({
        database,
        rooms,
        openness: { isOpenTo: () => Promise.resolve(true), isSummaryOpenTo: () => Promise.resolve(true) },
        remote: { find: () => Promise.resolve(undefined) },
        clock,
        serverName: config.serverName,
      }),
    },
    start: () => follower.start(),
    idle: () => follower.idle(),
    close,
  };
}
