import { Tally } from '#src/kernel/tally.ts';
import type { RoomEventStream } from './room-event-stream.ts';

/** Counts the events that are committed, by whether local or remote users have sent them. */
export class EventCounts {
  readonly counts = new Tally('local', 'remote');

  constructor(stream: RoomEventStream, serverName: string) {
    const ending = `:${serverName}`;
    stream.on('appended', ({ events }) => {
      for (const { event } of events) this.counts.add(event.sender.endsWith(ending) ? 'local' : 'remote');
    });
  }
}
