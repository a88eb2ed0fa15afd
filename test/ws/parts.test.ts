import { expect } from 'chai';
import { refuseWrittenFloats } from '#src/protocol/json/written-floats.ts';
import { parseFrame } from '#src/ws/frames.ts';
import { HeartbeatWheel } from '#src/ws/heartbeat.ts';
import { SharedFrames } from '#src/ws/shared-frames.ts';
import { ManualClock } from '#test/support/manual-clock.ts';

describe('WebSocket API: shared frames', () => {
  it('encodes a text once, however many sockets it goes to', () => {
    const frames = new SharedFrames();
    const text = (): string => JSON.stringify({ next_batch: 's1', body: 'こんにちは' });
    expect(frames.bytes(text())).to.equal(frames.bytes(text()));
    expect(frames.bytes(text()).toString()).to.equal(text());
  });

  it('keeps a few texts and not those that are long', () => {
    const frames = new SharedFrames();
    const first = frames.bytes('first');
    for (let count = 0; count < 16; count += 1) frames.bytes(`other ${count}`);
    expect(frames.bytes('first')).not.to.equal(first);
    const long = 'x'.repeat(100_000);
    expect(frames.bytes(long)).not.to.equal(frames.bytes(long));
  });
});

describe('WebSocket API: the heartbeat wheel', () => {
  it('beats everybody once per period, by one timer, until they leave', async () => {
    const clock = new ManualClock();
    let ticks = 0;
    const wheel = new HeartbeatWheel<{ beat: () => void }>(clock, 5_000, () => (ticks += 1));
    const beats = [0, 0];
    const members = beats.map((_, index) => ({ beat: () => void (beats[index] = (beats[index] ?? 0) + 1) }));
    wheel.add(members[0]!);
    await clock.advance(2_000);
    wheel.add(members[1]!);
    await clock.advance(4_999);
    expect(beats).to.deep.equal([1, 0]);
    await clock.advance(1);
    expect(beats).to.deep.equal([1, 1]);
    wheel.delete(members[0]!);
    await clock.advance(10_000);
    expect(beats).to.deep.equal([1, 3]);
    expect(ticks).to.equal(17);
    wheel.stop();
    await clock.advance(10_000);
    expect(beats).to.deep.equal([1, 3]);
  });
});

describe('WebSocket API: frames', () => {
  it('takes requests apart, and nothing else', () => {
    expect(parseFrame('{"id":"a","method":"ping","params":{"x":1}}')).to.include({ id: 'a', method: 'ping' });
    expect(parseFrame('{"id":1,"method":"ping"}')?.params).to.deep.equal({});
    expect(parseFrame('{"method":"auth"}')).to.include({ id: undefined });
    for (const text of [
      '',
      'null',
      '"x"',
      '[1]',
      '{}',
      '{"id":null,"method":"ping"}',
      '{"id":{},"method":"ping"}',
      '{"id":1e300}',
    ]) {
      expect(parseFrame(text), text).to.equal(undefined);
    }
  });

  it('tells floats from what looks like one inside a string', () => {
    expect(() => refuseWrittenFloats('{"a":1.0}'))
      .to.throw()
      .with.property('errcode', 'M_BAD_JSON');
    expect(() => refuseWrittenFloats('{"a":[1e3]}'))
      .to.throw()
      .with.property('errcode', 'M_BAD_JSON');
    expect(() => refuseWrittenFloats('{"a":10,"b":": 1.5","c":[-3]}')).not.to.throw();
  });
});
