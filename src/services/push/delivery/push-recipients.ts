import type { Clock } from '#src/kernel/clock.ts';
import { EVENT_FLAGS } from '#src/protocol/events/event-flags.ts';
import { MENTION_KINDS, type MentionKind } from '#src/services/events/building/notification-class.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import type { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { PusherRef, PusherRegistry } from '#src/services/push/pushers/pusher-registry.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import { classUnder, DEFAULT_USER_RULES } from '#src/services/push/rules/user-rules.ts';
import { classOfFlags } from '#src/services/push/unread/unread-state.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { exceptionsAt } from '#src/storage/push/pushes.ts';
import { PushAudience } from './push-audience.ts';
import type { PushFacts } from './recent-pushes.ts';

/** A pusher to which an event is sent. */
export interface Recipient {
  readonly pusher: PusherRef;
  /** How the event notifies the user, where that differs from its class. */
  readonly exception: MentionKind | undefined;
}

/** Users whom an event notifies otherwise than its class says, by their numbers. */
type Exceptions = ReadonlyMap<number, MentionKind>;
const NO_EXCEPTIONS: Exceptions = new Map();

/** What was decided about an event that was just committed. */
interface Heard {
  readonly exceptions: Exceptions;
  /** When it was committed, in milliseconds: pushers that were made later do not get it. Undefined for events that are read from the database. */
  readonly at: number | undefined;
}

/** An invitation notifies only the user who is invited. */
const isInviteOf = (event: StoredEvent, userId: string): boolean =>
  event.type === 'm.room.member' && event.stateKey === userId;

export interface PushRecipientsOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly stream: RoomEventStream;
  readonly registry: PusherRegistry;
  readonly pushRules: PushRuleService;
}

/** Computes to which pushers an event may have to be sent, from its class and exceptions. `PushRelevance` decides whether it still has to be. */
export class PushRecipients {
  readonly #database: Database;
  readonly #registry: PusherRegistry;
  readonly #pushRules: PushRuleService;
  readonly #audience: PushAudience;
  /** Events that were committed while a user in their room had pushers. */
  readonly #heard = new WeakMap<StoredEvent, Heard>();

  constructor({ database, clock, stream, registry, pushRules }: PushRecipientsOptions) {
    this.#database = database;
    this.#registry = registry;
    this.#pushRules = pushRules;
    this.#audience = new PushAudience(registry);
    stream.on('appended', ({ room, events }) => {
      if (!this.concerns(room)) return;
      const at = clock.now();
      for (const { event, mentions } of events) {
        const exceptions = mentions.map(({ user, kind }) => [user, kind as MentionKind] as const);
        this.#heard.set(event, { at, exceptions: exceptions.length === 0 ? NO_EXCEPTIONS : new Map(exceptions) });
      }
    });
  }

  /** Whether a present or former member of this room has pushers. Costs a look-up. */
  concerns(room: Room): boolean {
    return this.#registry.size > 0 && this.#audience.of(room).size > 0;
  }

  /** Present and former members of this room who have pushers. */
  audienceOf(room: Room): ReadonlySet<string> {
    return this.#audience.of(room);
  }

  /** Reads what `of` needs for these events: usually nothing. */
  async prepare(events: readonly FollowedEvent[]): Promise<void> {
    const rooms = new Set(events.map(({ room }) => room));
    const users = new Set([...rooms].flatMap((room) => [...this.#audience.of(room)]));
    const unread = [...users].filter((userId) => this.#pushRules.peek(userId) === undefined);
    if (unread.length > 0) await this.#pushRules.load(unread);
    const unknown = events.filter(({ event }) => !this.#heard.has(event));
    if (unknown.length === 0) return;
    const places = unknown.map(({ room, event }) => ({ room: room.nid, nid: event.nid }));
    const found = Map.groupBy(await exceptionsAt(this.#database, places), ({ pos }) => pos);
    for (const { event } of unknown)
      this.#heard.set(event, {
        at: undefined,
        exceptions: new Map(found.get(event.nid)?.map(({ user, kind }) => [user, kind as MentionKind] as const)),
      });
  }

  /** Whether `of` finds any recipient of an event that was prepared. */
  areAny(room: Room, event: StoredEvent): boolean {
    return this.of(room, event, this.#audience.of(room), 1).length > 0;
  }

  /** What applies to all recipients of an event that was prepared. */
  factsOf(event: StoredEvent): PushFacts {
    const { exceptions } = this.#heard.get(event) ?? { exceptions: NO_EXCEPTIONS };
    const isInMain = event.relation === undefined;
    if (!this.#isForClients(event)) return { pushScope: 'unread', isInMain, exceptions };
    const isUsual = exceptions.size === 0 && classOfFlags(event.flags) !== 'none';
    return { pushScope: isUsual ? 'unread-of-all' : 'asked', isInMain, exceptions };
  }

  /** Whether an event is pushed so that clients can decrypt it, whether or not it counts as unread. MSC4028. */
  #isForClients(event: StoredEvent): boolean {
    return this.#pushRules.defaults.encryptedEvents && event.type === 'm.room.encrypted';
  }

  /**
   * The pushers that may have to be told of an event that was prepared.
   *
   * @param users members of the audience to check; all when left out
   * @param most stops after so many
   */
  of(room: Room, event: StoredEvent, users: Iterable<string> = this.#audience.of(room), most = Infinity): Recipient[] {
    const { at = Infinity, exceptions } = this.#heard.get(event) ?? { exceptions: NO_EXCEPTIONS };
    const eventClass = classOfFlags(event.flags);
    const isForFollowers = (event.flags & EVENT_FLAGS.notifiesFollowers) !== 0;
    const isForClients = this.#isForClients(event);
    if (eventClass === 'none' && !isForFollowers && !isForClients && exceptions.size === 0) return [];
    const recipients: Recipient[] = [];
    for (const userId of users) {
      if (recipients.length >= most) break;
      const member = room.member(userId);
      if (member === undefined || userId === event.sender) continue;
      const exception = exceptions.size === 0 ? undefined : exceptions.get(member.user);
      if (exception === MENTION_KINDS.silent && !isForClients) continue;
      const isHere = member.membership === 'join' && member.since < event.nid;
      if (!isHere && !(member.membership === 'invite' && isInviteOf(event, userId))) continue;
      if (exception === undefined) {
        const rules = this.#pushRules.peek(userId) ?? DEFAULT_USER_RULES;
        const mode = rules.modeIn(room.roomId);
        // Followed threads, and rules on encrypted events, are checked when it is sent.
        const isOpen = rules.asksForThreads || isForClients;
        const mayHear = isOpen ? mode !== 'muted' : classUnder(mode, eventClass) !== 'none';
        if (!isHere || !mayHear) continue;
      }
      for (const pusher of this.#registry.of(userId))
        if (pusher.enabled && pusher.sinceTs <= at) recipients.push({ pusher, exception });
    }
    return recipients;
  }
}
