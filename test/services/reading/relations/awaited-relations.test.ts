import { expect } from 'chai';
import type { IdentifiedPdu } from '#src/protocol/events/pdu.ts';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import { Aggregations } from '#src/services/reading/relations/bundled-aggregations.ts';
import type { RelationIndex } from '#src/services/reading/relations/relation-index.ts';
import { EventVisibility } from '#src/services/reading/visibility/event-visibility.ts';
import { threadsOf } from '#src/storage/reading/relation-reads.ts';
import { purgeEvents } from '#src/storage/retention/purges.ts';
import { sql } from '#src/storage/statement.ts';
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

const AWAITED = sql('test_awaited', 'select room, child from awaited_relations order by room, child');

describe('events that came before what they relate to', function () {
  this.timeout(60_000);
  let clone: TestDatabase;
  let services: EventServices;
  let index: RelationIndex;
  let remote: RemoteRoom;

  const begin = async (): Promise<void> => {
    services = await eventServices(clone.database);
    index = services.relationIndex;
  };
  before(async () => {
    clone = await cloneDatabase();
  });
  after(() => clone.drop());
  beforeEach(async () => {
    await begin();
    remote = new RemoteRoom(services, await makeRoom(services));
    await remote.catchUp();
    for (const userId of [CAROL, DAVE]) await remote.accepted(membership(userId, userId, 'join'));
  });

  const relating = (sender: string, relType: string, eventId: string, more: JsonObject = {}) => ({
    ...message(sender, 'related'),
    content: {
      msgtype: 'm.text',
      body: '* related',
      ...more,
      'm.relates_to': { rel_type: relType, event_id: eventId, ...(relType === 'm.annotation' ? { key: '猫' } : {}) },
    },
  });
  /** What comes later: it lies beside what came before it. */
  const target = (): IdentifiedPdu => remote.build(message(CAROL, 'target'));
  const take = async (built: IdentifiedPdu): Promise<StoredEvent> => {
    const reception = await remote.receive(built);
    if (reception.outcome !== 'accepted') throw new Error(reception.outcome);
    await remote.catchUp();
    return reception.event;
  };
  const awaited = async (): Promise<number[]> =>
    (await clone.database.query<{ room: number; child: number }>(AWAITED, []))
      .filter(({ room }) => room === remote.room.nid)
      .map(({ child }) => child);
  const relatedTo = async (event: StoredEvent): Promise<string[]> =>
    (await index.of(remote.room, event)).map(({ eventId }) => eventId);

  for (const restarted of [false, true]) {
    it(`are found from it once it is there${restarted ? ', also when the server started again in between' : ''}`, async () => {
      const later = target();
      const early = await remote.accepted(relating(DAVE, 'm.annotation', later.eventId));
      if (restarted) {
        const { replay } = remote;
        await begin();
        const room = (await services.rooms.byNid(remote.room.nid))!;
        index.version(room);
        remote = Object.assign(new RemoteRoom(services, room), { replay });
      }
      expect(await awaited()).to.have.length(1);
      const stored = await take(later);
      expect(await relatedTo(stored)).to.deep.equal([early]);
      expect(await awaited()).to.deep.equal([]);
      const late = await remote.accepted(relating(CAROL, 'm.reference', later.eventId));
      expect(await relatedTo(stored)).to.have.members([early, late]);
      // As the database has it.
      await begin();
      expect(await relatedTo(stored)).to.have.members([early, late]);
    });
  }

  it('edit it, and make it the root of a thread', async () => {
    const later = target();
    await remote.accepted(
      relating(CAROL, 'm.replace', later.eventId, { 'm.new_content': { msgtype: 'm.text', body: 'edited' } }),
    );
    await remote.accepted(relating(DAVE, 'm.thread', later.eventId));
    const stored = await take(later);
    const { interner, loader, states, events } = services;
    const aggregations = new Aggregations({
      maxBytes: 1_000_000,
      index,
      loader,
      visibility: new EventVisibility(interner, loader, states),
      clock: events.clock,
      ignoredUsers: () => Promise.resolve(new Set()),
    });
    const bundles = await aggregations.bundle(remote.room, { userId: ALICE, deviceId: 'D' }, [stored]);
    const bundled = JSON.parse(bundles.get(stored.nid) ?? '{}');
    expect(bundled['m.replace'].content['m.new_content'].body).to.equal('edited');
    expect(bundled['m.thread'].count).to.equal(1);
    const query = {
      room: remote.room.nid,
      before: { topo: Number.MAX_SAFE_INTEGER, nid: Number.MAX_SAFE_INTEGER },
      upTo: Number.MAX_SAFE_INTEGER,
      without: [],
      participant: undefined,
      limit: 5,
    };
    const { threads } = await threadsOf(clone.database, query, { walked: 10, later: 10, participation: 10 });
    expect(threads.map(({ root }) => root)).to.deep.equal([stored.nid]);
  });

  it('wait no longer when they are deleted, and are nothing when they were redacted', async () => {
    const later = target();
    const early = await remote.accepted(relating(DAVE, 'm.annotation', later.eventId));
    await remote.accepted(relating(CAROL, 'm.reference', '$nobody-ever-sends-this'));
    await remote.accepted({
      type: 'm.room.redaction',
      sender: DAVE,
      content: { redacts: early },
      redacts: early,
    });
    expect(await relatedTo(await take(later))).to.deep.equal([]);
    const [waiting] = await awaited();
    await clone.database.write((tx) =>
      purgeEvents(tx, remote.room.nid, { gone: [{ nid: waiting!, ts: 0 }], detached: [] }),
    );
    expect(await awaited()).to.deep.equal([]);
  });

  it('do not wait for, or relate to, what is in another room', async () => {
    const other = await makeRoom(services);
    const stranger = await services.events.send(other, message(ALICE, 'elsewhere'));
    expect(await index.of(other, stranger)).to.deep.equal([]);
    await remote.accepted(relating(DAVE, 'm.annotation', stranger.eventId));
    await services.events.send(remote.room, relating(ALICE, 'm.reference', stranger.eventId));
    expect(await awaited()).to.deep.equal([]);
    expect(await index.of(other, stranger)).to.deep.equal([]);
    await begin();
    expect(await index.of(other, stranger)).to.deep.equal([]);
    const own = await services.events.send(other, relating(ALICE, 'm.reference', stranger.eventId));
    expect((await index.of(other, stranger)).map(({ eventId }) => eventId)).to.deep.equal([own.eventId]);
  });

  it('cost nothing where nothing is awaited', async () => {
    const receiver = services.receiver;
    const statements = async (): Promise<number> => {
      const built = remote.build(message(CAROL, 'plain'));
      const before = clone.database.statements();
      await receiver.receive(remote.room, built);
      const count = clone.database.statements() - before;
      await remote.catchUp();
      return count;
    };
    await statements();
    expect(await statements()).to.be.at.most(2);
  });
});
