import { expect } from 'chai';
import { systemRandom } from '#src/kernel/random.ts';
import { Signal } from '#src/kernel/signal.ts';
import type { UserAction } from '#src/services/accounts/users/user-actions.ts';
import { EphemeralCounter } from '#src/services/commit/ephemeral-counter.ts';
import { PresenceService, USERS_AT_ONCE } from '#src/services/ephemeral/presence/presence-service.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import { recordingLogger } from '#test/support/recording-logger.ts';

const user = (n: number): string => `@user${n}:other.test`;

describe('the presence of very many users', () => {
  let clone: TestDatabase;
  let clock: ManualClock;
  let presence: PresenceService;
  let turns = 0;
  const nextTurn = async (): Promise<void> => {
    turns += 1;
  };
  const begin = (cacheBytes: number): void => {
    clock = new ManualClock();
    presence = new PresenceService({
      database: clone.database,
      clock,
      timers: clock,
      logger: recordingLogger([]),
      ephemeral: new EphemeralCounter(systemRandom),
      enabled: true,
      idleMs: 300_000,
      acted: new Signal<UserAction>(),
      sharesRoom: async () => true,
      cacheBytes,
      nextTurn,
    });
  };
  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone.drop());
  afterEach(() => presence.close());

  const active = (): readonly string[] => [...presence.active()];
  const online = (n: number, statusMsg?: string): void =>
    presence.receive(user(n), { presence: 'online', ...(statusMsg === undefined ? {} : { status_msg: statusMsg }) });
  const statusOf = (n: number): string | undefined => presence.presenceOf(user(n))?.content.status_msg;

  it('is looked through in slices, between which there is a turn for others', async () => {
    begin(32 * 1024 * 1024);
    for (let n = 0; n < 3 * USERS_AT_ONCE + 1; n += 1) online(n);
    turns = 0;
    await clock.advance(5_000);
    await presence.idle();
    expect(turns).to.equal(3);
    expect(active()).to.have.length(3 * USERS_AT_ONCE + 1);
    await clock.advance(1_800_000);
    await presence.idle();
    expect(active()).to.deep.equal([]);
  });
  it('is bounded by bytes: long status messages leave room for fewer users', () => {
    const fitting = (statusMsg: string): number => {
      begin(1024 * 1024);
      for (let n = 0; n < 3_000; n += 1) online(n, statusMsg);
      return active().length;
    };
    const [short, latin, japanese] = [fitting('x'), fitting('x'.repeat(2_000)), fitting('集'.repeat(2_000))];
    expect(short).to.be.within(1_000, 2_500);
    expect(latin).to.be.within(300, 500);
    expect(japanese).to.be.within(150, 300);
  });
  it('does not grow by longer status messages of users of other servers where there is no room', () => {
    begin(100_000);
    for (let n = 0; n < 3_000; n += 1) online(n, 'short');
    const count = active().length;
    for (let n = 0; n < count; n += 1) online(n, 'x'.repeat(2_000));
    expect(active()).to.have.length(count);
    const long = active().filter((_, n) => (statusOf(n)?.length ?? 0) === 2_000);
    expect(long.length).to.be.lessThan(10);
    // Who goes makes room for somebody else.
    for (let n = 0; n < 20; n += 1) presence.receive(user(n), { presence: 'offline' });
    online(5_000, 'late');
    expect(statusOf(5_000)).to.equal('late');
  });
  it('is written in slices of rows', async () => {
    begin(32 * 1024 * 1024);
    const own = Array.from({ length: USERS_AT_ONCE + 1 }, (_, n) => `@own${n}:test`);
    for (const userId of own) await presence.set(userId, userId, 'online', 'here');
    const before = clone.database.statements();
    await clock.advance(30_000);
    await presence.idle();
    expect(clone.database.statements() - before).to.equal(2);
  });
});
