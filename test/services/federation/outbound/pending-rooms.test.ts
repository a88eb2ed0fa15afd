import { expect } from 'chai';
import fc from 'fast-check';
import { destinationPauseMs } from '#src/services/federation/outbound/destination-pauses.ts';
import { PendingRooms } from '#src/services/federation/outbound/pending-rooms.ts';
import type { DestinationRoomRow } from '#src/storage/federation/destination-rooms.ts';

const DESTINATION = 'p.test';
const ROOM = 1;

describe('what waits for servers', () => {
  // A server comes into a room and goes; events are made, noted, sent in part, written down, and the process is killed.
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.constant('event' as const) },
    { weight: 1, arbitrary: fc.constant('leave' as const) },
    { weight: 1, arbitrary: fc.constant('join' as const) },
    { weight: 4, arbitrary: fc.record({ send: fc.integer({ min: 1, max: 3 }), arrives: fc.boolean() }) },
    { weight: 2, arbitrary: fc.constant('keep' as const) },
    { weight: 1, arbitrary: fc.constant('kill' as const) },
  );

  it('is sent in order, and all that concerns them, whatever happens when', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        let pending = new PendingRooms();
        let rows: DestinationRoomRow[] = [];
        let keptUpTo = 0;
        let isIn = true;
        let cameAt = 0;
        let newest = 0;
        // The server is still to be sent what is sticky.
        let isOwed = false;
        let comings = 0;
        const wanted: number[] = [];
        const arrived: number[] = [];
        const send = (limit: number, arrives: boolean): boolean => {
          const [place] = pending.of(DESTINATION);
          if (place === undefined) return false;
          const { after, newest: last, stickyAfter } = place.span;
          if (stickyAfter !== undefined && arrives) {
            // In two transactions, as it is when there are many.
            const upTo = stickyAfter === 0 && after > 1 ? 1 : undefined;
            pending.advanceSticky(DESTINATION, ROOM, place.span, upTo);
            if (upTo === undefined) isOwed = false;
            return true;
          }
          const events = Array.from({ length: Math.max(0, last - after) }, (_, index) => after + 1 + index).slice(
            0,
            limit,
          );
          const upTo = events.at(-1) ?? last;
          if (!arrives) return true;
          arrived.push(...events.filter((event) => wanted.includes(event)));
          pending.advance(DESTINATION, ROOM, place.span, upTo);
          return true;
        };
        for (const next of steps) {
          if (next === 'event') {
            newest += 1;
            if (isIn) {
              wanted.push(newest);
              pending.add(DESTINATION, ROOM, newest - 1, newest);
            }
          } else if (next === 'leave' && isIn && comings < 5) {
            // The last that it is sent is that it left.
            newest += 1;
            wanted.push(newest);
            pending.end(DESTINATION, ROOM, newest, newest - 1);
            isIn = false;
            isOwed = false;
          } else if (next === 'join' && !isIn) {
            isIn = true;
            comings += 1;
            newest += 1;
            cameAt = newest;
            pending.join(DESTINATION, ROOM, newest);
            isOwed = true;
          } else if (next === 'keep') {
            const { rows: fresh, taken } = pending.takeChanges();
            if (taken.length > 0) rows = [...fresh];
            keptUpTo = newest;
          } else if (next === 'kill') {
            // A server that has left is told of that by what the room says then, as another test shows.
            if (!isIn) continue;
            pending = new PendingRooms();
            for (const row of rows) pending.recall(row, keptUpTo);
            if (newest > keptUpTo && cameAt <= keptUpTo) pending.add(DESTINATION, ROOM, keptUpTo, newest);
            else if (cameAt > keptUpTo) {
              // What it was to be sent before it came back it has by coming.
              for (const event of wanted.splice(0)) if (event <= keptUpTo || event > cameAt) wanted.push(event);
              pending.join(DESTINATION, ROOM, cameAt);
              isOwed = true;
              if (newest > cameAt) pending.add(DESTINATION, ROOM, cameAt, newest);
            }
          } else if (typeof next === 'object') send(next.send, next.arrives);
        }
        for (let turn = 0; pending.has(DESTINATION); turn++) {
          expect(turn).to.be.below(500);
          send(50, true);
        }
        const first = [...new Set(arrived)];
        expect(first).to.include.members(wanted);
        expect(isOwed).to.equal(false);
        expect(first, 'for the first time, in order').to.deep.equal(first.toSorted((one, other) => one - other));
        const { rows: left } = pending.takeChanges();
        expect(left).to.deep.equal([]);
        expect(pending.size).to.equal(0);
      }),
      { numRuns: 1_000 },
    );
  });

  it('takes as much for a server that is away, however many events there are', () => {
    const pending = new PendingRooms();
    for (let nid = 1; nid <= 10_000; nid++) pending.add(DESTINATION, ROOM, nid - 1, nid);
    expect(pending.size).to.equal(1);
    expect(pending.takeChanges().rows).to.deep.equal([
      { destination: DESTINATION, room: ROOM, after: 0, upTo: null, stickyAfter: null },
    ]);
  });

  it('holds so many rooms of all servers together: the one for which most wait is forgotten first', () => {
    const pending = new PendingRooms(4);
    for (const room of [1, 2, 3]) pending.add('away.test', room, 0, 1);
    pending.add('here.test', 1, 0, 1);
    pending.add('new.test', 1, 0, 1);
    expect([...pending.destinations]).to.deep.equal(['here.test', 'new.test']);
    expect(pending.size).to.equal(2);
  });

  it('is tried again within half a minute for a quarter of an hour, and within an hour for ever', () => {
    let passed = 0;
    for (let failures = 1; failures < 200; failures++) {
      const longest = destinationPauseMs(failures) * 1.25;
      if (passed < 15 * 60_000) expect(longest).to.be.below(30_000);
      expect(destinationPauseMs(failures)).to.be.within(1_000, 3_600_000);
      expect(destinationPauseMs(failures + 1)).to.be.at.least(destinationPauseMs(failures));
      passed += destinationPauseMs(failures);
    }
  });
});
