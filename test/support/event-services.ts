import { FOLLOW_UPS } from '#src/app/slices/events.ts';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { systemClock } from '#src/kernel/clock.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { EventService, type EventServiceOptions } from '#src/services/events/stream/event-service.ts';
import { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { StateStore } from '#src/services/room-model/state/state-store.ts';
import { Writer, type WriterOptions } from '#src/services/commit/writer.ts';
import type { Database } from '#src/storage/database.ts';
import { Interner } from '#src/storage/room-model/interner.ts';

export const SERVER = 'example.org';
export const ALICE = `@alice:${SERVER}`;
export const BOB = `@bob:${SERVER}`;

const signingKey = generateSigningKey((count) => systemRandom.bytes(count));

/** The services that make and store events, as one process has them. */
export interface EventServices {
  readonly database: Database;
  readonly interner: Interner;
  readonly loader: EventLoader;
  readonly states: StateStore;
  readonly rooms: RoomRegistry;
  readonly writer: Writer;
  readonly stream: RoomEventStream;
  readonly events: EventService;
}

/**
 * Composes them on a database; whoever composes them again takes the database over, as a restarted process does. By hand, since tests of
 * how events are built, received and written count statements and bytes of these alone, replace the writer's bounds, and run several on
 * one database at once.
 */
export async function eventServices(
  database: Database,
  writerOptions: Partial<WriterOptions> = {},
  more: Pick<Partial<EventServiceOptions>, 'clock' | 'mostStickyEvents'> = {},
): Promise<EventServices> {
  const interner = new Interner(database, (userId) => userId.endsWith(`:${SERVER}`));
  const loader = new EventLoader(database);
  const states = new StateStore(database);
  const rooms = new RoomRegistry(database, interner, loader, states);
  const writer = new Writer({
    database,
    clock: systemClock,
    timers: systemTimers,
    logger: silentLogger,
    metrics: noMetrics,
    ...writerOptions,
  });
  await writer.start();
  const stream = new RoomEventStream(silentLogger);
  const events = new EventService({
    database,
    interner,
    loader,
    rooms,
    writer,
    stream,
    followUps: FOLLOW_UPS,
    clock: systemClock,
    random: systemRandom,
    classifier: {
      prepare: () => undefined,
      classify: () => ({ notifies: true, highlightsAll: false, notifiesFollowers: false, exceptions: [] }),
    },
    signer: { serverName: SERVER, signingKey },
    ...more,
  });
  return { database, interner, loader, states, rooms, writer, stream, events };
}

export const message = (sender: string, body: string): EventDraft => ({
  type: 'm.room.message',
  sender,
  content: { msgtype: 'm.text', body },
});

export const membership = (sender: string, target: string, is: string, more: JsonObject = {}): EventDraft => ({
  type: 'm.room.member',
  sender,
  stateKey: target,
  content: { membership: is, ...more },
});

export const topic = (sender: string, text: string): EventDraft => ({
  type: 'm.room.topic',
  sender,
  stateKey: '',
  content: { topic: text },
});

/** Makes a room that anybody may join, with everybody allowed to set its state. */
export async function makeRoom(
  { events }: Pick<EventServices, 'events'>,
  creator = ALICE,
  version = '12',
  more: (roomId: string) => readonly EventDraft[] = () => [],
): Promise<Room> {
  const rules = roomVersion(version)!;
  const users = rules.auth.privilegedCreators ? {} : { [creator]: 100 };
  const room = await events.createRoom({
    version: rules,
    creator,
    createContent: { room_version: version, ...(rules.auth.implicitCreator ? {} : { creator }) },
    isPublic: false,
    events: (roomId) => [
      membership(creator, creator, 'join'),
      { type: 'm.room.power_levels', sender: creator, stateKey: '', content: { users, state_default: 0, redact: 50 } },
      { type: 'm.room.join_rules', sender: creator, stateKey: '', content: { join_rule: 'public' } },
      { type: 'm.room.history_visibility', sender: creator, stateKey: '', content: { history_visibility: 'shared' } },
      ...more(roomId),
    ],
  });
  return room;
}

/** What a room is, in comparable form: memberships, state, head and newest events. */
export function portrait(room: Room, newest = 20): object {
  return {
    roomId: room.roomId,
    version: room.version.id,
    shard: room.shard,
    joined: room.joinedCount,
    invited: room.invitedCount,
    members: [...room.members.values()]
      .map(({ userId, user, membership: is, event, since, local, forgotten }) => ({
        userId,
        user,
        is,
        event,
        since,
        local,
        forgotten,
      }))
      .sort((a, b) => (a.userId < b.userId ? -1 : 1)),
    state: Object.fromEntries(
      [...room.state].map(([key, slot]) => [key, [slot.skey, slot.event.eventId, slot.event.json]]).sort(),
    ),
    stateId: room.stateId,
    chain: room.stateChain.deltas.map((delta) => [delta.nid, delta.seq, [...delta.others], [...delta.members]]),
    extremities: room.head.extremities.map((event) => event.eventId),
    depth: room.headDepth,
    last: room.lastPosition,
    ring: room.ring.events
      .slice(-newest)
      .map((event) => [event.nid, event.topo, event.eventId, event.state, event.flags, event.replaces, event.json]),
  };
}
