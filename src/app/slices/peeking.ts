import { EventStream } from '#src/services/sync/legacy/event-stream.ts';
import { InitialSync } from '#src/services/sync/legacy/initial-sync.ts';
import { Invitations } from '#src/services/sync/legacy/invitations.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';
import type { Commit } from './commit.ts';
import type { Ephemeral } from './ephemeral.ts';
import type { EventStreaming } from './event-stream.ts';
import type { Reading } from './reading.ts';
import type { RoomModel } from './room-model.ts';
import type { Sync } from './sync.ts';
import type { UserData } from './user-data.ts';

/** The event stream API of before /sync, and peeking into rooms. */
export interface Peeking {
  readonly eventStream: EventStream;
  readonly initialSync: InitialSync;
}

export function composePeeking(
  below: Platform & Commit & UserData & RoomModel & EventStreaming & Reading & Ephemeral & Pick<Sync, 'largeSyncs'>,
): Slice<Peeking> {
  const { access, accountData, clientEvents, database, ephemeral, history, ignoredUsers, interner, loader } = below;
  const { presence, rooms, roomState, stream, timers, visibility, writer } = below;
  const invitations = new Invitations({ loader, invitePermission: below.invitePermission, ignoredUsers });
  const { maxResponseBytes: maxBytes, maxTimelineBytes } = below.config.sync;
  const eventStream = new EventStream({
    maxTimelineBytes,
    maxBytes,
    largeSyncs: below.largeSyncs,
    database,
    interner,
    loader,
    rooms,
    access,
    stream,
    visibility,
    clientEvents,
    invitations,
    ignoredUsers,
    writer,
    ephemeral,
    timers,
  });
  const initialSync = new InitialSync({
    maxBytes,
    largeSyncs: below.largeSyncs,
    database,
    interner,
    rooms,
    access,
    history,
    roomState,
    clientEvents,
    accountData,
    presence,
    ignoredUsers,
    invitations,
    stream: eventStream,
  });
  return { name: 'peeking', services: { eventStream, initialSync } };
}
