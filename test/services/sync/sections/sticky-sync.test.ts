import { expect } from 'chai';
import type { MatrixError } from '#src/protocol/errors/matrix-error.ts';
import type { SyncRequest } from '#src/services/sync/engine/sync-request.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { cloneDatabase, type TestDatabase } from '#test/support/database.ts';
import { ALICE, BOB, makeRoom, membership, message, SERVER } from '#test/support/event-services.ts';
import { ManualClock } from '#test/support/manual-clock.ts';
import {
  type ClientEvent,
  type RoomBody,
  type SyncBody,
  syncRequest,
  syncWorld,
  type SyncWorld,
} from '#test/services/sync/engine/sync-world.ts';

const CAROL = `@carol:${SERVER}`;
const MINUTE = 60_000;

describe('sticky events in sync', () => {
  let clone: TestDatabase;
  let clock: ManualClock;
  let world: SyncWorld;
  let room: Room;

  before(async () => (clone = await cloneDatabase()));
  after(() => clone.drop());
  beforeEach(async () => {
    clock = new ManualClock(Date.now());
    world = await syncWorld(clone.database, { clock, maxStickyEvents: 3 });
    room = await makeRoom(world);
    await world.events.send(room, membership(BOB, BOB, 'join'));
  });

  const say = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await world.events.send(room, message(ALICE, `${i}`));
  };
  const stick = async (text: string, minutes = 10, sender = ALICE): Promise<string> =>
    (await world.events.send(room, { ...message(sender, text), stickyDurationMs: minutes * MINUTE })).eventId;
  const ids = (events: readonly ClientEvent[] | undefined): string[] => (events ?? []).map((event) => event.event_id);
  const sync = async (
    userId: string,
    since?: string,
    filter: object = {},
    more: Partial<SyncRequest> = {},
  ): Promise<{ readonly next: string; readonly body: RoomBody | undefined; readonly stuck: readonly string[] }> => {
    const body = JSON.parse((await world.sync.sync(syncRequest(userId, since, filter, more))).body) as SyncBody;
    const own = body.rooms?.join?.[room.roomId];
    return { next: body.next_batch, body: own, stuck: ids(own?.msc4354_sticky?.events) };
  };
  const ttls = (events: readonly ClientEvent[] | undefined): (number | undefined)[] =>
    (events ?? []).map((event) => event.unsigned?.msc4354_sticky_duration_ttl_ms);

  it('come in a section of their own when the timeline does not reach them, once', async () => {
    const { next } = await sync(BOB);
    const id = await stick('call');
    await say(12);
    await clock.advance(MINUTE);
    const second = await sync(BOB, next);
    expect(second.stuck).to.deep.equal([id]);
    const [event] = second.body!.msc4354_sticky!.events;
    expect(event).to.include({ type: 'm.room.message', sender: ALICE });
    expect(event!.msc4354_sticky).to.deep.equal({ duration_ms: 10 * MINUTE });
    expect(event!.unsigned!.msc4354_sticky_duration_ttl_ms).to.equal(9 * MINUTE);
    const third = await sync(BOB, second.next);
    expect(third.body).to.equal(undefined);
    await say(12);
    expect((await sync(BOB, second.next)).stuck).to.deep.equal([]);
  });

  it('are only in the timeline if it contains them, with their remaining time', async () => {
    const { next } = await sync(BOB);
    const id = await stick('call');
    await say(1);
    await clock.advance(MINUTE);
    for (const [reader, minutes] of [
      [BOB, 9],
      [ALICE, 9],
    ] as const) {
      const { body } = await sync(reader, next);
      expect(ids(body!.timeline.events)).to.include(id);
      expect(ttls(body!.timeline.events)).to.deep.equal([minutes * MINUTE, undefined]);
      expect(body).not.to.have.property('msc4354_sticky');
    }
    await clock.advance(2 * MINUTE);
    expect(ttls((await sync(BOB, next)).body!.timeline.events)).to.deep.equal([7 * MINUTE, undefined]);
    await clock.advance(7 * MINUTE);
    const { body } = await sync(BOB, next);
    expect(ttls(body!.timeline.events)).to.deep.equal([undefined, undefined]);
    expect(body!.timeline.events[0]!.msc4354_sticky).to.deep.equal({ duration_ms: 10 * MINUTE });
  });

  it('come in their section when the filter keeps them out of the timeline, or the room', async () => {
    const { next } = await sync(BOB);
    const id = await stick('call');
    for (const timeline of [
      { not_types: ['m.room.message'] },
      { limit: 0 },
      { not_rooms: [room.roomId] },
      { senders: [] },
    ]) {
      const { stuck, body } = await sync(BOB, next, { timeline });
      expect(stuck, JSON.stringify(timeline)).to.deep.equal([id]);
      expect(body!.timeline.events).to.deep.equal([]);
    }
    expect((await sync(BOB, next, { not_rooms: [room.roomId] })).body).to.equal(undefined);
  });

  it('wake who waits, also those whose filter shows nothing else', async () => {
    const { next } = await sync(BOB);
    const waiting = sync(BOB, next, { timeline: { types: ['m.nothing'] } }, { timeout: 50_000 });
    await say(1);
    const id = await stick('call');
    expect((await waiting).stuck).to.deep.equal([id]);
  });

  it('are sent to initial syncs and new members until they expire', async () => {
    const short = await stick('short', 1);
    const long = await stick('long', 10);
    await say(12);
    expect((await sync(BOB)).stuck).to.deep.equal([short, long]);
    const { next } = await sync(CAROL);
    await clock.advance(MINUTE);
    expect((await sync(BOB)).stuck).to.deep.equal([long]);
    await world.events.send(room, membership(CAROL, CAROL, 'join'));
    const joined = await sync(CAROL, next, { timeline: { limit: 1 } });
    expect(joined.stuck).to.deep.equal([long]);
    await clock.advance(9 * MINUTE);
    expect((await sync(BOB)).stuck).to.deep.equal([]);
  });

  it('are sent again to a user who left and rejoined', async () => {
    const id = await stick('call');
    const { next } = await sync(BOB);
    await say(12);
    await world.events.send(room, membership(BOB, BOB, 'leave'));
    await world.events.send(room, membership(BOB, BOB, 'join'));
    const back = await sync(BOB, next);
    expect(back.stuck).to.deep.equal([id]);
    expect((await sync(BOB, back.next)).body).to.equal(undefined);
    // A new name is no return.
    await world.events.send(room, membership(BOB, BOB, 'join', { displayname: 'Bob' }));
    expect((await sync(BOB, back.next)).stuck).to.deep.equal([]);
  });

  it('are sent to joined members regardless of history visibility', async () => {
    await world.events.send(room, {
      type: 'm.room.history_visibility',
      sender: ALICE,
      stateKey: '',
      content: { history_visibility: 'joined' },
    });
    const id = await stick('call');
    await say(1);
    const { next } = await sync(CAROL);
    const event = (await world.events.find(room, id))!;
    expect(await world.visibility.maySee(room, CAROL, event)).to.equal(false);
    await world.events.send(room, membership(CAROL, CAROL, 'join'));
    expect(await world.visibility.maySee(room, CAROL, event)).to.equal(true);
    const { body, stuck } = await sync(CAROL, next);
    expect([...stuck, ...ids(body!.timeline.events)]).to.include(id);
    const texts = body!.timeline.events.filter((one) => one.type === 'm.room.message');
    expect(ids(texts).filter((one) => one !== id)).to.deep.equal([]);
    await clock.advance(10 * MINUTE);
    expect(await world.visibility.maySee(room, CAROL, event)).to.equal(false);
  });

  it('are ordinary events once they are redacted, also after a restart', async () => {
    const { next } = await sync(BOB);
    const gone = await stick('gone');
    const stays = await stick('stays');
    await say(12);
    await world.events.redact(room, ALICE, gone, {});
    expect((await sync(BOB, next)).stuck).to.deep.equal([stays]);
    world = await syncWorld(clone.database, { clock });
    expect((await sync(BOB, next)).stuck).to.deep.equal([stays]);
  });

  it('are there after a restart, with the time that is left', async () => {
    const { next } = await sync(BOB);
    const id = await stick('call');
    await say(12);
    world = await syncWorld(clone.database, { clock });
    await clock.advance(MINUTE);
    const { stuck, body } = await sync(BOB, next);
    expect(stuck).to.deep.equal([id]);
    expect(ttls(body!.msc4354_sticky!.events)).to.deep.equal([9 * MINUTE]);
  });

  it('of ignored users are not sent', async () => {
    const { next } = await sync(BOB);
    await stick('call');
    await say(12);
    const heard = await stick('heard', 10, BOB);
    await world.accountData.set(BOB, 0, 'm.ignored_user_list', { ignored_users: { [ALICE]: {} } });
    expect((await sync(BOB, next, { timeline: { limit: 0 } })).stuck).to.deep.equal([heard]);
    await world.accountData.set(BOB, 0, 'm.ignored_user_list', { ignored_users: {} });
  });

  it('come with who sent them, for those who load members lazily', async () => {
    const { next } = await sync(BOB, undefined, { state: { lazy_load_members: true } });
    await world.events.send(room, membership(CAROL, CAROL, 'join'));
    await stick('call', 10, CAROL);
    await say(12);
    const { body } = await sync(BOB, next, { state: { lazy_load_members: true } }, { deviceId: 'OTHER' });
    expect(body!.state!.events.map((event) => event.state_key)).to.include(CAROL);
  });

  it('are refused beyond a number for each sender and room, until one expires', async () => {
    await stick('1', 1);
    await stick('2');
    const both = await Promise.allSettled([stick('3'), stick('4')]);
    expect(both.map(({ status }) => status).sort()).to.deep.equal(['fulfilled', 'rejected']);
    const refusal = await stick('5').catch((error: unknown) => error as MatrixError);
    expect(refusal).to.include({ errcode: 'M_LIMIT_EXCEEDED' });
    expect((refusal as MatrixError).fields['retry_after_ms']).to.equal(MINUTE);
    await say(1);
    await stick('of another', 10, BOB);
    const other = await makeRoom(world);
    await world.events.send(other, { ...message(ALICE, 'elsewhere'), stickyDurationMs: MINUTE });
    await clock.advance(MINUTE);
    await stick('6');
  });

  it('are refused when those of a sender are too large together, however few', async () => {
    // Three may stick here.
    await stick('x'.repeat(20_000), 1);
    await stick('x'.repeat(20_000));
    const refusal = await stick('small').catch((error: unknown) => error as MatrixError);
    expect(refusal).to.include({ errcode: 'M_LIMIT_EXCEEDED' });
    expect((refusal as MatrixError).fields['retry_after_ms']).to.equal(MINUTE);
    await stick('of another', 10, BOB);
    await clock.advance(MINUTE);
    await stick('small');
  });

  it('do not stick when they are to for no time at all', async () => {
    const { next } = await sync(BOB);
    await stick('call', 0);
    await say(12);
    expect((await sync(BOB, next)).stuck).to.deep.equal([]);
  });

  it('stick no longer for a date in the future, and shorter for one in the past', async () => {
    const { next } = await sync(BOB);
    const now = clock.now();
    const draft = { ...message(ALICE, 'call'), stickyDurationMs: 10 * MINUTE };
    await world.events.send(room, { ...draft, originServerTs: now + 60 * MINUTE });
    await world.events.send(room, { ...draft, originServerTs: now - 4 * MINUTE });
    await world.events.send(room, { ...draft, originServerTs: now - 60 * MINUTE });
    await say(12);
    expect(ttls((await sync(BOB, next)).body!.msc4354_sticky!.events)).to.deep.equal([10 * MINUTE, 6 * MINUTE]);
  });

  it('come once to everybody who follows while they are sent, also when they were not in memory before', async () => {
    world = await syncWorld(clone.database, { clock });
    room = (await world.rooms.byId(room.roomId))!;
    const sent: string[] = [];
    let isOver = false;
    const readers = [BOB, ALICE, BOB, ALICE].map(async (userId, index) => {
      const deviceId = `DEVICE${index}`;
      const seen: string[] = [];
      let since: string | undefined;
      for (let last = 0; last < 2; last += isOver ? 1 : 0) {
        const { next, body, stuck } = await sync(userId, since, { timeline: { limit: index } }, { deviceId });
        const shown = body?.timeline.events.filter((event) => event.msc4354_sticky !== undefined);
        seen.push(...stuck, ...ids(shown));
        since = next;
        await new Promise((resolve) => setImmediate(resolve));
      }
      return seen;
    });
    const send = async (sender: string): Promise<void> => {
      for (let n = 0; n < 50; n++) {
        sent.push(await stick(`${n}`, 10, sender));
        if (n % 3 === 0) await say(3);
      }
    };
    await Promise.all([send(ALICE), send(BOB)]).finally(() => (isOver = true));
    for (const seen of await Promise.all(readers)) expect(seen.sort()).to.deep.equal([...sent].sort());
  });

  it('cost a room without any nothing, and a room with some one statement at first', async () => {
    await world.events.sticky.start();
    await sync(BOB);
    let { next } = await sync(BOB);
    await stick('warm');
    next = (await sync(BOB, next)).next;
    await stick('call');
    await say(12);
    const before = clone.database.statements();
    const { next: later } = await sync(BOB, next);
    expect(clone.database.statements() - before).to.equal(0);
    await say(1);
    const again = clone.database.statements();
    await sync(BOB, later);
    expect(clone.database.statements() - again).to.equal(0);
  });
});
