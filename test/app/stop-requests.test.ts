import { expect } from 'chai';
import fc from 'fast-check';
import { StopRequests } from '#src/app/stop-requests.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('requests to stop', () => {
  it('begin the stop at once, and hurry it at the third that comes a second after the one before', async () => {
    const clock = new ManualClock();
    const requests = new StopRequests(clock);
    expect(requests.stop.aborted).to.equal(false);
    requests.ask();
    expect(requests.stop.aborted).to.equal(true);
    await clock.advance(1_000);
    requests.ask();
    expect(requests.hurry.aborted).to.equal(false);
    await clock.advance(999);
    requests.ask();
    expect(requests.hurry.aborted, 'npm passes the same signal on').to.equal(false);
    await clock.advance(1);
    requests.ask();
    expect(requests.hurry.aborted).to.equal(true);
    expect(requests.code).to.equal(0);
  });

  it('hurry nothing when all of them come within two seconds, however many they are', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(1_999), { maxLength: 200 }), async (times) => {
        const clock = new ManualClock();
        const requests = new StopRequests(clock);
        let now = 0;
        for (const time of times.sort((a, b) => a - b)) {
          await clock.advance(time - now);
          now = time;
          requests.ask();
        }
        expect(requests.stop.aborted).to.equal(times.length > 0);
        expect(requests.hurry.aborted).to.equal(false);
      }),
    );
  });

  it('are not counted for errors: a hundred of them are one stop, and the exit code says that it was an error', async () => {
    const clock = new ManualClock();
    const requests = new StopRequests(clock);
    for (let i = 0; i < 100; i += 1) {
      requests.fail();
      await clock.advance(1_000);
    }
    expect(requests.stop.aborted).to.equal(true);
    expect(requests.hurry.aborted).to.equal(false);
    requests.ask();
    expect(requests.hurry.aborted).to.equal(false);
    expect(requests.code).to.equal(1);
  });
});
