import type { Clock } from '#src/kernel/clock.ts';
import { type RateLimit, TokenBucketLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { limitExceeded } from '#src/protocol/errors/limit-exceeded.ts';
import { PolicyRefusal } from '#src/services/policy/callbacks/policy-refusal.ts';
import { HOUR_MS } from '#src/kernel/dates.ts';

/** What rules for young accounts can be about. */
export const YOUNG_ACTIONS = [
  'send',
  'invite',
  'invite_strangers',
  'join',
  'create_room',
  'create_alias',
  'publish_room',
  'upload',
] as const;

export type YoungAction = (typeof YOUNG_ACTIONS)[number];

/** A rule for accounts below an age. */
export interface YoungAccountRule {
  readonly youngerThanHours: number;
  readonly forbid: readonly YoungAction[];
  readonly limits: readonly { readonly action: YoungAction; readonly perHour: number; readonly burst: number }[];
}

/** The account that the rules look at. */
export interface AccountAge {
  readonly userId: string;
  /** Milliseconds since the epoch. */
  readonly createdTs: number;
}

const HOUR_S = 3_600;

const SAID: Readonly<Record<YoungAction, string>> = {
  send: 'send messages',
  invite: 'invite others',
  invite_strangers: 'invite people with whom you share no room',
  join: 'join rooms',
  create_room: 'make rooms',
  create_alias: 'give rooms addresses',
  publish_room: 'publish rooms',
  upload: 'upload files',
};

/** Limits what new accounts may do until they have a certain age. */
export class YoungAccounts {
  readonly #rules: readonly YoungAccountRule[];
  readonly #clock: Clock;
  readonly #limiter: TokenBucketLimiter;
  readonly #actions: ReadonlySet<YoungAction>;

  constructor(rules: readonly YoungAccountRule[], clock: Clock) {
    this.#rules = rules;
    this.#clock = clock;
    const buckets = rules.flatMap(({ limits }, index) =>
      limits.map(({ action, burst, perHour }): [string, RateLimit] => [
        bucketOf(index, action),
        { perSecond: perHour / HOUR_S, burst },
      ]),
    );
    this.#limiter = new TokenBucketLimiter(clock, { enabled: true, buckets: Object.fromEntries(buckets) });
    this.#actions = new Set(rules.flatMap(({ forbid, limits }) => [...forbid, ...limits.map(({ action }) => action)]));
  }

  /** Whether any rule is about the action: nothing has to be found out for one that is in none. */
  concerns(action: YoungAction): boolean {
    return this.#actions.has(action);
  }

  /** @throws PolicyRefusal M_FORBIDDEN; MatrixError M_LIMIT_EXCEEDED */
  assert({ createdTs, userId }: AccountAge, action: YoungAction): void {
    const age = this.#clock.now() - createdTs;
    for (const [index, { forbid, limits, youngerThanHours }] of this.#rules.entries()) {
      if (age >= youngerThanHours * HOUR_MS) continue;
      if (forbid.includes(action))
        throw new PolicyRefusal(
          'M_FORBIDDEN',
          `Your account is too new to ${SAID[action]}: it has to be ${youngerThanHours} hours old.`,
        );
      if (!limits.some((limit) => limit.action === action)) continue;
      const verdict = this.#limiter.take(bucketOf(index, action), userId);
      if (!verdict.ok) throw limitExceeded(bucketOf(index, action), verdict.retryAfterMs);
    }
  }
}

const bucketOf = (index: number, action: YoungAction): string => `policy.young_accounts.${index}.${action}`;
