import { expect } from 'chai';
import { silentLogger } from '#src/kernel/logger.ts';
import { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { Room } from '#src/services/room-model/room/room.ts';

const room = { roomId: '!room:test' } as Room;

describe('the stream of room events', () => {
  it('tells everybody who listens to a kind, in the turn in which it is published, and nobody else', () => {
    const stream = new RoomEventStream(silentLogger);
    const heard: string[] = [];
    stream.on('purged', () => {
      heard.push('first');
    });
    const stop = stream.on('purged', () => {
      heard.push('second');
    });
    stream.on('restored', () => {
      heard.push('another kind');
    });
    stream.publish({ kind: 'purged', room });
    expect(heard).to.deep.equal(['first', 'second']);
    stop();
    stream.publish({ kind: 'purged', room });
    expect(heard).to.deep.equal(['first', 'second', 'first']);
  });

  it('logs a listener that throws, with kind and room, and tells the others and the publisher nothing of it', () => {
    const lines: object[] = [];
    const logger = { ...silentLogger, error: (message: string, fields?: object) => lines.push({ message, ...fields }) };
    const stream = new RoomEventStream(logger);
    const failure = new Error('a cache is broken');
    let heard = 0;
    stream.on('purged', () => {
      throw failure;
    });
    stream.on('purged', () => {
      heard += 1;
    });
    stream.publish({ kind: 'purged', room });
    expect(heard).to.equal(1);
    expect(lines).to.deep.equal([
      {
        message: 'a listener of an event stream threw',
        stream: 'room events',
        kind: 'purged',
        room_id: room.roomId,
        err: failure,
      },
    ]);
  });
});
