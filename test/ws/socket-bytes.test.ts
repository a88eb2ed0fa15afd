import { expect } from 'chai';
import { type BytesHeld, BytesInFlight } from '#src/kernel/limits/bytes-in-flight.ts';
import { noMetrics } from '#src/kernel/metrics.ts';
import { SocketBytes } from '#src/ws/socket-bytes.ts';

const KiB = 1024;

describe('The bytes of a socket', () => {
  let held: BytesHeld;
  let socket: { bufferedAmount: number };
  let refusals: number;
  let bytes: SocketBytes;

  beforeEach(() => {
    const budget = { total: 64 * KiB, user: 64 * KiB, address: 64 * KiB, connection: 64 * KiB };
    held = new BytesInFlight(budget, noMetrics).open('192.0.2.1', {});
    socket = { bufferedAmount: 0 };
    refusals = 0;
    bytes = new SocketBytes(held, socket, { noRoom: () => (refusals += 1) });
  });

  it('are those that arrive, wait, are worked on and leave, together', () => {
    bytes.arrived(3 * KiB);
    bytes.waits(4 * KiB);
    bytes.runs(5 * KiB);
    socket.bufferedAmount = 6 * KiB;
    bytes.written();
    expect(held.bytes).to.equal(18 * KiB);
    bytes.framed();
    bytes.waited(4 * KiB);
    bytes.ended(5 * KiB);
    socket.bufferedAmount = 0;
    bytes.countAgain();
    expect(held.bytes).to.equal(0);
  });

  it('are not counted where they are few', () => {
    expect(bytes.arrived(KiB)).to.equal(false);
    bytes.waits(KiB);
    bytes.runs(KiB);
    socket.bufferedAmount = KiB;
    bytes.written();
    expect(held.bytes).to.equal(0);
  });

  it('are too many when there is no room for them, of which the owner is told', () => {
    bytes.waits(16 * KiB);
    expect(refusals).to.equal(0);
    bytes.runs(60 * KiB);
    expect(refusals).to.equal(1);
  });

  it('are those of requests that run when the socket is gone, and none when these have ended', () => {
    bytes.waits(8 * KiB);
    bytes.runs(4 * KiB);
    bytes.release();
    expect(held.bytes).to.equal(4 * KiB);
    bytes.ended(4 * KiB);
    expect(held.bytes).to.equal(0);
  });
});
