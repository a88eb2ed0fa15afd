import { LRUCache } from 'lru-cache';
import { atMost } from '#src/kernel/at-most.ts';
import { Signal } from '#src/kernel/signal.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import {
  type PushRule,
  type PushRuleKind,
  type PushRuleset,
  isPushRuleKind,
  PUSH_RULE_KINDS,
} from '#src/protocol/push/push-ruleset.ts';
import {
  addRule,
  copyRoomRules,
  findRule,
  type PushRulePlace,
  type PushRulesetChange,
  removeRule,
  rulesetFrom,
  setRuleActions,
  setRuleEnabled,
  type StoredPushRules,
  storedRulesOf,
} from '#src/protocol/push/rule-editing.ts';
import { parsePushRule } from '#src/protocol/push/rule-validation.ts';
import type { AccountDataService } from '#src/services/user-data/account-data/account-data-service.ts';
import type { ServedType } from '#src/services/user-data/account-data/user-account-data.ts';
import type { Database } from '#src/storage/database.ts';
import { globalAccountDataOf } from '#src/storage/user-data/account-data.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { DEFAULT_USER_RULES, userRules, type UserRules } from './user-rules.ts';

const TYPE = 'm.push_rules';
/** Characters of JSON that one user's changes may take. */
const LARGEST = 512 * 1024;

const parseStored = (stored: string | undefined): StoredPushRules | undefined =>
  stored === undefined ? undefined : (JSON.parse(stored) as StoredPushRules);

/** How push rules are shown as account data: what is stored is only what differs from the default rules. */
export const servedPushRules: ServedType = {
  type: TYPE,
  serve: (userId, stored) => JSON.stringify({ global: rulesetFrom(parseStored(stored), userId) }),
};

export interface PushRuleServiceOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly accountData: AccountDataService;
  /** Users whose rules are kept in memory; default 200 000. Those who have changed nothing take next to none. */
  readonly cacheSize?: number;
}

/** The push rules of this server's users. Client-Server API, "Push Rules". */
export class PushRuleService {
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #accountData: AccountDataService;
  readonly #users: LRUCache<string, UserRules>;
  #generation = 0;
  /** Fires once a change of somebody's rules is committed and in effect. */
  readonly changed = new Signal<{ readonly userId: string }>();

  constructor(options: PushRuleServiceOptions) {
    this.#database = options.database;
    this.#interner = options.interner;
    this.#accountData = options.accountData;
    this.#users = new LRUCache(atMost(options.cacheSize ?? 200_000));
    options.accountData.changed.subscribe(({ userId, roomNid, type }) => {
      if (type !== TYPE || roomNid !== 0) return;
      const data = options.accountData.peek(userId);
      if (data === undefined) this.#users.delete(userId);
      else this.#users.set(userId, userRules(rulesetFrom(parseStored(data.stored(0, TYPE)), userId), userId));
      this.#generation += 1;
      this.changed.emit({ userId });
    });
  }

  /** Counts the changes of anybody's rules since this process started. */
  get generation(): number {
    return this.#generation;
  }

  /** A user's rules if they are in memory. */
  peek(userId: string): UserRules | undefined {
    return this.#users.get(userId);
  }

