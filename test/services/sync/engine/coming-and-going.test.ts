import { expect } from 'chai';
import type { Room } from '#src/services/room-model/room/room.ts';
import { forgetRoom } from '#src/storage/room-model/member-rows.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message, SERVER } from '#test/support/event-services.ts';
import {
  type ClientEvent,
  type RoomBody,
  type SyncBody,
  syncRequest,
  type SyncWorld,
  syncWorld,
} from './sync-world.ts';

const CAROL = `@carol:${SERVER}`;
const DAVE = `@dave:${SERVER}`;

describe('rooms that a user joins or leaves, in sync', () => {
  let clone: TestDatabase;
  let world: SyncWorld;
  let room: Room;

  before(async () => {
    clone = await cloneDatabase();
    world = await syncWorld(clone.database);
  });
  after(() => clone.drop());
  beforeEach(async () => (room = await makeRoom(world)));

  const sync = async (...request: Parameters<typeof syncRequest>): Promise<SyncBody> =>
    JSON.parse((await world.sync.sync(syncRequest(...request))).body) as SyncBody;
  const now = async (): Promise<string> => (await sync(BOB, undefined)).next_batch;
  const bob = (is: string, by = BOB): Promise<unknown> => world.events.send(room, membership(by, BOB, is));
  const say = (text: string): Promise<unknown> => world.events.send(room, message(ALICE, text));
  const name = (text: string, sender = ALICE): Promise<unknown> =>
    world.events.send(room, { type: 'm.room.name', sender, stateKey: '', content: { name: text } });
  const visible = (to: string): Promise<unknown> =>
    world.events.send(room, {
      type: 'm.room.history_visibility',
      sender: ALICE,
      stateKey: '',
      content: { history_visibility: to },
    });
  const joined = (body: SyncBody): RoomBody | undefined => body.rooms?.join?.[room.roomId];
  const left = (body: SyncBody): RoomBody | undefined => body.rooms?.leave?.[room.roomId];
  const texts = (body: RoomBody | undefined): unknown[] =>
    (body?.timeline.events ?? [])
      .filter(({ type }) => type === 'm.room.message')
      .map(({ content }) => (content as { body?: unknown }).body);
  /** What a client takes the state to be: key -> content. */
  const folded = (body: RoomBody | undefined): Record<string, ClientEvent['content']> =>
    Object.fromEntries(
      [...(body?.state?.events ?? []), ...(body?.timeline.events ?? [])]
        .filter(({ state_key: key }) => key !== undefined)
        .map(({ type, state_key: key, content }) => [`${type} ${key}`, content]),
    );

  /** What happens while Bob is not there and may not see it. */
  const hidden = async (): Promise<void> => {
    await say('before');
    await name('old');
    await visible('joined');
    await name('new');
    await world.events.send(room, membership(CAROL, CAROL, 'join'));
    await say('hidden');
  };
  const hiddenIsKnown = (body: RoomBody | undefined): void => {
    const state = folded(body);
    expect(state['m.room.name ']).to.deep.equal({ name: 'new' });
    expect(state[`m.room.member ${CAROL}`]).to.include({ membership: 'join' });
    expect(texts(body)).not.to.include('hidden');
  };

  it('send a new member the state that was set while it was hidden from them', async () => {
    for (const limit of [0, 1, 2, 10, 100]) {
      room = await makeRoom(world);
      const since = await now();
      await hidden();
      await bob('join');
      await say('after');
      const filter = { timeline: { limit } };
      hiddenIsKnown(joined(await sync(BOB, since, filter)));
      hiddenIsKnown(joined(await sync(BOB, undefined, filter)));
      hiddenIsKnown(joined(await sync(BOB, since, filter, { fullState: true })));
    }
  });

  it('tell who comes back of the state that was set while they could not see it', async () => {
    await bob('join');
    const since = await now();
    await bob('leave');
    const away = (await sync(BOB, since)).next_batch;
    await hidden();
    await bob('join');
    for (const from of [since, away]) hiddenIsKnown(joined(await sync(BOB, from, { timeline: { limit: 50 } })));
  });

  it('do not show an old value of the state after a newer one that is hidden', async () => {
    await bob('join');
    const since = await now();
    await name('first');
    await bob('leave');
    await visible('joined');
    await name('second');
    await bob('join');
    const body = joined(await sync(BOB, since, { timeline: { limit: 50 } }));
    expect(folded(body)['m.room.name ']).to.deep.equal({ name: 'second' });
    expect(body?.timeline.limited).to.equal(true);
    await name('third', ALICE);
    await world.events.send(room, membership(DAVE, DAVE, 'join'));
    await name('fourth', DAVE);
    const filtered = joined(await sync(BOB, since, { timeline: { limit: 50, not_senders: [DAVE] } }));
    expect(folded(filtered)['m.room.name ']).to.deep.equal({ name: 'fourth' });
  });

  it('tell lazy clients of members that came and went unseen, when they know them', async () => {
    await bob('join');
    await world.events.send(room, membership(CAROL, CAROL, 'join'));
    await world.events.send(room, message(CAROL, 'here I am'));
    const filter = { timeline: { limit: 20, not_types: ['m.room.member'] }, state: { lazy_load_members: true } };
    const { next_batch: since, ...first } = await sync(BOB, undefined, filter);
    expect(folded(joined(first as SyncBody))[`m.room.member ${CAROL}`]).to.include({ membership: 'join' });
    await world.events.send(room, membership(CAROL, CAROL, 'leave'));
    const body = joined(await sync(BOB, since, filter));
    expect(folded(body)[`m.room.member ${CAROL}`]).to.include({ membership: 'leave' });
  });

  it('are limited when they are new to a client that had begun before, and not in a first sync that shows them whole', async () => {
    const since = await now();
    await bob('join');
    const all = { timeline: { limit: 100 } };
    expect(joined(await sync(BOB, since, all))?.timeline.limited).to.equal(true);
    expect(joined(await sync(BOB, undefined, all))?.timeline.limited).to.equal(false);
    const known = await now();
    await bob('leave');
    const gone = (await sync(BOB, known, all)).next_batch;
    await bob('join');
    expect(joined(await sync(BOB, gone, all))?.timeline.limited, 'come back').to.equal(true);
    expect(joined(await sync(BOB, known, all))?.timeline.limited, 'gone and back between two syncs').to.equal(false);
  });

  describe('that were joined and left between two syncs', () => {
    it('are sent up to the leave, with the state at the start of the timeline', async () => {
      const since = await now();
      await say('before');
      await bob('join');
      await say('while there');
      await bob('leave');
      await say('afterwards');
      const body = left(await sync(BOB, since, { timeline: { limit: 2 } }));
      expect(texts(body)).to.deep.equal(['while there']);
      expect(body?.timeline.events.at(-1)?.content.membership).to.equal('leave');
      expect(body?.timeline.limited).to.equal(true);
      expect(folded(body)).to.include.keys('m.room.create ', 'm.room.join_rules ', `m.room.member ${ALICE}`);
    });

    it('are sent as new when the user had left them before', async () => {
      await bob('join');
      await bob('leave');
      const since = await now();
      await name('meanwhile');
      await bob('join');
      await say('while there');
      await bob('leave', ALICE);
      const body = left(await sync(BOB, since));
      expect(texts(body)).to.include('while there');
      expect(body?.timeline.events.at(-1)).to.include({ sender: ALICE });
      expect(folded(body)['m.room.name ']).to.deep.equal({ name: 'meanwhile' });
      expect(body?.timeline.limited).to.equal(true);
    });
  });

  it('are in `leave`, even if the filter excludes the leave event', async () => {
    const since = await now();
    const filter = { timeline: { not_types: ['m.room.member'] }, state: { not_types: ['m.room.member'] } };
    await bob('join');
    await bob('leave');
    expect(left(await sync(BOB, since, filter)), 'joined in between').not.to.equal(undefined);
    await bob('invite', ALICE);
    const invited = (await sync(BOB, since)).next_batch;
    await bob('leave');
    expect(left(await sync(BOB, invited, filter)), 'an invite that was declined').not.to.equal(undefined);
    expect(left(await sync(BOB, since, { timeline: { limit: 0 } })), 'no timeline').not.to.equal(undefined);
  });

  describe('in a first sync', () => {
    const isTold = async (filter: object = {}): Promise<boolean> =>
      left(await sync(BOB, undefined, filter)) !== undefined;

    it('are included after a kick, until they are forgotten', async () => {
      await bob('join');
      await say('there');
      await bob('leave', ALICE);
      await say('afterwards');
      const body = left(await sync(BOB, undefined));
      expect(body?.timeline.events.at(-1)).to.include({ sender: ALICE });
      expect(texts(body)).to.deep.equal(['there']);
      await bob('ban', ALICE);
      expect(await isTold(), 'banned').to.equal(true);
      world = await syncWorld(clone.database);
      room = (await world.rooms.byId(room.roomId))!;
      expect(await isTold(), 'after a restart').to.equal(true);
      await forget();
      expect(await isTold(), 'forgotten').to.equal(false);
      expect(await isTold({ include_leave: true }), 'forgotten, asked for').to.equal(false);
    });

    it("are not included after the user's own leave", async () => {
      await bob('join');
      await bob('leave');
      expect(await isTold()).to.equal(false);
      expect(await isTold({ include_leave: true })).to.equal(true);
    });

    it('are told when a ban or a withdrawn invite keeps the user out', async () => {
      await bob('invite', ALICE);
      await bob('leave', ALICE);
      const withdrawn = left(await sync(BOB, undefined));
      expect(withdrawn?.timeline.events).to.have.length(1);
      await bob('ban', ALICE);
      expect(left(await sync(BOB, undefined))?.timeline.events[0]?.content.membership).to.equal('ban');
    });

    const forget = async (): Promise<void> => {
      const member = room.member(BOB)!;
      await forgetRoom(clone.database, room.nid, member.user);
      room.setMember({ ...member, forgotten: true });
    };
  });
});
