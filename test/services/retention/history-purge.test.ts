import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { systemClock } from '#src/kernel/clock.ts';
import { systemTimers } from '#src/kernel/timers.ts';
import { sql } from '#src/storage/database.ts';
import { ArchiveImport } from '#src/services/retention/archive-import.ts';
import { HistoryPurge, type HistoryPurgeOptions } from '#src/services/retention/history-purge.ts';
import { RoomArchive } from '#src/services/retention/room-archive.ts';
import type { Room } from '#src/services/rooms/room.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import {
  ALICE,
  BOB,
  type EventServices,
  eventServices,
  makeRoom,
  membership,
  message,
  topic,
} from '#test/support/event-services.ts';

const HOUR = 3_600_000;
const EVENTS = sql('test_purge_events', 'select nid, flags, state from events where room = $1 order by nid');
const DELTAS = sql('test_deltas', 'select nid from state_delta where room = $1');
const LONG_AGO = sql('test_age', 'update events set ts = ts - 86400000 where room = $1 and nid <= $2');

describe('purging the history of a room', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let services: EventServices;
  let archive: string;
  beforeEach(async () => {
    clone = await cloneDatabase();
    services = await eventServices(clone.database);
    archive = await mkdtemp(join(tmpdir(), 'tsudoi-test-archive-'));
  });
  afterEach(async () => {
    await services.writer.close();
    await clone.drop();
    await rm(archive, { recursive: true, force: true });
  });

  const purger = (options: Partial<HistoryPurgeOptions> = {}): HistoryPurge =>
    new HistoryPurge({ ...services, clock: systemClock, timers: systemTimers, batchSize: 10, pauseMs: 0, ...options });
  const before = (): number => Date.now() - HOUR;
  /** Everything so far was sent yesterday. */
  const age = (room: Room): Promise<unknown> => services.database.query(LONG_AGO, [room.nid, room.lastPosition]);
  const stored = (room: Room): Promise<{ nid: number; flags: number; state: number }[]> =>
    services.database.query(EVENTS, [room.nid]);
  const say = async (room: Room, count: number, text = 'm'): Promise<void> => {
    for (let i = 0; i < count; i++) await services.events.send(room, message(ALICE, `${text}${i}`));
  };
  /** Every state that a kept event stands in can be read, with all the events that it names. */
  const assertStatesReadable = async (room: Room): Promise<void> => {
    const fresh = await eventServices(services.database);
    const again = (await fresh.rooms.byNid(room.nid))!;
    for (const { nid } of await stored(room)) {
      const event = (await fresh.loader.one(again, nid))!;
      for (const id of [event.state, event.stateAfter]) {
        const state = await fresh.states.get(id);
        const named = [...state.others().events, ...state.members().events];
        const found = await fresh.loader.load(named.map((one) => ({ room: again, nid: one })));
        expect(found.size, `state ${id} at ${nid}`).to.equal(new Set(named).size);
      }
    }
    await fresh.writer.close();
  };

  it('takes old messages and superseded state away, and leaves the state, the newest event and what is young', async () => {
    const room = await makeRoom(services);
    await say(room, 30, 'old');
    for (let i = 0; i < 40; i++) await services.events.send(room, topic(ALICE, `topic ${i}`));
    await services.events.send(room, membership(BOB, BOB, 'join'));
    await say(room, 5, 'older');
    await age(room);
    await say(room, 3, 'young');
    const outcome = await purger().purgeHistory(room, before());
    expect(outcome.isDone).to.equal(true);
    const left = await stored(room);
    const visible = left.filter(({ flags }) => (flags & 14) === 0);
    expect(visible).to.have.length(3);
    expect(outcome.deleted).to.be.greaterThan(60);
    const names = [...room.state.values()].map(({ event }) => event.nid);
    const members = [...room.members.values()].map(({ event }) => event);
    expect(left.map(({ nid }) => nid)).to.include.members([...names, ...members]);
    const hidden = left.filter(({ flags }) => (flags & 8) !== 0);
    expect(hidden.every(({ flags, state }) => (flags & 1) === 0 && state === 0)).to.equal(true);
    expect(room.stateText('m.room.topic', 'topic')).to.equal('topic 39');
    expect(room.ring.events.map((event) => event.content['body'])).to.deep.equal(['young0', 'young1', 'young2']);
    expect((await services.database.query(DELTAS, [room.nid])).length).to.be.below(10);
    await assertStatesReadable(room);
  });

  it('leaves the newest event of a room that nobody writes in any more, and the room goes on', async () => {
    const room = await makeRoom(services, ALICE, '10');
    await say(room, 20);
    await age(room);
    await purger().purgeHistory(room, before());
    const visible = (await stored(room)).filter(({ flags }) => (flags & 14) === 0);
    expect(visible.map(({ nid }) => nid)).to.deep.equal([room.lastPosition]);
    const next = await eventServices(services.database);
    const again = (await next.rooms.byNid(room.nid))!;
    await next.events.send(again, message(ALICE, 'still here'));
    await next.events.send(again, topic(ALICE, 'new'));
    await next.events.send(again, membership(BOB, BOB, 'join'));
    expect(again.joinedCount).to.equal(2);
    await assertStatesReadable(again);
    await next.writer.close();
  });

  it('judges every event by its own time: a forged one takes no others along', async () => {
    const room = await makeRoom(services);
    await age(room);
    await services.events.send(room, { ...message(ALICE, 'forged'), originServerTs: 1 });
    await say(room, 3, 'young');
    await purger().purgeHistory(room, before());
    expect(room.ring.events.map((event) => event.content['body'])).to.deep.equal(['young0', 'young1', 'young2']);
  });

  it('shows nobody what a deleted state event said before', async () => {
    const room = await makeRoom(services);
    await services.events.send(room, topic(ALICE, 'secret'));
    await age(room);
    const shown = await services.events.send(room, topic(ALICE, 'public'));
    expect(shown.clientJson({}, true)).to.contain('secret');
    await say(room, 70);
    for (let i = 0; i < 70; i++) await services.events.send(room, { ...topic(ALICE, `${i}`), type: 'm.other' });
    await purger().purgeHistory(room, before());
    const again = await services.loader.one(room, shown.nid);
    const rows = await stored(room);
    const isGone = !rows.some(({ nid }) => nid === shown.replaces);
    expect(again!.clientJson({}, true).includes('secret')).to.equal(!isGone);
  });

  it('stops when it is told to, and goes on where it was', async () => {
    const room = await makeRoom(services);
    await say(room, 60);
    await age(room);
    await say(room, 1, 'young');
    const ending = new AbortController();
    const purge = purger();
    const time = before();
    let steps = 0;
    purge.purged.subscribe(() => {
      if (++steps === 2) ending.abort();
    });
    const first = await purge.purgeHistory(room, time, ending.signal);
    expect(first.isDone).to.equal(false);
    expect(first.deleted).to.be.within(1, 25);
    const second = await purger().purgeHistory(room, time);
    expect(second.isDone).to.equal(true);
    expect(second.deleted).to.be.greaterThan(first.deleted);
    expect((await stored(room)).filter(({ flags }) => (flags & 14) === 0)).to.have.length(1);
  });

  it('lets events be sent while it runs, and loses none of them', async () => {
    const room = await makeRoom(services);
    await say(room, 150);
    await age(room);
    const purging = purger({ batchSize: 5 }).purgeHistory(room, before());
    for (let i = 0; i < 40; i++) {
      await services.events.send(room, i % 4 === 0 ? topic(ALICE, `live ${i}`) : message(ALICE, `live ${i}`));
    }
    await purging;
    await purger().purgeHistory(room, before());
    expect((await stored(room)).filter(({ flags }) => (flags & 14) === 0)).to.have.length(40);
    await assertStatesReadable(room);
  });

  it('archives what it takes, by room and month, before it deletes it', async () => {
    const room = await makeRoom(services);
    await say(room, 12, 'kept in files ');
    const rows = await stored(room);
    await age(room);
    await say(room, 1, 'young');
    await purger({ archive: new RoomArchive(archive) }).purgeHistory(room, before());
    const [folder] = await readdir(archive);
    expect(decodeURIComponent(folder!)).to.equal(room.roomId);
    const files = await readdir(join(archive, folder!));
    const lines = (await Promise.all(files.map((file) => readFile(join(archive, folder!, file), 'utf8'))))
      .join('')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(files.every((file) => /^\d{4}-\d{2}\.jsonl$/.test(file))).to.equal(true);
    expect(lines.map((line) => line.position).toSorted((a, b) => a - b)).to.deep.equal(rows.map(({ nid }) => nid));
    expect(lines.filter((line) => line.pdu.type === 'm.room.message')).to.have.length(12);
    expect(lines.every((line) => line.pdu.signatures !== undefined)).to.equal(true);
  });

  it('archives what can be put back: the events stand where they stood, and again is once', async () => {
    const room = await makeRoom(services);
    await say(room, 12);
    for (let i = 0; i < 20; i++) await services.events.send(room, topic(ALICE, `topic ${i}`));
    const old = await stored(room);
    await age(room);
    await say(room, 1, 'young');
    await purger({ archive: new RoomArchive(archive) }).purgeHistory(room, before());
    const [folder = ''] = await readdir(archive);
    const again = new ArchiveImport(services);
    let restored = 0;
    for (const file of await readdir(join(archive, folder)))
      restored += (await again.file(join(archive, folder, file))).restored;
    expect(restored).to.equal(old.length);
    const back = await stored(room);
    expect(back.map(({ nid }) => nid)).to.include.members(old.map(({ nid }) => nid));
    expect(back.every(({ flags }) => (flags & 14) === 0)).to.equal(true);
    await assertStatesReadable(room);
    for (const file of await readdir(join(archive, folder))) {
      expect((await again.file(join(archive, folder, file))).restored).to.equal(0);
    }
  });

  it('refuses archives that were changed, and what is none', async () => {
    const room = await makeRoom(services);
    await say(room, 2);
    await age(room);
    await say(room, 1, 'young');
    await purger({ archive: new RoomArchive(archive) }).purgeHistory(room, before());
    const [folder = ''] = await readdir(archive);
    const [file = ''] = await readdir(join(archive, folder));
    const path = join(archive, folder, file);
    await writeFile(path, (await readFile(path, 'utf8')).replaceAll(ALICE, BOB));
    const refused = (): Promise<string> =>
      new ArchiveImport(services).file(path).then(
        () => 'taken',
        (error: Error) => error.message,
      );
    expect(await refused()).to.contain('changed');
    await writeFile(path, 'nonsense\n');
    expect(await refused()).to.contain('line 1');
  });
});