  /** Reads the rules of those who are not in memory, in one statement. */
  async load(userIds: readonly string[]): Promise<void> {
    const missing = userIds.filter((userId) => !this.#users.has(userId));
    if (missing.length === 0) return;
    await this.#interner.ensureUsers(missing);
    const byNid = new Map(missing.map((userId) => [this.#interner.user(userId), userId]));
    const rows = await globalAccountDataOf(this.#database, [...byNid.keys()], TYPE);
    const stored = new Map(rows.map((row) => [byNid.get(row.user_nid), row.content]));
    for (const userId of missing) {
      // What was changed while we read is here already, and newer.
      if (this.#users.has(userId)) continue;
      const content = stored.get(userId);
      this.#users.set(
        userId,
        content === undefined ? DEFAULT_USER_RULES : userRules(rulesetFrom(parseStored(content), userId), userId),
      );
    }
  }

  /** Which of these users have rules of their own. Reads those of users who are not in memory. */
  async withOwnRules(userIds: readonly string[]): Promise<readonly string[]> {
    await this.load(userIds);
    return userIds.filter((userId) => (this.#users.get(userId) ?? DEFAULT_USER_RULES) !== DEFAULT_USER_RULES);
  }

  /** A user's rules, ready to be asked. */
  async rulesOf(userId: string): Promise<UserRules> {
    const known = this.#users.get(userId);
    if (known !== undefined) return known;
    await this.load([userId]);
    return this.#users.get(userId) ?? DEFAULT_USER_RULES;
  }

  /** A user's rules as clients see them. */
  async rulesetOf(userId: string): Promise<PushRuleset> {
    return rulesetFrom(parseStored((await this.#accountData.load(userId)).stored(0, TYPE)), userId);
  }

  /**
   * All rules of a kind.
   *
   * @throws MatrixError M_NOT_FOUND for an unknown kind
   */
  async rulesOfKind(userId: string, kind: string): Promise<readonly PushRule[]> {
    return (await this.rulesetOf(userId))[existingKind(kind)];
  }

  /**
   * One rule.
   *
   * @throws MatrixError M_NOT_FOUND, for an unknown kind as well
   */
  async ruleOf(userId: string, kind: string, ruleId: string): Promise<PushRule> {
    const rule = findRule(await this.rulesetOf(userId), existingKind(kind), ruleId);
    if (rule === undefined) throw new MatrixError('M_NOT_FOUND', 'The push rule was not found.');
    return rule;
  }

  /** @throws MatrixError M_INVALID_PARAM for an unknown kind, and as `addRule` and `parsePushRule` refuse */
  async put(userId: string, kind: string, ruleId: string, body: JsonObject, place: PushRulePlace): Promise<void> {
    if (!isPushRuleKind(kind)) throw new MatrixError('M_INVALID_PARAM', UNKNOWN_KIND);
    const parsed = parsePushRule(kind, ruleId, body);
    if (!parsed.ok) throw new MatrixError(parsed.errcode, parsed.message);
    await this.#change(userId, (ruleset) => addRule(ruleset, kind, parsed.value, place));
  }

  /** @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM */
  async remove(userId: string, kind: string, ruleId: string): Promise<void> {
    const known = existingKind(kind);
    await this.#change(userId, (ruleset) => removeRule(ruleset, known, ruleId));
  }

  /** @throws MatrixError M_NOT_FOUND, M_BAD_JSON */
  async setEnabled(userId: string, kind: string, ruleId: string, enabled: unknown): Promise<void> {
    const known = existingKind(kind);
    await this.#change(userId, (ruleset) => setRuleEnabled(ruleset, known, ruleId, enabled));
  }

  /** @throws MatrixError M_NOT_FOUND, M_BAD_JSON, M_INVALID_PARAM */
  async setActions(userId: string, kind: string, ruleId: string, actions: unknown): Promise<void> {
    const known = existingKind(kind);
    await this.#change(userId, (ruleset) => setRuleActions(ruleset, known, ruleId, actions));
  }

  /** Gives the successor of an upgraded room the rules that a user made for the old one. */
  async copyRoom(userId: string, oldRoomId: string, newRoomId: string): Promise<void> {
    await this.#change(userId, (ruleset) => ({ ok: true, ruleset: copyRoomRules(ruleset, oldRoomId, newRoomId) }));
  }

  #change(userId: string, change: (ruleset: PushRuleset) => PushRulesetChange): Promise<void> {
    return this.#accountData.update(userId, 0, TYPE, (stored) => {
      const result = change(rulesetFrom(stored as unknown as StoredPushRules | undefined, userId));
      if (!result.ok) throw new MatrixError(result.errcode, result.message);
      const content = storedRulesOf(result.ruleset, userId);
      const text = JSON.stringify(content);
      if (text.length > LARGEST)
        throw new MatrixError('M_TOO_LARGE', 'These are more push rules than this server keeps for one user.');
      const before = JSON.stringify(stored ?? storedRulesOf(rulesetFrom(undefined, userId), userId));
      return text === before ? undefined : (content as unknown as JsonObject);
    });
  }
}

const UNKNOWN_KIND = `The kind of a push rule is one of ${PUSH_RULE_KINDS.join(', ')}.`;

/** @throws MatrixError M_NOT_FOUND: there is no rule of that kind */
const existingKind = (kind: string): PushRuleKind => {
  if (isPushRuleKind(kind)) return kind;
  throw new MatrixError('M_NOT_FOUND', UNKNOWN_KIND);
};
