import { expect } from 'chai';
import { Signal } from '#src/kernel/signal.ts';
import type { Appservices } from '#src/services/accounts/appservices/appservices.ts';
import { LOOKUPS_AT_ONCE, ThirdPartyLookups } from '#src/services/appservices/lookups/third-party-lookups.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('lookups in other networks', () => {
  it('ask a service that is slow a bounded number of things at once, and go without its answers beyond that', async () => {
    const open: (() => void)[] = [];
    const service = { id: 'slow', url: 'http://slow.test', hsToken: 'x', protocols: ['irc'] };
    const lookups = new ThirdPartyLookups({
      appservices: { all: () => [service], changed: new Signal<void>() } as unknown as Appservices,
      api: {
        request: () => new Promise((resolve) => open.push(() => resolve({ ok: false, kind: 'timeout' } as never))),
      },
      clock: new ManualClock(),
    });
    const asking = Array.from({ length: LOOKUPS_AT_ONCE }, (_, i) => lookups.usersOf(`@user${i}:test`));
    expect(open).to.have.length(LOOKUPS_AT_ONCE);
    expect(await lookups.usersOf('@another:test')).to.deep.equal([]);
    expect(open).to.have.length(LOOKUPS_AT_ONCE);
    for (const end of open.splice(0)) end();
    expect(await Promise.all(asking)).to.deep.equal(asking.map(() => []));
    void lookups.usersOf('@another:test');
    expect(open).to.have.length(1);
  });
});
