import { LRUCache } from 'lru-cache';
import { LiveCache } from '#src/kernel/caches/live-cache.ts';
import { atMost } from '#src/kernel/caches/at-most.ts';
import { RecentChanges } from '#src/kernel/caches/recent-changes.ts';
import { SerialByKey } from '#src/kernel/concurrency/serial.ts';
import { Signal } from '#src/kernel/signal.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { quotaFull } from '#src/protocol/errors/quota-full.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { type DefaultRules, defaultRulesFor } from '#src/protocol/push/default-rules.ts';
import { compileRuleset, type CompiledRuleset } from '#src/protocol/push/evaluator.ts';
import {
  PUSH_RULE_KIND_NUMBERS,
  PUSH_RULE_KINDS,
  type PushRule,
  type PushRuleKind,
  type PushRuleset,
  isPushRuleKind,
} from '#src/protocol/push/push-ruleset.ts';
import {
  addRule,
  copyRoomRules,
  findRule,
  type PushRulePlace,
  type PushRulesetChange,
  removeRule,
  setRuleActions,
  setRuleEnabled,
} from '#src/protocol/push/rule-editing.ts';
import {
  changeOfKeptRules,
  defaultKeptRules,
  type KeptRules,
  type KeptRulesChange,
  keptRulesFrom,
  type PushRuleRow,
} from '#src/protocol/push/rule-rows.ts';
import { parsePushRule } from '#src/protocol/push/rule-validation.ts';
import { shardOfName } from '#src/protocol/wire/position.ts';
import type { Writer } from '#src/services/commit/writer.ts';
import type { ServedType } from '#src/services/user-data/account-data/account-data-service.ts';
import type { Database } from '#src/storage/database.ts';
import type { PushRuleWrite } from '#src/storage/commit/stream-writes.ts';
import { pushRulesOf } from '#src/storage/push/push-rules.ts';
import type { Interner } from '#src/storage/room-model/interner.ts';
import { DEFAULT_USER_RULES, userRules, type UserRules } from './user-rules.ts';

const TYPE = 'm.push_rules';
const CACHE_BYTES = 64 * 1024 * 1024;
/** Changes of rules that are remembered, for caches of the rules of many users. */
const REMEMBERED_CHANGES = 1_000;

export interface PushRuleQuota {
  /** Rules of a user, changed ones of the server included. */
  readonly pieces: number;
  /** Bytes of all of them together. */
  readonly bytes: number;
}

export interface PushRuleServiceOptions {
  readonly database: Database;
  readonly interner: Interner;
  readonly writer: Writer;
  /** Whether messages without `m.mentions` are searched for names. */
  readonly legacyMentions?: boolean;
  /** Whether all encrypted events are pushed, except in muted rooms (MSC4028). */
  readonly encryptedEvents?: boolean;
  /** Default: none. */
  readonly quota?: PushRuleQuota;
  /** Bytes that rules may take in memory; default 64 MiB. Those of users who have changed nothing take next to none. */
  readonly cacheBytes?: number;
}

interface Known {
  /** Undefined for a user who has changed nothing. */
  readonly kept: KeptRules | undefined;
  readonly rules: UserRules;
}

const UNCHANGED: Known = { kept: undefined, rules: DEFAULT_USER_RULES };

/**
 * The push rules of local users, a row for each rule. Clients get them as account data too, whose position is the one of the
 * latest change. Client-Server API, "Push Rules".
 */
export class PushRuleService implements ServedType {
  readonly type = TYPE;
  /** The rules of users who have changed nothing. */
  readonly defaults: DefaultRules;
  readonly #database: Database;
  readonly #interner: Interner;
  readonly #writer: Writer;
  readonly #quota: PushRuleQuota;
  readonly #users: LiveCache<Known>;
  readonly #compiledDefaults = new LRUCache<string, CompiledRuleset>(atMost(5_000));
  readonly #changes = new SerialByKey<string>();
  /** Users who changed their rules. */
  readonly #recent = new RecentChanges<string>(REMEMBERED_CHANGES);
  /** Fires once a change of a user's rules is committed and in effect. */
  readonly changed = new Signal<{ readonly userId: string; readonly pos: number; readonly serve: () => string }>();

