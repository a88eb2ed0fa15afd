import { appendFile, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'chai';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import { ArchiveImport } from '#src/services/retention/archive-import.ts';
import { RoomArchive } from '#src/services/retention/room-archive.ts';
import { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import type { ArchivedRecord } from '#src/storage/retention/purges.ts';
import { ALICE, BOB, eventServices, makeRoom, membership, message, topic } from '#test/support/event-services.ts';
import { DAVE } from '#test/support/federation/remote-room.ts';
import { PurgeWorld } from './purge-world.ts';

let position = 0;

/** An event as it is archived, of a time that its server says. */
const recordAt = (ts: number): ArchivedRecord => {
  position += 1;
  return {
    nid: position,
    topo: position,
    event_id: Buffer.alloc(32, position),
    ts,
    json: '{"type":"m.room.message"}',
    flags: 0,
    state: 0,
    current_state: null,
    prev: [],
    auth: [],
    rel: null,
    rel_type: null,
    replaces: null,
    redacted_by: null,
  };
};

const REACTION = { type: 'm.reaction', sender: ALICE };

describe('the archive of a room', function () {
  this.timeout(60_000);
  let world: PurgeWorld;
  beforeEach(async () => {
    world = await PurgeWorld.open();
  });
  afterEach(() => world.close());

  it('archives what it takes, by room and month, before it deletes it', async () => {
    const room = await makeRoom(world.services);
    await world.say(room, 12, 'kept in files ');
    const rows = await world.stored(room);
    await world.age(room);
    await world.say(room, 1, 'young');
    await world.purger({ archive: new RoomArchive(world.archive) }).purgeHistory(room, world.before());
    const [folder] = await readdir(world.archive);
    expect(decodeURIComponent(folder!)).to.equal(room.roomId);
    const files = await readdir(join(world.archive, folder!));
    const lines = (await Promise.all(files.map((file) => readFile(join(world.archive, folder!, file), 'utf8'))))
      .join('')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(files.every((file) => /^\d{4}-\d{2}\.jsonl$/.test(file))).to.equal(true);
    for (const path of [folder!, ...files.map((file) => join(folder!, file))])
      expect((await stat(join(world.archive, path))).mode & 0o077, path).to.equal(0);
    expect(lines.map((line) => line.position).toSorted((a, b) => a - b)).to.deep.equal(rows.map(({ nid }) => nid));
    expect(lines.filter((line) => line.pdu.type === 'm.room.message')).to.have.length(12);
    expect(lines.every((line) => line.pdu.signatures !== undefined)).to.equal(true);
  });

  it('archives what can be put back: the events stand where they stood, and again is once', async () => {
    const room = await makeRoom(world.services);
    await world.say(room, 12);
    for (let i = 0; i < 20; i++) await world.services.events.send(room, topic(ALICE, `topic ${i}`));
    const old = await world.stored(room);
    await world.age(room);
    await world.say(room, 1, 'young');
    await world.purger({ archive: new RoomArchive(world.archive) }).purgeHistory(room, world.before());
    const [folder = ''] = await readdir(world.archive);
    const again = new ArchiveImport(world.services);
    let restored = 0;
    for (const file of await readdir(join(world.archive, folder)))
      restored += (await again.file(join(world.archive, folder, file))).restored;
    expect(restored).to.equal(old.length);
    const back = await world.stored(room);
    expect(back.map(({ nid }) => nid)).to.include.members(old.map(({ nid }) => nid));
    expect(back.every(({ flags }) => (flags & 14) === 0)).to.equal(true);
    await world.assertStatesReadable(room);
    for (const file of await readdir(join(world.archive, folder))) {
      expect((await again.file(join(world.archive, folder, file))).restored).to.equal(0);
    }
  });

  it('does not continue a line of which a full disk, or a kill, left the beginning', async () => {
    const room = await makeRoom(world.services);
    const archive = new RoomArchive(world.archive);
    const archived = async (words: string): Promise<void> => {
      await world.say(room, 3, words);
      await world.age(room);
      await world.say(room, 1, 'young');
      await world.purger({ archive }).purgeHistory(room, world.before());
    };
    await archived('first');
    const [folder = ''] = await readdir(world.archive);
    const [file = ''] = await readdir(join(world.archive, folder));
    const path = join(world.archive, folder, file);
    const whole = await readFile(path, 'utf8');
    const lines = whole.trimEnd().split('\n').length;
    // As long as nothing that is read at once.
    for (const begun of [whole.slice(0, 30), `{"v":1,"filler":"${'x'.repeat(200_000)}`]) {
      await appendFile(path, begun);
      await archived('second');
    }
    const found = (await readFile(path, 'utf8')).trimEnd().split('\n');
    expect(found.length).to.be.greaterThan(lines + 6);
    for (const line of found) expect(JSON.parse(line)).to.have.property('pdu');
  });

  it('brings events back for a server that runs: they are shown, with what relates to them', async () => {
    const { events } = world.services;
    const room = await makeRoom(world.services);
    const index = world.services.relationIndex;
    const said = await events.send(room, message(ALICE, 'said'));
    const named = await events.send(room, topic(ALICE, 'named'));
    const relates = (to: string): JsonObject => ({
      'm.relates_to': { rel_type: 'm.annotation', event_id: to, key: 'x' },
    });
    const reaction = await events.send(room, { ...REACTION, content: relates(said.eventId) });
    await world.age(room);
    await world.say(room, 2, 'young');
    const purge = world.purger({ archive: new RoomArchive(world.archive) });
    const files = await world.archived(room, purge);
    expect(await index.of(room, said)).to.deep.equal([]);
    expect(room.stateEvent('m.room.topic')!.flags & 8).to.equal(8);
    const archiveImport = new ArchiveImport(world.services);
    for (const file of files) await archiveImport.file(file);
    expect((await index.of(room, said)).map(({ eventId }) => eventId)).to.deep.equal([reaction.eventId]);
    const shown = room.stateEvent('m.room.topic')!;
    expect([shown.eventId, shown.flags & 8]).to.deep.equal([named.eventId, 0]);
    const ring = room.ring.newestUpTo(room.lastPosition, 50);
    expect(ring, 'what came back is read').to.equal(undefined);
    expect((await world.services.loader.one(room, said.nid))!.content['body']).to.equal('said');
    await world.assertStatesReadable(room);
  });

  it('takes turns with those who bring events back, and with remote events', async () => {
    const remote = await world.remoteRoom();
    const { room } = remote;
    for (let i = 0; i < 20; i++) await world.services.events.send(room, topic(ALICE, `topic ${i}`));
    await world.say(room, 20);
    await world.age(room);
    await world.say(room, 1, 'young');
    await remote.catchUp();
    const files = await world.archived(room);
    const purge = world.purger({ batchSize: 3 });
    const work: Promise<unknown>[] = [purge.purgeHistory(room, world.before())];
    for (const file of files) work.push(new ArchiveImport(world.services).file(file));
    work.push(purge.purgeHistory(room, world.before() + 1));
    for (let i = 0; i < 10; i++) {
      const event = remote.build(membership(DAVE, DAVE, 'join', { displayname: `${i}` }));
      work.push(remote.receive(event));
    }
    await Promise.all(work);
    await world.assertStatesReadable(room);
  });

  it('shows nobody what came back from before their time, even where the state of then is gone', async () => {
    const room = await makeRoom(world.services);
    const visibility = { type: 'm.room.history_visibility', sender: ALICE, stateKey: '' };
    await world.services.events.send(room, { ...visibility, content: { history_visibility: 'joined' } });
    const secret = await world.services.events.send(room, message(ALICE, 'secret'));
    for (let i = 0; i < 70; i++) await world.services.events.send(room, topic(ALICE, `topic ${i}`));
    await world.services.events.send(room, membership(BOB, BOB, 'join'));
    for (let i = 0; i < 70; i++) await world.services.events.send(room, topic(ALICE, `topic ${i} again`));
    await world.age(room);
    await world.say(room, 1, 'young');
    for (const file of await world.archived(room)) await new ArchiveImport(world.services).file(file);
    const fresh = await eventServices(world.services.database);
    const again = (await fresh.rooms.byNid(room.nid))!;
    const event = (await fresh.loader.one(again, secret.nid))!;
    const sees = new EventVisibility(fresh.interner, fresh.loader, fresh.states);
    expect(event.state, 'a later state').to.be.greaterThan(secret.nid);
    expect([await sees.maySee(again, ALICE, event), await sees.maySee(again, BOB, event)]).to.deep.equal([true, false]);
    await fresh.writer.close();
  });

  it('refuses archives that were changed, and what is none', async () => {
    const room = await makeRoom(world.services);
    await world.say(room, 2);
    await world.age(room);
    await world.say(room, 1, 'young');
    await world.purger({ archive: new RoomArchive(world.archive) }).purgeHistory(room, world.before());
    const [folder = ''] = await readdir(world.archive);
    const [file = ''] = await readdir(join(world.archive, folder));
    const path = join(world.archive, folder, file);
    await writeFile(path, (await readFile(path, 'utf8')).replaceAll(ALICE, BOB));
    const refused = (): Promise<string> =>
      new ArchiveImport(world.services).file(path).then(
        () => 'taken',
        (error: Error) => error.message,
      );
    expect(await refused()).to.contain('changed');
    await writeFile(path, 'nonsense\n');
    expect(await refused()).to.contain('line 1');
  });

  it('archives rooms of whose ids file systems could not have folders, each in one of its own', async () => {
    const archive = new RoomArchive(world.archive);
    const version = (await makeRoom(world.services)).version;
    const ids = ['a', 'b'].map((end) => `!${'\u20ac'.repeat(76)}${end}:remote.test`);
    for (const [index, roomId] of ids.entries())
      await archive.append({ nid: index + 1, roomId, version }, [recordAt(1_700_000_000_000)]);
    const folders = await readdir(world.archive);
    expect(folders).to.have.length(2);
    for (const [index, roomId] of ids.entries()) {
      const [file = ''] = await readdir(archive.folder(roomId));
      const line = JSON.parse(await readFile(join(archive.folder(roomId), file), 'utf8'));
      expect(line.room_id, String(index)).to.equal(roomId);
    }
  });

  it('has no more files than there were months, whatever times servers say', async () => {
    const archive = new RoomArchive(world.archive);
    const { roomId, version } = await makeRoom(world.services);
    const month = 2_629_800_000;
    const times = Array.from({ length: 150 }, (_, n) => [Date.now() + (n + 2) * month, n * month, -n * month]).flat();
    await archive.append(
      { nid: 1, roomId, version },
      [...times, Number.MAX_SAFE_INTEGER, 1_700_000_000_000].map((ts) => recordAt(ts)),
    );
    expect((await readdir(archive.folder(roomId))).toSorted()).to.deep.equal([
      '2023-11.jsonl',
      'after.jsonl',
      'before.jsonl',
    ]);
  });
});
