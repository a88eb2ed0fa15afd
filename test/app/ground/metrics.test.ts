import { expect } from 'chai';
import { PrometheusMetrics } from '#src/app/ground/metrics.ts';
import { collectGarbage } from '#test/support/room-eviction.ts';

/** Declares a metric of a large object, and forgets both. @returns what says whether the object is still kept */
const measured = (): WeakRef<object> => {
  const server = { rooms: new Map([['!room:test', 1]]) };
  new PrometheusMetrics().gaugeOf('tsudoi_rooms', 'rooms', () => server.rooms.size);
  return new WeakRef(server);
};

describe('metrics', () => {
  it('of a server that is gone keep nothing of it, although those of the process go on', async () => {
    const gone = measured();
    await collectGarbage();
    expect(gone.deref() === undefined).to.equal(true);
  });

  it('have those of the process beside those of each server', async () => {
    const [one, other] = [new PrometheusMetrics(), new PrometheusMetrics()];
    one.counter('tsudoi_made_total', 'made').inc();
    expect(await one.render())
      .to.match(/^tsudoi_made_total 1$/m)
      .and.to.match(/^nodejs_heap_size_used_bytes \d+$/m);
    const others = await other.render();
    expect(others).to.match(/^nodejs_heap_size_used_bytes \d+$/m);
    expect(others).not.to.include('tsudoi_made_total');
  });
});
