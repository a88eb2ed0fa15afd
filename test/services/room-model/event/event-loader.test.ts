import { expect } from 'chai';
import type { Pdu } from '#src/protocol/events/pdu.ts';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Database } from '#src/storage/database.ts';

const room = { nid: 1, roomId: '!r:t', version: roomVersion('12')! };

describe('events in memory', () => {
  it('are the same objects and say the same after they let go of what is parsed', () => {
    const loader = new EventLoader({} as Database);
    const pdu = {
      type: 'm.room.message',
      sender: '@a:t',
      content: { body: 'x'.repeat(1_000) },
      origin_server_ts: 5,
    } as unknown as Pdu;
    const json = JSON.stringify(pdu);
    const parts = { room, nid: 7, topo: 1, eventId: '$e', state: 0, flags: 0, replaces: undefined, json, pdu };
    const event = new StoredEvent(parts);
    loader.remember(event);
    const shown = event.clientJson({ now: 10 }, true);
    const before = event.size;
    loader.shrink();
    expect(event.size).to.be.below(before / 2);
    expect(loader.peek(7)).to.equal(event);
    expect(event.pdu).to.deep.equal(pdu);
    expect(event.clientJson({ now: 10 }, true)).to.equal(shown);
  });
});
