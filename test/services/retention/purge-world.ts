import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { systemClock } from '#src/kernel/clock.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { HistoryPurge, type HistoryPurgeOptions } from '#src/services/retention/history-purge.ts';
import { RoomArchive } from '#src/services/retention/room-archive.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { sql } from '#src/storage/database.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import {
  ALICE,
  type EventServices,
  eventServices,
  makeRoom,
  membership,
  message,
} from '#test/support/event-services.ts';
import { CAROL, DAVE, RemoteRoom } from '#test/support/federation/remote-room.ts';

const HOUR = 3_600_000;
const EVENTS = sql('test_purge_events', 'select nid, flags, state from events where room = $1 order by nid');
const LONG_AGO = sql('test_age', 'update events set ts = ts - 86400000 where room = $1 and nid <= $2');

/**
 * Rooms whose old events are purged, on a database of their own, in the real application. The purge has bounds of the test's own, and is broken off;
 * what it left is read by an application that is composed anew.
 */
export class PurgeWorld {
  readonly services: EventServices;
  /** Folder of the archive. */
  readonly archive: string;
  readonly #clone: TestDatabase;

  private constructor(clone: TestDatabase, services: EventServices, archive: string) {
    this.#clone = clone;
    this.services = services;
    this.archive = archive;
  }

  static async open(): Promise<PurgeWorld> {
    const clone = await cloneDatabase();
    const services = await eventServices(clone.database);
    return new PurgeWorld(clone, services, await mkdtemp(join(tmpdir(), 'tsudoi-test-archive-')));
  }

  async close(): Promise<void> {
    await this.services.writer.close();
    await this.#clone.drop();
    await rm(this.archive, { recursive: true, force: true });
  }

  purger(options: Partial<HistoryPurgeOptions> = {}): HistoryPurge {
    const { services } = this;
    return new HistoryPurge({
      ...services,
      clock: systemClock,
      timers: systemTimers,
      batchSize: 10,
      pauseMs: 0,
      ...options,
    });
  }

  /** What is older than this is old. */
  before(): number {
    return Date.now() - HOUR;
  }

  /** Everything so far was sent yesterday. */
  async age(room: Room): Promise<void> {
    await this.services.database.query(LONG_AGO, [room.nid, room.lastPosition]);
  }

  stored(room: Room): Promise<{ nid: number; flags: number; state: number }[]> {
    return this.services.database.query(EVENTS, [room.nid]);
  }

  async say(room: Room, count: number, text = 'm'): Promise<void> {
    for (let i = 0; i < count; i++) await this.services.events.send(room, message(ALICE, `${text}${i}`));
  }

  /** A room with two users of other servers in it. */
  async remoteRoom(): Promise<RemoteRoom> {
    const remote = new RemoteRoom(this.services, await makeRoom(this.services, ALICE, '10'));
    await remote.catchUp();
    for (const user of [CAROL, DAVE]) await remote.accepted(membership(user, user, 'join'));
    return remote;
  }

  /** Purges into the archive, and gives its files. */
  async archived(room: Room, purge = this.purger({ archive: new RoomArchive(this.archive) })): Promise<string[]> {
    await purge.purgeHistory(room, this.before());
    const [folder = ''] = await readdir(this.archive);
    return (await readdir(join(this.archive, folder))).map((file) => join(this.archive, folder, file));
  }

  /** Every state that a kept event stands in can be read, with all the events that it names. */
  async assertStatesReadable(room: Room): Promise<void> {
    const fresh = await eventServices(this.services.database);
    const again = (await fresh.rooms.byNid(room.nid))!;
    for (const { nid } of await this.stored(room)) {
      const event = (await fresh.loader.one(again, nid))!;
      for (const id of [event.state, event.stateAfter]) {
        const state = await fresh.states.get(id);
        const named = [...state.others().events, ...state.members().events];
        const found = await fresh.loader.load(named.map((one) => ({ room: again, nid: one })));
        expect(found.size, `state ${id} at ${nid}`).to.equal(new Set(named).size);
      }
    }
    await fresh.writer.close();
  }
}
