import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { setImmediate } from 'node:timers/promises';
import type { RoomRegistry } from '#src/services/room-model/room/room-registry.ts';
import { ALICE, type EventServices, makeRoom } from './event-services.ts';

/** The least that may be configured. */
export const ROOM_CACHE_BYTES = 1_048_576;
const EVENT_BYTES = 50_000;

/** Collects garbage: what nobody holds is gone afterwards. */
export async function collectGarbage(times = 3): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  // What was dereferenced in this turn stays until it ends.
  for (let i = 0; i < times; i++) {
    await setImmediate();
    collect();
  }
}

/** Rooms that take all the memory that rooms may take, so that all others are evicted. */
export class RoomEviction {
  readonly #nids: number[] = [];

  /** @param services with `roomCacheBytes: ROOM_CACHE_BYTES` */
  static async prepare(services: EventServices): Promise<RoomEviction> {
    const eviction = new RoomEviction();
    for (let i = 0; i < 2; i++) {
      const large = await makeRoom(services, ALICE, '12', () =>
        Array.from({ length: 14 }, (_, index) => ({
          type: 'org.example.large',
          sender: ALICE,
          stateKey: String(index),
          content: { text: 'x'.repeat(EVENT_BYTES) },
        })),
      );
      eviction.#nids.push(large.nid);
    }
    return eviction;
  }

  /** Evicts all other rooms; of those that nobody holds nothing is left. */
  async evict(rooms: RoomRegistry): Promise<void> {
    for (const nid of this.#nids) await rooms.byNid(nid);
    await collectGarbage(1);
  }
}
