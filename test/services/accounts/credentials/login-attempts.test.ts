import { expect } from 'chai';
import { type RateLimit, TokenBucketLimiter } from '#src/kernel/limits/rate-limiter.ts';
import { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import { LoginAttempts } from '#src/services/accounts/credentials/login-attempts.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

const [QUICK, SLOW, NONE]: readonly RateLimit[] = [
  { perSecond: 1, burst: 2 },
  { perSecond: 0.01, burst: 2 },
  { perSecond: 3e-11, burst: 1 },
] as const;
const NO_RESERVE = { login_reserve: NONE, login_reserve_share: NONE };
const UNLIMITED = { perSecond: 1_000, burst: 1_000 };

describe('an attempt to log in that is refused', () => {
  let clone: TestDatabase;
  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone.drop());

  const cases: readonly (readonly [what: string, buckets: Readonly<Record<string, RateLimit | undefined>>])[] = [
    ['the limit of the network waits longest', { ...NO_RESERVE, login: QUICK, login_address: SLOW }],
    ['the limit of the account from there waits longest', { ...NO_RESERVE, login: SLOW, login_address: QUICK }],
    ['the limit of the account waits longest', { ...NO_RESERVE, login: QUICK, login_account: SLOW }],
    [
      'the reserve has something again before the account has',
      { login: QUICK, login_account: SLOW, login_reserve: { perSecond: 0.1, burst: 1 }, login_reserve_share: QUICK },
    ],
    [
      'the share of the reserve has something again before the account has',
      { login: QUICK, login_account: SLOW, login_reserve: QUICK, login_reserve_share: { perSecond: 0.05, burst: 1 } },
    ],
    [
      'the reserve needs something of the limit of the network',
      { login: UNLIMITED, login_address: SLOW, login_account: NONE, login_reserve: QUICK, login_reserve_share: QUICK },
    ],
  ];
  for (const [what, some] of cases)
    it(`is told after which time it is let in, and no shorter one: ${what}`, async () => {
      const clock = new ManualClock();
      const buckets = { login: UNLIMITED, login_address: UNLIMITED, login_account: UNLIMITED, ...some };
      const rateLimiter = new TokenBucketLimiter(clock, {
        enabled: true,
        buckets: buckets as Readonly<Record<string, RateLimit>>,
      });
      const attempts = new LoginAttempts({ database: clone.database, rateLimiter });
      const refusal = async (): Promise<MatrixError | undefined> => {
        try {
          await attempts.begin({ name: '@waits:test', network: '192.0.2.1', isKnown: false });
          return undefined;
        } catch (error) {
          if (error instanceof MatrixError) return error;
          throw error;
        }
      };
      let refused: MatrixError | undefined;
      for (let count = 0; refused === undefined && count < 20; count += 1) refused = await refusal();
      const wait = Number(refused?.fields['retry_after_ms']);
      expect(wait).to.be.greaterThan(900);
      await clock.advance(wait - 1);
      expect((await refusal())?.fields['retry_after_ms'], 'earlier than was said').to.equal(1);
      await clock.advance(1);
      expect(await refusal(), 'when it was said').to.equal(undefined);
    });
});
