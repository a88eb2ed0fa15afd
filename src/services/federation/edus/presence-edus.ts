import type { Logger } from '#src/kernel/logger.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { isUserIdOf } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import type { PresenceContent } from '#src/services/ephemeral/presence/user-presence.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { Edu } from '#src/services/federation/outbound/edu-source.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { sharingUsers } from '#src/storage/federation/sharing.ts';
import { GatheredEdus } from './gathered-edus.ts';
import type { SharingServers } from './sharing-servers.ts';

/** Milliseconds for which changes are batched. (twins: receipt-edus.ts, ephemeral-extras.ts) */
const GATHER_MS = 1_000;
/** Unchanged presence is sent again, since other servers let it expire after half an hour. */
const RESEND_MS = 25 * 60_000;
export const MAX_WAITING = 1_000;
/** Users of one EDU. */
const MAX_PUSHED = 100;
/** Users of one transaction that are looked at. */
export const MAX_RECEIVED = 1_000;
export const MAX_STATUS_LENGTH = 2_048;
const STATES = ['online', 'unavailable', 'offline'] as const;

interface Present {
  readonly userId: string;
}

export interface PresenceEdusOptions {
  readonly database: Database;
  readonly presence: PresenceService;
  readonly stream: RoomEventStream;
  readonly servers: SharingServers;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly isLocal: (userId: string) => boolean;
  readonly wake: (destination: string) => void;
}

/** Sends and receives `m.presence`. Exists where the configuration enables it. Server-Server API, "Presence". */
export class PresenceEdus {
  readonly #options: PresenceEdusOptions;
  /** What waits for other servers, by user. */
  readonly edus: GatheredEdus<Present>;
  readonly #again: Timer;

  constructor(options: PresenceEdusOptions) {
    this.#options = options;
    const { isLocal, logger, presence, servers, stream, timers, wake } = options;
    this.edus = new GatheredEdus({
      name: 'presence',
      gatherMs: GATHER_MS,
      most: MAX_WAITING,
      mostWhileAway: 0,
      mostTaken: MAX_PUSHED,
      serversOf: async (items) => {
        const serversOf = await servers.of(items.map(({ userId }) => userId));
        return ({ userId }) => serversOf(userId);
      },
      write: (items) => ({ edus: this.#edusOf(items) }),
      timers,
      logger,
      wake,
    });
    presence.changed.subscribe(({ userId }) => {
      if (isLocal(userId)) this.#gather(userId);
    });
    stream.on('appended', ({ room, events }) => {
      if (room.remoteServers().length === 0) return;
      for (const { member } of events)
        if (member?.after.local === true && member.after.membership === 'join' && member.before?.membership !== 'join')
          this.#gather(member.after.userId);
    });
    this.#again = timers.every(RESEND_MS, () => {
      for (const userId of presence.active()) if (isLocal(userId)) this.#gather(userId);
    });
  }

  /** Receives the `m.presence` of a transaction: what is about users of the origin who share a room with local users. */
  async receive(origin: string, contents: readonly JsonObject[]): Promise<void> {
    const { database, presence } = this.#options;
    const pushed = contents.flatMap(({ push }) => (Array.isArray(push) ? push.slice(0, MAX_RECEIVED) : []));
    const said = new Map<string, PresenceContent>();
    for (const one of pushed.slice(0, MAX_RECEIVED)) {
      const userId = isJsonObject(one) ? one['user_id'] : undefined;
      if (!isUserIdOf(origin, userId)) continue;
      const parsed = contentOf(one);
      if (parsed !== undefined) said.set(userId, parsed);
    }
    const sharing = await sharingUsers(database, [...said.keys()]);
    for (const [userId, parsed] of said) if (sharing.has(userId)) presence.receive(userId, parsed);
  }

  /** A server has joined a room: it is sent the presence of local members. */
  joined(room: Room, serverName: string): void {
    const { presence, isLocal, wake } = this.#options;
    let told = 0;
    for (const { userId, membership, local } of room.members.values()) {
      if (!local || membership !== 'join' || !isLocal(userId) || presence.presenceOf(userId) === undefined) continue;
      this.edus.put(serverName, userId, { userId });
      if ((told += 1) >= MAX_PUSHED) break;
    }
    if (told > 0) wake(serverName);
  }

  /** Resolves when what was gathered waits for its servers. */
  idle(): Promise<void> {
    return this.edus.idle();
  }

  close(): Promise<void> {
    this.#again.cancel();
    return this.edus.close();
  }

  #gather(userId: string): void {
    this.edus.gather(userId, { userId });
  }

  /** Their presence as it is by now. */
  #edusOf(items: readonly Present[]): readonly Edu[] {
    const push = items.flatMap(({ userId }) => {
      const known = this.#options.presence.presenceOf(userId);
      return known === undefined ? [] : [{ user_id: userId, ...known.content }];
    });
    return push.length === 0 ? [] : [{ edu_type: 'm.presence', content: { push } }];
  }
}

const contentOf = (said: JsonValue): PresenceContent | undefined => {
  if (!isJsonObject(said)) return undefined;
  const { currently_active: active, last_active_ago: ago, status_msg: status } = said;
  const presence = STATES.find((state) => state === said['presence']);
  if (presence === undefined) return undefined;
  const hasStatus = typeof status === 'string' && status !== '' && !status.includes('\0');
  const hasAgo = typeof ago === 'number' && Number.isSafeInteger(ago) && ago >= 0;
  return {
    presence,
    ...(hasStatus ? { status_msg: status.slice(0, MAX_STATUS_LENGTH).toWellFormed() } : {}),
    ...(hasAgo ? { last_active_ago: ago } : {}),
    ...(typeof active === 'boolean' ? { currently_active: active } : {}),
  };
};
