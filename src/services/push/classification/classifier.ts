import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/at-most.ts';
import type { PowerLevels } from '#src/protocol/auth/power-levels.ts';
import { defaultClassOf, type NotificationClass, personallyConcerned } from '#src/protocol/push/default-class.ts';
import type { CompiledRuleset, PushVerdict } from '#src/protocol/push/evaluator.ts';
import { evaluateFairly } from '#src/protocol/push/fair-evaluation.ts';
import { StepBudget } from '#src/protocol/matching/step-budget.ts';
import { PushSubject, type RoomPushContext } from '#src/protocol/push/push-event.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import {
  type ClassifiedEvent,
  MENTION_KINDS,
  type MentionKind,
  type NotificationClassifier,
  type NotificationVerdict,
} from '#src/services/events/building/notification-class.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { PushRuleService } from '#src/services/push/rules/push-rule-service.ts';
import {
  classUnder,
  compileDefaults,
  DEFAULT_USER_RULES,
  type UserRules,
} from '#src/services/push/rules/user-rules.ts';

/** The members of a room whose rules have to be asked about every event. */
interface Audience {
  /** Id of the room's state that it was made of. */
  readonly state: number;
  /** The generation of push rules that it was made of. */
  readonly generation: number;
  /** The cheapest rules first. */
  readonly personal: ReadonlyMap<string, UserRules>;
  /** Display names of those whose rules ask for them. */
  readonly names: ReadonlyMap<string, string>;
}

/**
 * Steps that the rules of a room's members may take for one event. Each member has an equal share, and what one leaves of it is for those
 * whose rules cost more. For whom the share does not suffice, the event is what it is for everybody with default rules.
 */
export const MOST_STEPS = 2_000_000;

const NOTHING: NotificationVerdict = { notifies: false, highlightsAll: false, exceptions: [] };
const NOBODY: Audience = { state: 0, generation: 0, personal: new Map(), names: new Map() };

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

export interface NotificationRulesOptions {
  readonly pushRules: PushRuleService;
  readonly loader: EventLoader;
  readonly isLocal: (userId: string) => boolean;
}

/**
 * Decides whom an event notifies: its class by the default rules, once for everybody, and those of this server's members for
 * whom their own rules, or their being named, make it different.
 */
export class NotificationRules implements NotificationClassifier {
  readonly #pushRules: PushRuleService;
  readonly #loader: EventLoader;
  readonly #isLocal: (userId: string) => boolean;
  readonly #audiences = new WeakMap<Room, Audience>();
  readonly #defaults = new LRUCache<string, CompiledRuleset>(atMost(5_000));

  constructor(options: NotificationRulesOptions) {
    this.#pushRules = options.pushRules;
    this.#loader = options.loader;
    this.#isLocal = options.isLocal;
  }

  prepare(room: Room): Promise<void> | undefined {
    const audience = this.#audiences.get(room);
    if (audience?.state !== room.stateId) return this.#gather(room);
    const { generation } = this.#pushRules;
    if (audience.generation === generation) return undefined;
    const changed = this.#pushRules.changedSince(audience.generation);
    return changed === undefined ? this.#gather(room) : this.#renew(room, audience, changed);
  }

  /** Looks at all members. */
  #gather(room: Room): Promise<void> | undefined {
    const { stateId: state } = room;
    const { generation } = this.#pushRules;
    const members: string[] = [];
    for (const { userId, local, membership } of room.members.values())
      if (local && membership === 'join') members.push(userId);
    const unknown = members.filter((userId) => this.#pushRules.peek(userId) === undefined);
    const put = (read?: ReadonlyMap<string, UserRules>): Promise<void> | undefined =>
      this.#put(
        room,
        { state, generation },
        members.flatMap((userId) => {
          const rules = this.#pushRules.peek(userId) ?? read?.get(userId);
          return rules === undefined ? [] : [[userId, rules] as const];
        }),
      );
    return unknown.length > 0 ? this.#pushRules.load(unknown).then(put) : put();
  }

  /** Looks at those members whose rules have changed. */
  #renew(room: Room, audience: Audience, changed: readonly string[]): Promise<void> | undefined {
    const { state } = audience;
    const { generation } = this.#pushRules;
    const members = new Set(changed.filter((userId) => room.isJoined(userId)));
    if (members.size === 0) {
      this.#audiences.set(room, { ...audience, generation });
      return undefined;
    }
    const others = [...audience.personal].filter(([userId]) => !members.has(userId));
    const put = (read: ReadonlyMap<string, UserRules>): Promise<void> | undefined =>
      this.#put(room, { state, generation }, [...others, ...read]);
    const known = new Map<string, UserRules>();
    for (const userId of members) {
      const rules = this.#pushRules.peek(userId);
      if (rules !== undefined) known.set(userId, rules);
    }
    return known.size < members.size ? this.#pushRules.load([...members]).then(put) : put(known);
  }

  #put(
    room: Room,
    made: Pick<Audience, 'state' | 'generation'>,
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
    if (event.type === 'm.room.create') return NOTHING;
    const audience = this.#audiences.get(room) ?? NOBODY;
    const subject = new PushSubject({ ...event, room_id: room.roomId });
    const levels = room.powerLevels();
    const context: RoomPushContext = {
      memberCount: room.joinedCount,
      senderPowerLevel: levels.userLevel(event.sender),
      notificationPowerLevels: notificationLevels(levels),
    };
    const eventClass = defaultClassOf(subject, context);
    const asked = new Map<string, UserRules>();
    for (const userId of personallyConcerned(subject.event)) {
      if (audience.personal.has(userId) || !this.#isConcerned(room, event, userId)) continue;
      asked.set(userId, this.#pushRules.peek(userId) ?? DEFAULT_USER_RULES);
    }
    for (const [userId, rules] of audience.personal) if (userId !== event.sender) asked.set(userId, rules);
    const verdicts = evaluateFairly(
      Array.from(asked, ([userId, rules]) => ({
        rules: rules === DEFAULT_USER_RULES ? this.#compiledDefaults(userId) : rules.compiled,
        context: { ...context, userId, displayName: audience.names.get(userId) },
      })),
      subject,
      new StepBudget(MOST_STEPS),
    );
    const exceptions = Array.from(asked, ([userId, rules], index) => {
      const verdict = verdicts[index];
      if (verdict === undefined || classOf(verdict) === classUnder(rules.modeIn(room.roomId), eventClass)) return [];
      return [{ userId, kind: KIND_OF[classOf(verdict)] }];
    }).flat();
    return { notifies: eventClass !== 'none', highlightsAll: eventClass === 'highlight', exceptions };
  }

  /** Whether a named user is one of ours and in the room, or invited by this very event. */
  #isConcerned(room: Room, event: ClassifiedEvent, userId: string): boolean {
    if (!this.#isLocal(userId)) return false;
    return (event.type === 'm.room.member' && event.state_key === userId) || room.headMembership(userId) === 'join';
  }

  #compiledDefaults(userId: string): CompiledRuleset {
    let compiled = this.#defaults.get(userId);
    if (compiled === undefined) this.#defaults.set(userId, (compiled = compileDefaults(userId)));
    return compiled;
  }
}
