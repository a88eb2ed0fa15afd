import type { PowerLevels } from '#src/protocol/auth/power-levels.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import {
  defaultClassOf,
  type NotificationClass,
  notifiesFollowers,
  personallyConcerned,
} from '#src/protocol/push/default-class.ts';
import type { PushVerdict } from '#src/protocol/push/evaluator.ts';
import { evaluateFairly } from '#src/protocol/push/fair-evaluation.ts';
import { PushSubject, type RoomPushContext, saysWhomItMentions } from '#src/protocol/push/push-event.ts';
import {
  type ClassifiedEvent,
  MENTION_KINDS,
  type MentionKind,
  type NotificationClassifier,
  type NotificationVerdict,
} from '#src/services/events/building/notification-class.ts';
import { relationOf } from '#src/services/room-model/event/stored-event.ts';
import type { FollowedThreads } from '#src/services/push/threads/followed-threads.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import { classUnder, DEFAULT_USER_RULES, type UserRules } from '#src/services/push/rules/user-rules.ts';
import type { Database } from '#src/storage/database.ts';
import { RoomNames } from './room-names.ts';

/** The members of a room whose push rules have to be evaluated for every event. */
interface Audience {
  /** The room's `membersVersion` that it was computed for. */
  readonly members: number;
  /** The generation of push rules that it was computed for. */
  readonly generation: number;
  /** The cheapest rules first. */
  readonly personal: ReadonlyMap<string, UserRules>;
  /** Display names of members whose own rules ask for them. */
  readonly names: ReadonlyMap<string, string>;
}

/**
 * Steps that the rules of a room's members may take for one event. Each member has an equal share; unused steps go to members
 * whose rules cost more. For a member whose share does not suffice, the event has the class of the default rules.
 */
export const MAX_STEPS = 2_000_000;
/** Steps in which the names of members are looked for in one event. */
export const MAX_STEPS_FOR_NAMES = 500_000;

const NO_NOTIFICATIONS: NotificationVerdict = {
  notifies: false,
  highlightsAll: false,
  notifiesFollowers: false,
  exceptions: [],
};
const NO_EXCEPTIONS: NotificationVerdict['exceptions'] = [];
const NO_AUDIENCE: Audience = { members: 0, generation: 0, personal: new Map(), names: new Map() };

const classOf = (verdict: PushVerdict): NotificationClass =>
  verdict.highlight ? 'highlight' : verdict.notify ? 'notify' : 'none';

const KIND_OF: Readonly<Record<NotificationClass, MentionKind>> = {
  none: MENTION_KINDS.silent,
  notify: MENTION_KINDS.notify,
  highlight: MENTION_KINDS.highlight,
};

const levelRecords = new WeakMap<PowerLevels, Readonly<Record<string, number>>>();
const notificationLevels = (levels: PowerLevels): Readonly<Record<string, number>> => {
  let record = levelRecords.get(levels);
  if (record === undefined) levelRecords.set(levels, (record = Object.fromEntries(levels.notifications)));
  return record;
};

/** The text of an event in which names are looked for: none where the event has `m.mentions`. */
const textWithNames = (event: Pick<ClassifiedEvent, 'content'>): string | undefined => {
  const { body } = event.content;
  return typeof body === 'string' && !saysWhomItMentions(event) ? body : undefined;
};

/** Id of the root of an event's thread. */
const threadRootOf = ({ content }: Pick<ClassifiedEvent, 'content'>): string | undefined => {
  const relation = relationOf(content);
  return relation?.relType === 'm.thread' ? relation.eventId : undefined;
};

export interface NotificationRulesOptions {
  readonly database: Database;
  readonly pushRules: PushRuleService;
  readonly followedThreads: Pick<FollowedThreads, 'peek' | 'loadAll'>;
  readonly loader: EventLoader;
  readonly isLocal: (userId: string) => boolean;
}

/**
 * Computes which users an event notifies: its class by the default rules, once for all, and the local members for
 * whom their own rules, or a mention, make a difference.
 */
export class NotificationRules implements NotificationClassifier {
  readonly #pushRules: PushRuleService;
  readonly #followed: Pick<FollowedThreads, 'peek' | 'loadAll'>;
  readonly #loader: EventLoader;
  readonly #isLocal: (userId: string) => boolean;
  readonly #names: RoomNames;
  readonly #audiences = new WeakMap<Room, Audience>();

