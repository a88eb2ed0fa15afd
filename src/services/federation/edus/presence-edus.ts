import { Background } from '#src/kernel/background.ts';
import type { Logger } from '#src/kernel/logger.ts';
import type { Timer, Timers } from '#src/kernel/timers.ts';
import { isUserIdOf } from '#src/protocol/identifiers/identifiers.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '#src/protocol/json/json-value.ts';
import type { PresenceService } from '#src/services/ephemeral/presence/presence-service.ts';
import type { PresenceContent } from '#src/services/ephemeral/presence/user-presence.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import {
  type EduSource,
  ephemeralEdus,
  NO_EDUS,
  type TakenEdus,
} from '#src/services/federation/outbound/edu-source.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { sharingUsers } from '#src/storage/federation/sharing.ts';
import { NewestItems } from '#src/services/federation/outbound/newest-items.ts';
import type { SharingServers } from './sharing-servers.ts';

/** For so long changes are gathered. */
const GATHER_MS = 1_000;
/** Unchanged presence is sent again, since other servers let it expire after half an hour. */
const AGAIN_MS = 25 * 60_000;
const USERS_AT_ONCE = 200;
const MAX_WAITING = 1_000;
/** Users of one EDU. */
const MAX_PUSHED = 100;
/** Users of one transaction that are looked at. */
const MAX_RECEIVED = 1_000;
const MAX_STATUS_LENGTH = 2_048;
const STATES = ['online', 'unavailable', 'offline'] as const;

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
export class PresenceEdus implements EduSource {
  readonly #options: PresenceEdusOptions;
  readonly #waiting = new NewestItems<{ readonly userId: string }>(MAX_WAITING);
  readonly #gathered = new Set<string>();
  readonly #telling: Background;
  #timer: Timer | undefined;
  readonly #again: Timer;

  constructor(options: PresenceEdusOptions) {
    this.#options = options;
    const { isLocal, logger, presence, stream, timers } = options;
    this.#telling = new Background(
      'federation presence',
      () => this.#tell(),
      (err) => logger.warn('the presence of users could not be told to other servers', { err }),
    );
    presence.changed.subscribe(({ userId }) => {
      if (isLocal(userId)) this.#gather(userId);
    });
    stream.on('appended', ({ room, events }) => {
      if (room.remoteServers().length === 0) return;
      for (const { member } of events)
        if (member?.after.local === true && member.after.membership === 'join' && member.before?.membership !== 'join')
          this.#gather(member.after.userId);
    });
    this.#again = timers.every(AGAIN_MS, () => {
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
      this.#waiting.put(serverName, userId, { userId });
      if ((told += 1) >= MAX_PUSHED) break;
    }
    if (told > 0) wake(serverName);
  }

  has(destination: string): boolean {
    return this.#waiting.has(destination);
  }

  take(destination: string, limit: number): Promise<TakenEdus> {
    const taken = limit === 0 ? undefined : this.#waiting.take(destination, MAX_PUSHED);
    if (taken === undefined) return Promise.resolve(NO_EDUS);
    const push = taken.items.flatMap(({ userId }) => {
      const known = this.#options.presence.presenceOf(userId);
      return known === undefined ? [] : [{ user_id: userId, ...known.content }];
    });
    if (push.length === 0) {
      taken.delivered();
      return Promise.resolve(NO_EDUS);
    }
    return Promise.resolve(ephemeralEdus([{ edu_type: 'm.presence', content: { push } }], () => taken.delivered()));
  }

  away(destination: string): void {
    this.#waiting.forget(destination);
  }

  skip(destination: string): void {
    this.#waiting.forget(destination);
  }

  forget(destination: string): void {
    this.#waiting.forget(destination);
  }

  /** Resolves when what was gathered waits for its servers. */
  async idle(): Promise<void> {
    if (this.#gathered.size > 0) this.#telling.wake();
    await this.#telling.idle();
  }

  close(): Promise<void> {
    this.#timer?.cancel();
    this.#again.cancel();
    return this.#telling.close();
  }

  #gather(userId: string): void {
    this.#gathered.add(userId);
    this.#timer ??= this.#options.timers.after(GATHER_MS, () => this.#telling.wake());
  }

  async #tell(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = undefined;
    while (this.#gathered.size > 0 && !this.#telling.isClosed) {
      const userIds = [...this.#gathered].slice(0, USERS_AT_ONCE);
      for (const userId of userIds) this.#gathered.delete(userId);
      const serversOf = await this.#options.servers.of(userIds);
      for (const userId of userIds)
        for (const server of serversOf(userId)) {
          this.#waiting.put(server, userId, { userId });
          this.#options.wake(server);
        }
    }
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
