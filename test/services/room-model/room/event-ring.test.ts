import { expect } from 'chai';
import fc from 'fast-check';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { EventRing } from '#src/services/room-model/room/event-ring.ts';

const room = { nid: 1, roomId: '!r:t', version: roomVersion('12')! };
const event = (nid: number, json = '{}'): StoredEvent =>
  new StoredEvent({ room, nid, topo: nid, eventId: `$${nid}`, state: 0, flags: 0, replaces: undefined, json });
const nids = (events: readonly StoredEvent[] | undefined): number[] | undefined => events?.map(({ nid }) => nid);

describe('the ring of a room', () => {
  const gaps = fc.array(fc.integer({ min: 1, max: 5 }), { maxLength: 700 });

  it('answers as the whole list of events would, or not at all', () => {
    fc.assert(
      fc.property(
        gaps,
        fc.nat(30),
        fc.array(fc.tuple(fc.nat(2000), fc.nat(2000), fc.nat(40)), { maxLength: 20 }),
        (steps, loaded, asked) => {
          let nid = 0;
          const all = steps.map((step) => (nid += step));
          // As after loading: the ring begins with the newest few of those that were there.
          const start = all.slice(0, loaded).slice(-20);
          const floor = loaded > 20 && all.length > 20 ? start[0]! - 1 : 0;
          const ring = new EventRing(
            start.map((one) => event(one)),
            floor,
          );
          for (const later of all.slice(loaded)) ring.push(event(later));
          expect(ring.newest?.nid).to.equal(all.at(-1));
          for (const [after, upTo, limit] of asked) {
            const between = nids(ring.between(after, upTo));
            if (between !== undefined) expect(between).to.deep.equal(all.filter((one) => one > after && one <= upTo));
            else expect(after).to.be.below(ring.floor);
            const newest = nids(ring.newestUpTo(upTo, limit));
            const expected = limit === 0 ? [] : all.filter((one) => one <= upTo).slice(-limit);
            if (newest !== undefined) expect(newest).to.deep.equal(expected);
          }
        },
      ),
    );
  });

  it('always holds the newest 128 events, and never more than twice as many', () => {
    const ring = new EventRing([], 0);
    for (let nid = 1; nid <= 2000; nid++) {
      ring.push(event(nid));
      expect(ring.events.length).to.be.below(256);
      expect(nids(ring.newestUpTo(nid, Math.min(nid, 128)))?.[0]).to.equal(Math.max(1, nid - 127));
      expect(nids(ring.between(Math.max(0, nid - 128), nid))).to.have.length(Math.min(nid, 128));
    }
  });

  it('holds some megabytes of events that are large, but always as many as a client shows at once', () => {
    const ring = new EventRing([], 0);
    const large = JSON.stringify({ body: 'x'.repeat(60_000) });
    let most = 0;
    for (let nid = 1; nid <= 300; nid++) {
      ring.push(event(nid, large));
      most = Math.max(most, ring.size);
      expect(ring.size).to.equal(ring.events.reduce((sum, { size }) => sum + size, 0));
      expect(nids(ring.newestUpTo(nid, Math.min(nid, 16)))).to.have.length(Math.min(nid, 16));
      expect(nids(ring.between(ring.floor, nid))?.[0]).to.equal(ring.floor + 1);
    }
    expect(most).to.be.within(1_000_000, 2_300_000);
    // What lies before them does not make more of it.
    const size = ring.size;
    ring.extend([event(1, large)], 0);
    expect(ring.size).to.equal(size);
    for (let nid = 301; nid <= 800; nid++) ring.push(event(nid));
    expect(ring.size).to.be.below(200_000);
    expect(ring.events.length).to.be.at.least(128);
  });

  it('knows every event of a young room', () => {
    const ring = new EventRing([], 0);
    for (let nid = 1; nid <= 100; nid++) ring.push(event(nid));
    expect(nids(ring.between(0, Infinity))).to.have.length(100);
    expect(nids(ring.newestUpTo(1000, 500))).to.have.length(100);
  });
});
