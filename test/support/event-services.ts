import { composeServices } from '#src/app/composition.ts';
import { loadConfig } from '#src/app/config/load.ts';
import { PrometheusMetrics } from '#src/app/ground/metrics.ts';
import type { MoreSections } from '#src/app/slices/sync.ts';
import { type Logger, silentLogger } from '#src/kernel/logger.ts';
import { type Clock, systemClock } from '#src/kernel/clock.ts';
import { systemRandom } from '#src/kernel/random.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { generateSigningKey } from '#src/protocol/signing/signing-key.ts';
import { makeSessionKey } from '#src/services/accounts/sessions/session-key.ts';
import type { EventDraft } from '#src/services/events/building/event-draft.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';

export const SERVER = 'example.org';
export const ALICE = `@alice:${SERVER}`;
export const BOB = `@bob:${SERVER}`;

const FILES = {
  version: '0.0.0',
  signingKeys: [generateSigningKey((count) => systemRandom.bytes(count))],
  retiredKeys: [],
  sessionKey: makeSessionKey(),
  certificateAuthorities: undefined,
} as const;

/** The services of the real application, by their names. */
export type EventServices = ReturnType<typeof composeServices>['services'];

/** Differences from the default composition. */
export interface EventServicesOptions {
  readonly clock?: Clock;
  readonly logger?: Logger;
  readonly maxStickyEvents?: number;
  readonly roomCacheBytes?: number;
  /** Additional sections of sync. */
  readonly sections?: MoreSections;
}

/**
 * The real application on a database, with only the writer running: no jobs, followers or requests, so that a test counts the
 * statements and bytes of its own calls alone. A second composition takes the database over, as a restarted process does.
 */
export async function eventServices(database: Database, options: EventServicesOptions = {}): Promise<EventServices> {
  const { clock = systemClock, logger = silentLogger, maxStickyEvents, roomCacheBytes, sections } = options;
  const config = loadConfig([], {
    TSUDOI_SERVER_NAME: SERVER,
    TSUDOI_PRESENCE__ENABLED: 'false',
    ...(roomCacheBytes === undefined ? {} : { TSUDOI_CACHE__ROOMS_BYTES: String(roomCacheBytes) }),
    ...(maxStickyEvents === undefined ? {} : { TSUDOI_ROOM__MAX_STICKY_EVENTS: String(maxStickyEvents) }),
  });
  const metrics = new PrometheusMetrics();
  const { services } = composeServices({
    config,
    logger,
    metrics,
    clock,
    timers: systemTimers,
    random: systemRandom,
    database,
    ...FILES,
    moreSections: sections,
  });
  // It is asked by nobody, and what it watches would be kept.
  metrics.close();
  await services.writer.start();
  return services;
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

/** Creates a public room in which all members may set state. */
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

/** A room in comparable form: memberships, state, head and newest events. */
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