  constructor(options: NotificationRulesOptions) {
    this.#pushRules = options.pushRules;
    this.#followed = options.followedThreads;
    this.#loader = options.loader;
    this.#isLocal = options.isLocal;
    this.#names = new RoomNames(options.database, options.loader);
  }

  prepare(room: Room, events: readonly Pick<ClassifiedEvent, 'content'>[]): Promise<void> | undefined {
    const audience = this.#prepareAudience(room);
    const { legacyMentions } = this.#pushRules.defaults;
    const names =
      legacyMentions && events.some((event) => textWithNames(event) !== undefined)
        ? this.#names.prepare(room)
        : undefined;
    const threaded = events.filter((event) => threadRootOf(event) !== undefined);
    if (threaded.length === 0) {
      if (audience === undefined || names === undefined) return audience ?? names;
      return Promise.all([audience, names]).then(() => undefined);
    }
    if (audience === undefined && names === undefined) return this.#prepareThreads(room, threaded);
    return Promise.all([audience, names]).then(() => this.#prepareThreads(room, threaded));
  }

  /** Reads the thread subscriptions of members whose rules ask for them. */
  #prepareThreads(room: Room, events: readonly Pick<ClassifiedEvent, 'content'>[]): Promise<void> | undefined {
    const asked = new Set<string>();
    const ask = (userId: string): void => {
      if (this.#pushRules.peek(userId)?.asksForThreads === true && this.#followed.peek(userId) === undefined)
        asked.add(userId);
    };
    for (const userId of this.#audiences.get(room)?.personal.keys() ?? []) ask(userId);
    for (const { content } of events)
      for (const userId of personallyConcerned({ type: '', sender: '', content })) ask(userId);
    return asked.size === 0 ? undefined : this.#followed.loadAll([...asked]).then(() => undefined);
  }

  #prepareAudience(room: Room): Promise<void> | undefined {
    const audience = this.#audiences.get(room);
    if (audience === undefined) return this.#gather(room);
    const { generation } = this.#pushRules;
    if (audience.members === room.membersVersion && audience.generation === generation) return undefined;
    const members = room.membersChangedSince(audience.members);
    const users = this.#pushRules.changedSince(audience.generation);
    if (members === undefined || users === undefined) return this.#gather(room);
    return this.#renew(room, audience, new Set([...members, ...users]));
  }

  /** Computes the audience from all members. */
  #gather(room: Room): Promise<void> | undefined {
    const made = this.#now(room);
    const members: string[] = [];
    for (const { userId, local, membership } of room.members.values())
      if (local && membership === 'join') members.push(userId);
    return this.#ask(members, (rules) => this.#put(room, made, rules));
  }

