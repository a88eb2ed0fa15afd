import { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import type { Platform } from '../ground/platform.ts';
import type { Slice } from '../ground/slice.ts';

/** The stream of new events, for its listeners. */
export interface EventStreaming {
  readonly stream: RoomEventStream;
}

export const composeEventStream = ({ logger }: Platform): Slice<EventStreaming> => ({
  name: 'event-stream',
  services: { stream: new RoomEventStream(logger) },
});
