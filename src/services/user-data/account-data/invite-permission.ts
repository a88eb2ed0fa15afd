import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { domainOf } from '#src/protocol/identifiers/server-name.ts';
import { isJsonObject } from '#src/protocol/json/json-value.ts';
import { type Glob, globMatches, MAX_PATTERN_LENGTH, parseGlob } from '#src/protocol/matching/glob.ts';
import type { AccountDataService } from './account-data-service.ts';
import type { AccountDataEntry, UserAccountData } from './user-account-data.ts';

export const INVITE_PERMISSION = 'm.invite_permission_config';
/** MSC4155, under the name that clients have for it. */
export const INVITE_FILTER = 'org.matrix.msc4155.invite_permission_config';

/** The verdict on an invite: it is shown to the invitee, hidden from them, or refused. */
export type InviteVerdict = 'shown' | 'hidden' | 'refused';

/** Globs of one list that are evaluated. */
export const MAX_GLOBS = 1_000;

/** The lists of MSC4155 in the order in which they are looked at: those of users before those of servers, and the milder before the stricter. */
const LISTS: readonly (readonly [name: string, of: 'user' | 'server', fate: InviteVerdict])[] = [
  ['allowed_users', 'user', 'shown'],
  ['ignored_users', 'user', 'hidden'],
  ['blocked_users', 'user', 'refused'],
  ['allowed_servers', 'server', 'shown'],
  ['ignored_servers', 'server', 'hidden'],
  ['blocked_servers', 'server', 'refused'],
];

interface List {
  readonly of: 'user' | 'server';
  readonly fate: InviteVerdict;
  readonly globs: readonly Glob[];
}

/** Whose invites a user accepts. */
export class InviteRules {
  /** Whether nobody may invite the user. */
  readonly refusesAll: boolean;
  readonly #lists: readonly List[];

  constructor(refusesAll: boolean, lists: readonly List[] = []) {
    this.refusesAll = refusesAll;
    this.#lists = lists;
  }

  fateOf(inviter: string): InviteVerdict {
    if (this.refusesAll) return 'refused';
    if (this.#lists.length === 0) return 'shown';
    // "ignoring the port": a rule is about a host.
    const server = domainOf(inviter)?.replace(/:\d{1,5}$/, '') ?? '';
    const found = this.#lists.find(({ of, globs }) =>
      globs.some((glob) => globMatches(glob, of === 'user' ? inviter : server)),
    );
    return found?.fate ?? 'shown';
  }
}

const NO_RULES = new InviteRules(false);
const NOBODY_MAY = new InviteRules(true);
/** By the piece of account data that was read: the same rules as long as it stays the same. */
const parsed = new WeakMap<AccountDataEntry, InviteRules>();

const filterIn = (entry: AccountDataEntry): InviteRules => {
  let rules = parsed.get(entry);
  if (rules === undefined) {
    const content = JSON.parse(entry.json) as unknown;
    const isOn = isJsonObject(content) && content['enabled'] !== false;
    const lists = (isOn ? LISTS : []).flatMap(([name, of, fate]): List[] => {
      const list = (content as Readonly<Record<string, unknown>>)[name];
      const texts = (Array.isArray(list) ? list : [])
        .slice(0, MAX_GLOBS)
        .filter((one): one is string => typeof one === 'string' && one.length <= MAX_PATTERN_LENGTH);
      return texts.length === 0 ? [] : [{ of, fate, globs: texts.map(parseGlob) }];
    });
    rules = lists.length === 0 ? NO_RULES : new InviteRules(false, lists);
    parsed.set(entry, rules);
  }
  return rules;
};

const rulesIn = (permission: AccountDataEntry | undefined, filter: AccountDataEntry | undefined): InviteRules => {
  const { default_action: action } = JSON.parse(permission?.json ?? '{}') as { readonly default_action?: unknown };
  if (action === 'block') return NOBODY_MAY;
  return filter === undefined ? NO_RULES : filterIn(filter);
};

/**
 * The rules for invites of a user, by their account data: the same as long as they do not change it. Client-Server API, "Invite
 * permission"; MSC4155.
 */
export const inviteRulesOf = (data: Pick<UserAccountData, 'entry'>): InviteRules =>
  rulesIn(data.entry(0, INVITE_PERMISSION), data.entry(0, INVITE_FILTER));

/** Decides whether a user may be invited by another one. */
export class InvitePermission {
  readonly #accountData: Pick<AccountDataService, 'peekEntry' | 'entry'>;
  readonly #isLocal: (userId: string) => boolean;

  constructor(accountData: Pick<AccountDataService, 'peekEntry' | 'entry'>, isLocal: (userId: string) => boolean) {
    this.#accountData = accountData;
    this.#isLocal = isLocal;
  }

  /** The rules of a user of this server. */
  async of(userId: string): Promise<InviteRules> {
    const [permission, filter] = [
      await this.#entry(userId, INVITE_PERMISSION),
      await this.#entry(userId, INVITE_FILTER),
    ];
    return rulesIn(permission, filter);
  }

  /** @throws MatrixError M_INVITE_BLOCKED when a user of this server does not want it; those of others are for their servers to judge */
  async assertInvitable(userId: string, inviter: string): Promise<void> {
    if (this.#isLocal(userId) && (await this.of(userId)).fateOf(inviter) === 'refused')
      throw new MatrixError('M_INVITE_BLOCKED', `${userId} does not want to be invited.`);
  }

  async #entry(userId: string, type: string): Promise<AccountDataEntry | undefined> {
    const known = this.#accountData.peekEntry(userId, 0, type);
    return (known === undefined ? await this.#accountData.entry(userId, 0, type) : known) ?? undefined;
  }
}