  constructor(options: PushRuleServiceOptions) {
    this.#database = options.database;
    this.#interner = options.interner;
    this.#writer = options.writer;
    const { legacyMentions = false, encryptedEvents = false } = options;
    this.defaults = defaultRulesFor({ legacyMentions, encryptedEvents });
    this.#quota = options.quota ?? { pieces: Infinity, bytes: Infinity };
    this.#users = new LiveCache({
      name: 'push_rules',
      maxSize: options.cacheBytes ?? CACHE_BYTES,
      // Parsed, a rule takes several times its text.
      sizeOf: ({ kept }, userId) =>
        150 + userId.length + (kept === undefined ? 0 : 1_000 + 300 * kept.rows.size + 6 * kept.bytes),
    });
  }

  /** Counts the changes of all users' rules since this process started. */
  get generation(): number {
    return this.#recent.version;
  }

  /** Users who changed their rules after a generation; undefined when that is too long ago. */
  changedSince(generation: number): readonly string[] | undefined {
    return this.#recent.since(generation);
  }

  /** Forgets an erased user. */
  forget(userId: string): void {
    this.#users.forget(userId);
    this.#recent.note(userId);
  }

  /** A user's rules if they are in memory. */
  peek(userId: string): UserRules | undefined {
    return this.#users.peek(userId)?.rules;
  }

  /** The rules of several users; those that are not in memory are read in one statement. */
  async load(userIds: readonly string[]): Promise<Map<string, UserRules>> {
    const found = await this.#users.getAll(userIds, (missing) => this.#read(missing));
    return new Map(Array.from(found, ([userId, { rules }]) => [userId, rules]));
  }

  async #read(userIds: readonly string[]): Promise<ReadonlyMap<string, Known>> {
    const names = await this.#interner.ensure({ users: userIds });
    const nids = new Map(userIds.map((userId) => [names.user(userId), userId]));
    const records = await pushRulesOf(this.#database, [...nids.keys()]);
    const byUser = Map.groupBy(records, (record) => record.user_nid);
    const found = new Map<string, Known>();
    for (const [nid, userId] of nids) {
      const rows = (byUser.get(nid) ?? []).map((record): PushRuleRow => ({
        kind: KIND_OF_NUMBER.get(record.kind) ?? 'override',
        ruleId: record.rule_id,
        place: record.place,
        enabled: record.enabled,
        content: record.content,
      }));
      found.set(userId, this.#knownOf(keptRulesFrom(rows, userId, this.defaults), userId));
    }
    return found;
  }

  #known(userId: string): Promise<Known> {
    return this.#users.get(userId, async () => (await this.#read([userId])).get(userId) ?? UNCHANGED);
  }

  /** Which of these users have rules of their own. Reads those of users who are not in memory. */
  async withOwnRules(userIds: readonly string[]): Promise<readonly string[]> {
    const rules = await this.load(userIds);
    return userIds.filter((userId) => rules.get(userId) !== DEFAULT_USER_RULES);
  }

  /** A user's rules, compiled. */
  async rulesOf(userId: string): Promise<UserRules> {
    return (await this.#known(userId)).rules;
  }

  /** The compiled ruleset of a user; the shared default for users without changes. */
  compiled(userId: string, rules: UserRules): CompiledRuleset {
    if (rules !== DEFAULT_USER_RULES) return rules.compiled;
    let compiled = this.#compiledDefaults.get(userId);
    if (compiled === undefined)
      this.#compiledDefaults.set(userId, (compiled = compileRuleset(this.defaults.of(userId))));
    return compiled;
  }

  /** Like `compiled`, with the rules that only decide about pushes and not about unread counts. */
  compiledForPushes(userId: string, rules: UserRules): CompiledRuleset {
    return rules === DEFAULT_USER_RULES ? compileRuleset(this.defaults.of(userId), true) : rules.compiledForPushes;
  }

  /** A user's rules as clients see them. */
  async rulesetOf(userId: string): Promise<PushRuleset> {
    return (await this.#known(userId)).kept?.ruleset ?? this.defaults.of(userId);
  }

  async open(userId: string): Promise<() => string> {
    return this.#serving((await this.#known(userId)).kept, userId);
  }

  /**
   * The rules of one kind.
   *
   * @throws MatrixError M_NOT_FOUND for an unknown kind
   */
  async rulesOfKind(userId: string, kind: string): Promise<readonly PushRule[]> {
    return (await this.rulesetOf(userId))[knownKind(kind)];
  }

  /**
   * One rule.
   *
   * @throws MatrixError M_NOT_FOUND, for an unknown kind too
   */
  async ruleOf(userId: string, kind: string, ruleId: string): Promise<PushRule> {
    const rule = findRule(await this.rulesetOf(userId), knownKind(kind), ruleId);
    if (rule === undefined) throw new MatrixError('M_NOT_FOUND', 'The push rule was not found.');
    return rule;
  }

  /** @throws MatrixError M_INVALID_PARAM for an unknown kind; as `addRule` and `parsePushRule` refuse; M_TOO_LARGE */
  async put(userId: string, kind: string, ruleId: string, body: JsonObject, place: PushRulePlace): Promise<void> {
    // "Servers MUST ensure that clients MUST NOT be able to create custom rules with this push rule kind." MSC4306.
    if (!isPushRuleKind(kind) || kind === 'postcontent') throw new MatrixError('M_INVALID_PARAM', KINDS);
    const parsed = parsePushRule(kind, ruleId, body);
    if (!parsed.ok) throw new MatrixError(parsed.errcode, parsed.message);
    await this.#change(userId, (ruleset) => addRule(ruleset, kind, parsed.value, place), { kind, ruleId });
  }

  /** @throws MatrixError M_NOT_FOUND, M_INVALID_PARAM */
  async remove(userId: string, kind: string, ruleId: string): Promise<void> {
    const known = knownKind(kind);
    await this.#change(userId, (ruleset) => removeRule(ruleset, known, ruleId));
  }

  /** @throws MatrixError M_NOT_FOUND, M_BAD_JSON */
  async setEnabled(userId: string, kind: string, ruleId: string, enabled: unknown): Promise<void> {
    const known = knownKind(kind);
    await this.#change(userId, (ruleset) => setRuleEnabled(ruleset, known, ruleId, enabled));
  }

  /** Enables rules of the server in one change. */
  async enable(userId: string, kind: PushRuleKind, ruleIds: readonly string[]): Promise<void> {
    await this.#change(userId, (ruleset) => {
      let changed: PushRulesetChange = { ok: true, ruleset };
      for (const ruleId of ruleIds) if (changed.ok) changed = setRuleEnabled(changed.ruleset, kind, ruleId, true);
      return changed;
    });
  }

  /** @throws MatrixError M_NOT_FOUND, M_BAD_JSON, M_INVALID_PARAM, M_TOO_LARGE */
  async setActions(userId: string, kind: string, ruleId: string, actions: unknown): Promise<void> {
    const known = knownKind(kind);
    await this.#change(userId, (ruleset) => setRuleActions(ruleset, known, ruleId, actions));
  }

  /** Gives the successor of an upgraded room the rules that a user made for the old one. */
  async copyRoom(userId: string, oldRoomId: string, newRoomId: string): Promise<void> {
    await this.#change(userId, (ruleset) => ({ ok: true, ruleset: copyRoomRules(ruleset, oldRoomId, newRoomId) }));
  }

  #change(
    userId: string,
    change: (ruleset: PushRuleset) => PushRulesetChange,
    placed?: { readonly kind: PushRuleKind; readonly ruleId: string },
  ): Promise<void> {
    return this.#changes.run(userId, async () => {
      const before = (await this.#known(userId)).kept ?? defaultKeptRules(userId, this.defaults);
      const result = change(before.ruleset);
      if (!result.ok) throw new MatrixError(result.errcode, result.message);
      const changes = changeOfKeptRules(before, result.ruleset, userId, placed, this.defaults);
      if (changes.written.length + changes.removed.length === 0) return;
      this.#assertFits(before, changes.after);
      await this.#write(userId, changes);
    });
  }

  #knownOf(kept: KeptRules, userId: string): Known {
    return kept.rows.size === 0 ? UNCHANGED : { kept, rules: userRules(kept.ruleset, userId, this.defaults) };
  }

  #serving(kept: KeptRules | undefined, userId: string): () => string {
    return () => JSON.stringify({ global: kept?.ruleset ?? this.defaults.of(userId) });
  }

  #assertFits(before: KeptRules, after: KeptRules): void {
    const { pieces, bytes } = this.#quota;
    if (after.bytes > bytes && after.bytes > before.bytes)
      throw quotaFull('quotas.push_rules.bytes', `A user has at most ${bytes} bytes of push rules on this server.`);
    if (after.rows.size > pieces && after.rows.size > before.rows.size)
      throw quotaFull('quotas.push_rules.pieces', `A user has at most ${pieces} push rules on this server.`);
  }

  async #write(userId: string, { after, written, removed }: KeptRulesChange): Promise<void> {
    const user = await this.#interner.userNid(userId);
    this.#writer.assertAccepting();
    const pos = this.#writer.allocate(shardOfName(userId));
    const rowOf = (
      { kind, ruleId }: Pick<PushRuleRow, 'kind' | 'ruleId'>,
      row: PushRuleWrite['row'],
    ): PushRuleWrite => ({
      user,
      kind: PUSH_RULE_KIND_NUMBERS[kind],
      ruleId,
      row,
    });
    await this.#writer.append({
      positions: [pos],
      streams: {
        // Nothing but the position of the latest change, for clients who ask for what is new.
        accountData: [{ user, room: 0, type: TYPE, content: '{}', pos }],
        pushRules: [...written.map((row) => rowOf(row, row)), ...removed.map((row) => rowOf(row, undefined))],
      },
      publish: () => {
        const known = this.#knownOf(after, userId);
        this.#users.set(userId, known);
        this.#recent.note(userId);
        this.changed.emit({ userId, pos, serve: this.#serving(known.kept, userId) });
      },
    });
  }
}

const KINDS = 'The kind of a push rule is override, content, room, sender or underride.';

const KIND_OF_NUMBER: ReadonlyMap<number, PushRuleKind> = new Map(
  PUSH_RULE_KINDS.map((kind) => [PUSH_RULE_KIND_NUMBERS[kind], kind]),
);

/** How clients name the kind `postcontent` in paths while MSC4306 is not part of the specification. */
const UNSTABLE_POSTCONTENT = 'io.element.msc4306.postcontent';

const stableKind = (kind: string): string => (kind === UNSTABLE_POSTCONTENT ? 'postcontent' : kind);

const knownKind = (text: string): PushRuleKind => {
  const kind = stableKind(text);
  if (isPushRuleKind(kind)) return kind;
  throw new MatrixError('M_NOT_FOUND', `The push rule was not found. ${KINDS}`);
};
