import { setImmediate } from 'node:timers/promises';
import { JobElements } from '#src/services/commit/job-elements.ts';
import type { RemoteDeviceLists } from '#src/services/e2ee/device-lists/remote-device-lists.ts';
import type { EventReceiver } from '#src/services/events/receiving/event-receiver.ts';
import type { DeviceListPublisher } from '#src/services/federation/edus/device-list-publisher.ts';
import type { EventLoader } from '#src/services/room-model/event/event-loader.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import type { Database } from '#src/storage/database.ts';
import { hiddenBetween } from '#src/storage/federation/partial-rooms.ts';

export interface CompletedRoomsOptions {
  readonly database: Database;
  readonly loader: EventLoader;
  readonly receiver: Pick<EventReceiver, 'reconsider'>;
  readonly remoteDeviceLists: Pick<RemoteDeviceLists, 'review'>;
  readonly deviceLists: Pick<DeviceListPublisher, 'tell'>;
}

/** The end of a partial join. */
export interface Completion {
  /** Position of the join. */
  readonly after: number;
  /** Servers in the room that were sent nothing since the join. */
  readonly servers: readonly string[];
}

/** Events that are checked again in one turn of the event loop. */
const BATCH_SIZE = 100;
/** Most rounds for events that arrive meanwhile, so that a server which keeps sending cannot delay the rest forever. */
const MAX_LATER_ROUNDS = 20;

/**
 * What follows when the full state of a partially joined room is known: events that were rejected by provisional state are
 * accepted, device lists of users who turned out not to be members are dropped, and servers that had not been known are sent the devices of
 * local members. All of it may be repeated.
 */
export class CompletedRooms {
  readonly #options: CompletedRoomsOptions;

  constructor(options: CompletedRoomsOptions) {
    this.#options = options;
  }

  async settle(room: Room, { after, servers }: Completion): Promise<void> {
    const { remoteDeviceLists, deviceLists } = this.#options;
    const elements = new JobElements();
    await this.#reconsider(room, after, elements);
    await elements.all([room], () => remoteDeviceLists.review(room));
    const local = [...room.members.values()].filter((member) => member.local && member.membership === 'join');
    const users = local.map(({ userId }) => userId);
    const present = servers.filter((server) => room.hasServer(server));
    await elements.all(present, (some) => deviceLists.tell(users, some));
    elements.end();
  }

  /** Also checks events that arrive meanwhile, for some rounds: they may build on rejected events that are accepted now. */
  async #reconsider(room: Room, after: number, elements: JobElements): Promise<void> {
    const { database, loader, receiver } = this.#options;
    const came = room.lastPosition;
    for (let last = after, laterRounds = 0; laterRounds < MAX_LATER_ROUNDS;) {
      const nids = await hiddenBetween(database, room.nid, { after: last, upTo: room.lastPosition, limit: BATCH_SIZE });
      const events = await loader.load(nids.map((nid) => ({ room, nid })));
      for (const nid of nids) {
        const event = events.get(nid);
        if (event === undefined) continue;
        await elements.all([event], () => receiver.reconsider(room, { eventId: event.eventId, pdu: event.pdu }));
      }
      const newest = nids.at(-1);
      if (newest === undefined) return;
      last = newest;
      if (last > came) laterRounds += 1;
      await setImmediate();
    }
  }
}