  /** Updates the audience for members who changed, or whose rules changed. */
  #renew(room: Room, audience: Audience, changed: ReadonlySet<string>): Promise<void> | undefined {
    const made = this.#now(room);
    const members = [...changed].filter((userId) => {
      const member = room.member(userId);
      return member?.local === true && member.membership === 'join';
    });
    if (members.length === 0 && ![...changed].some((userId) => audience.personal.has(userId))) {
      this.#audiences.set(room, { ...audience, ...made });
      return undefined;
    }
    const others = [...audience.personal].filter(([userId]) => !changed.has(userId));
    return this.#ask(members, (rules) => this.#put(room, made, [...others, ...rules]));
  }

  #now(room: Room): Pick<Audience, 'members' | 'generation'> {
    return { members: room.membersVersion, generation: this.#pushRules.generation };
  }

  /** Calls back with the rules of users, synchronously when all are in memory. */
  #ask(
    userIds: readonly string[],
    use: (rules: readonly (readonly [string, UserRules])[]) => Promise<void> | undefined,
  ): Promise<void> | undefined {
    const known: [string, UserRules][] = [];
    for (const userId of userIds) {
      const rules = this.#pushRules.peek(userId);
      if (rules !== undefined) known.push([userId, rules]);
    }
    if (known.length === userIds.length) return use(known);
    return this.#pushRules.load(userIds).then((rules) => use([...rules]));
  }

  #put(
    room: Room,
    made: Pick<Audience, 'members' | 'generation'>,
    members: readonly (readonly [string, UserRules])[],
  ): Promise<void> | undefined {
    const asked = members.filter(([, rules]) => rules.isPersonal);
    const personal = new Map(asked.toSorted(([, a], [, b]) => a.compiled.weight - b.compiled.weight));
    const named = asked.filter(([, rules]) => rules.needsDisplayName).map(([userId]) => userId);
    if (named.length === 0) {
      this.#audiences.set(room, { ...made, personal, names: new Map() });
      return undefined;
    }
    return this.#displayNames(room, named).then((names) => {
      this.#audiences.set(room, { ...made, personal, names });
    });
  }

  async #displayNames(room: Room, userIds: readonly string[]): Promise<Map<string, string>> {
    const byEvent = new Map(userIds.map((userId) => [room.member(userId)?.event ?? 0, userId]));
    const names = new Map<string, string>();
    for (const [nid, event] of await this.#loader.load([...byEvent.keys()].map((nid) => ({ room, nid })))) {
      const userId = byEvent.get(nid);
      const name = event.content['displayname'];
      if (userId !== undefined && typeof name === 'string') names.set(userId, name);
    }
    return names;
  }

  classify(room: Room, event: ClassifiedEvent): NotificationVerdict {
    // The room does not exist before this event, and nobody is in it.
    if (event.type === 'm.room.create') return NO_NOTIFICATIONS;
    const { personal, names } = this.#audiences.get(room) ?? NO_AUDIENCE;
    const subject = new PushSubject({ ...event, room_id: room.roomId });
    const levels = room.powerLevels();
    const context: RoomPushContext = {
      memberCount: room.leastJoined,
      senderPowerLevel: levels.userLevel(event.sender),
      notificationPowerLevels: notificationLevels(levels),
    };
    const { defaults } = this.#pushRules;
    const eventClass = defaultClassOf(subject, context, defaults);
    const root = threadRootOf(event);
    const forFollowers = root !== undefined && notifiesFollowers(subject, context, defaults);
    const follows = (userId: string): boolean | undefined =>
      root === undefined ? undefined : (this.#followed.peek(userId)?.follows(room.nid, root) ?? false);
    const text = defaults.legacyMentions ? textWithNames(event) : undefined;
    const members = text === undefined ? undefined : this.#names.of(room);
    let named: Map<string, UserRules> | undefined;
    const ask = (userId: string): void => {
      if (!personal.has(userId)) (named ??= new Map()).set(userId, this.#pushRules.peek(userId) ?? DEFAULT_USER_RULES);
    };
    for (const userId of personallyConcerned(subject.event)) if (this.#isConcerned(room, event, userId)) ask(userId);
    if (text !== undefined && members !== undefined)
      for (const userId of members.index.namedIn(subject, text, new StepBudget(MAX_STEPS_FOR_NAMES))) ask(userId);
    const forAll = {
      notifies: eventClass !== 'none',
      highlightsAll: eventClass === 'highlight',
      notifiesFollowers: forFollowers,
    };
    // For most messages no member has to be evaluated.
    if (named === undefined && personal.size === 0) return { ...forAll, exceptions: NO_EXCEPTIONS };
    const asked = new Map<string, UserRules>([...(named ?? []), ...personal]);
    asked.delete(event.sender);
    if (asked.size === 0) return { ...forAll, exceptions: NO_EXCEPTIONS };
    const verdicts = evaluateFairly(
      Array.from(asked, ([userId, rules]) => ({
        rules: this.#pushRules.compiled(userId, rules),
        context: {
          ...context,
          userId,
          displayName: names.get(userId) ?? members?.displayNames.get(userId),
          followsThread: rules.asksForThreads ? follows(userId) : undefined,
        },
      })),
      subject,
      new StepBudget(MAX_STEPS),
    );
    const exceptions = Array.from(asked, ([userId, rules], index) => {
      const verdict = verdicts[index];
      const isFollowed = rules.asksForThreads ? follows(userId) : undefined;
      const mode = isFollowed === undefined ? rules.modeIn(room.roomId) : rules.threadModeIn(room.roomId, isFollowed);
      if (verdict === undefined || classOf(verdict) === classUnder(mode, eventClass, forFollowers)) return [];
      return [{ userId, kind: KIND_OF[classOf(verdict)] }];
    }).flat();
    return { ...forAll, exceptions };
  }

  /** Whether a mentioned user is local and joined, or the target of this invite. */
  #isConcerned(room: Room, event: ClassifiedEvent, userId: string): boolean {
    if (!this.#isLocal(userId)) return false;
    return (event.type === 'm.room.member' && event.state_key === userId) || room.headMembership(userId) === 'join';
  }
}
