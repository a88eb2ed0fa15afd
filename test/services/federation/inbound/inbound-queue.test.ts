import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { InboundQueue, type InboundQueueOptions } from '#src/services/federation/inbound/inbound-queue.ts';
import { ROOMS_AT_ONCE, SLOW_ROOMS_AT_ONCE, TURN_MS } from '#src/services/federation/inbound/inbound-receiving.ts';
import type { WaitingEvent } from '#src/services/federation/inbound/inbound-receiving.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('events that wait for their rooms', () => {
  /** Milliseconds that each event of these rooms takes. */
  type Costs = Readonly<Record<number, number>>;

  const idOf = (seq: number): string => Buffer.alloc(32, seq).toString('base64url');
  const eventOf = (seq: number): WaitingEvent => ({
    seq,
    origin: 'a.test',
    event: { eventId: `$${idOf(seq)}`, pdu: {} as never },
    receivedTs: 0,
    characters: 2,
  });

  /** A queue for rooms whose events take so long, and the turns that there were: the room, and how many events were received in it. */
  const world = (costs: Costs, stored: readonly number[] = []) => {
    const clock = new ManualClock();
    const turns: { readonly room: number; readonly ids: readonly string[] }[] = [];
    const finished: number[] = [];
    const rooms = new Map(
      Object.keys(costs).map((nid) => [
        Number(nid),
        { nid: Number(nid), roomId: `!${nid}`, version: roomVersion('12') },
      ]),
    );
    let inside = 0;
    let most = 0;
    const queue = new InboundQueue({
      database: {
        query: (statement: { readonly name: string }, values: readonly unknown[]) => {
          if (statement.name === 'inbound_done') finished.push(...(values[0] as number[]));
          if (statement.name !== 'inbound_next') return Promise.resolve([]);
          const [, after, limit] = values as [number, number, number];
          const left = stored.filter((seq) => seq > after).slice(0, limit);
          return Promise.resolve(
            left.map((seq) => ({ seq, event_id: Buffer.alloc(32, seq), origin: 'a.test', json: '{}', received_ts: 0 })),
          );
        },
      },
      rooms: { byNid: (nid: number) => Promise.resolve(rooms.get(nid)) },
      receiver: {
        receiveMany: async (room: Room, events: readonly { eventId: string }[], _: unknown, isOver: () => boolean) => {
          inside += 1;
          most = Math.max(most, inside);
          const ids: string[] = [];
          for (const { eventId } of events) {
            await new Promise((resolve) => setImmediate(resolve));
            await clock.advance(costs[room.nid] ?? 0);
            ids.push(eventId);
            if (isOver()) break;
          }
          inside -= 1;
          turns.push({ room: room.nid, ids });
          return ids.map(() => ({ outcome: 'known' }));
        },
      },
      policies: { mayConcern: () => false },
      stateLimiter: { pauseMs: () => 0, count: () => undefined, isTight: () => false, forget: () => undefined },
      stream: { on: () => undefined },
      isAway: () => false,
      gaps: {},
      clock,
      timers: clock,
      logger: silentLogger,
      metrics: noMetrics,
    } as unknown as InboundQueueOptions);
    return { queue, turns, finished, most: () => most };
  };

  it('are received for a second at most, and then it is the turn of another room', async () => {
    const { queue, turns, finished } = world({ 1: TURN_MS / 2, 2: 0 });
    const seqs = [1, 2, 3, 4, 5];
    queue.add(1, seqs.map(eventOf));
    await queue.idle();
    expect(turns.map(({ ids }) => ids.length)).to.deep.equal([2, 2, 1]);
    expect(turns.flatMap(({ ids }) => ids)).to.deep.equal(seqs.map((seq) => `$${idOf(seq)}`));
    expect(finished).to.deep.equal(seqs);
  });

  it('are each received once, in order, though they were read from the database and a turn was over before the last of them', async () => {
    const seqs = Array.from({ length: 30 }, (_, i) => i + 1);
    const { queue, turns, finished } = world({ 1: TURN_MS / 4 }, seqs);
    // What came before there was a room for it in memory is read from the database.
    queue.add(1, [{ ...eventOf(1), characters: 100_000_000 }]);
    await queue.idle();
    expect(turns.flatMap(({ ids }) => ids)).to.deep.equal(seqs.map((seq) => `$${idOf(seq)}`));
    expect(finished).to.deep.equal(seqs);
    expect(Math.max(...turns.map(({ ids }) => ids.length))).to.equal(4);
  });

  it('of rooms that take long leave places to those of others', async () => {
    const slow = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [i + 1, TURN_MS]));
    const { queue, turns } = world({ ...slow, 100: 0 });
    let seq = 0;
    for (let nid = 1; nid <= 8; nid++)
      queue.add(
        nid,
        Array.from({ length: 20 }, () => eventOf((seq += 1))),
      );
    // All of them have had a turn, and are known to take long.
    while (turns.length < 8) await new Promise((resolve) => setImmediate(resolve));
    const before = turns.length;
    queue.add(100, [eventOf((seq += 1))]);
    while (!turns.some(({ room }) => room === 100)) await new Promise((resolve) => setImmediate(resolve));
    expect(turns.length - before).to.be.at.most(ROOMS_AT_ONCE + SLOW_ROOMS_AT_ONCE);
    await queue.idle();
    expect(turns.filter(({ room }) => room <= 8)).to.have.length(8 * 20);
  });
});
