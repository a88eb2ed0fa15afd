import { expect } from 'chai';
import fc from 'fast-check';
import type { JsonObject } from '#src/protocol/json/json-value.ts';
import type { StoredEvent } from '#src/services/room-model/event/stored-event.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { UnreadCounts } from '#src/services/push/unread/unread-counts.ts';
import type { RoomUnread } from '#src/services/push/unread/unread-state.ts';
import { World } from './world.ts';

const ALICE = '@alice:test';
const BOB = '@bob:test';
const CAROL = '@carol:test';
const DORA = '@dora:test';

const plain = (unread: RoomUnread): { main: [number, number]; threads: Record<string, [number, number]> } => ({
  main: [unread.notification, unread.highlight],
  threads: Object.fromEntries(
    [...unread.threads].sort().map(([root, { notification, highlight }]) => [root, [notification, highlight]]),
  ),
});

describe('unread counts', () => {
  let world: World;
  before(async () => {
    world = await World.begin();
  });
  after(() => world.end());

  const counts = async (userId: string, room: Room): Promise<ReturnType<typeof plain>> =>
    plain(await world.services.unread.counts(userId, room, world.services.writer.committedIn(room.shard)));
  /** Reads once for all users what is unread in a room, however little it is, and forgets all the time what it has counted. */
  const forgetfulCounts = (): UnreadCounts => new UnreadCounts({ ...world.services, cacheBytes: 4_000, sharedFrom: 1 });
  const mention = (userId: string): { 'm.mentions': { user_ids: string[] } } => ({
    'm.mentions': { user_ids: [userId] },
  });

  it('counts what others said since one joined, and highlights what names one', async () => {
    const room = await world.room(ALICE);
    await world.say(room, ALICE, 'before bob came');
    await world.join(room, BOB);
    await world.say(room, ALICE, 'one');
    await world.say(room, ALICE, 'two', mention(BOB));
    await world.services.events.send(room, { type: 'm.reaction', sender: ALICE, content: {} });
    expect(await counts(BOB, room)).to.deep.equal({ main: [2, 1], threads: {} });
    expect(await counts(ALICE, room)).to.deep.equal({ main: [0, 0], threads: {} });
    expect(await counts(CAROL, room)).to.deep.equal({ main: [0, 0], threads: {} });
  });

  it('starts over when one sends something, in the thread where one does', async () => {
    const room = await world.room(ALICE, [BOB]);
    const root = await world.say(room, ALICE, 'root');
    await world.reply(room, ALICE, root.eventId);
    await world.say(room, ALICE, 'main');
    expect(await counts(BOB, room)).to.deep.equal({ main: [2, 0], threads: { [root.eventId]: [1, 0] } });
    await world.reply(room, BOB, root.eventId);
    expect(await counts(BOB, room)).to.deep.equal({ main: [2, 0], threads: {} });
    await world.say(room, BOB, 'main');
    expect(await counts(BOB, room)).to.deep.equal({ main: [0, 0], threads: {} });
  });

  it('counts in a thread what relates to something in it, up to three hops away', async () => {
    const room = await world.room(ALICE, [BOB]);
    const relate = (relType: string, eventId: string): JsonObject => ({
      'm.relates_to': { rel_type: relType, event_id: eventId },
    });
    const root = await world.say(room, ALICE, 'root');
    const reply = await world.reply(room, ALICE, root.eventId);
    const edit = { 'm.new_content': { msgtype: 'm.text', body: 'for bob' }, ...mention(BOB) };
    const edited = await world.say(room, ALICE, '* for bob', { ...edit, ...relate('m.replace', reply.eventId) });
    await world.say(room, ALICE, 'about that', relate('m.reference', edited.eventId));
    await world.say(room, ALICE, 'about the root', relate('m.reference', root.eventId));
    const expected = { main: [2, 0], threads: { [root.eventId]: [3, 1] } };
    expect(await counts(BOB, room)).to.deep.equal(expected);
    const reaction = { type: 'm.reaction', sender: BOB, content: relate('m.annotation', edited.eventId) };
    world = await world.restart();
    const again = (await world.services.rooms.byId(room.roomId))!;
    expect(await counts(BOB, again)).to.deep.equal(expected);
    await world.services.events.send(again, reaction);
    expect(await counts(BOB, again)).to.deep.equal({ main: [2, 0], threads: {} });
    // What the events in memory say no more is read.
    for (let i = 0; i < 6; i++)
      await world.services.events.sendAll(
        again,
        Array.from({ length: 50 }, () => ({ type: 'x.silent', sender: ALICE, content: {} })),
      );
    await world.say(again, ALICE, 'late', relate('m.reference', edited.eventId));
    expect(await counts(BOB, again)).to.deep.equal({ main: [2, 0], threads: { [root.eventId]: [1, 0] } });
    world = await world.restart();
    const last = (await world.services.rooms.byId(room.roomId))!;
    expect(await counts(BOB, last)).to.deep.equal({ main: [2, 0], threads: { [root.eventId]: [1, 0] } });
  });

  it('is not impressed by a change of name', async () => {
    const room = await world.room(ALICE, [BOB]);
    await world.say(room, ALICE, 'one');
    await world.join(room, BOB, { displayname: 'Bobby' });
    expect(await counts(BOB, room)).to.deep.equal({ main: [1, 0], threads: {} });
  });

  it('follows unthreaded, main and threaded receipts, public and private', async () => {
    const room = await world.room(ALICE, [BOB]);
    const root = await world.say(room, ALICE, 'root');
    const first = await world.reply(room, ALICE, root.eventId);
    const second = await world.reply(room, ALICE, root.eventId, 'again', mention(BOB));
    const last = await world.say(room, ALICE, 'main');
    expect(await counts(BOB, room)).to.deep.equal({ main: [2, 0], threads: { [root.eventId]: [2, 1] } });
    await world.services.receipts.receive(room, BOB, 'm.read', root.eventId, first.eventId);
    expect(await counts(BOB, room)).to.deep.equal({ main: [2, 0], threads: { [root.eventId]: [1, 1] } });
    await world.services.receipts.receive(room, BOB, 'm.read.private', 'main', last.eventId);
    expect(await counts(BOB, room)).to.deep.equal({ main: [0, 0], threads: { [root.eventId]: [1, 1] } });
    await world.services.receipts.receive(room, BOB, 'm.read', undefined, second.eventId);
    expect(await counts(BOB, room)).to.deep.equal({ main: [0, 0], threads: {} });
  });

  it('leaves out those whom one ignores, as soon as one does', async () => {
    const erin = '@erin:test';
    const room = await world.room(ALICE, [erin, BOB]);
    await world.say(room, ALICE, 'one');
    await world.say(room, BOB, 'two', mention(erin));
    expect(await counts(erin, room)).to.deep.equal({ main: [2, 1], threads: {} });
    await world.services.accountData.set(erin, 0, 'm.ignored_user_list', { ignored_users: { [BOB]: {} } });
    expect(await counts(erin, room)).to.deep.equal({ main: [1, 0], threads: {} });
    await world.say(room, BOB, 'three', mention(erin));
    await world.say(room, ALICE, 'four');
    expect(await counts(erin, room)).to.deep.equal({ main: [2, 0], threads: {} });
    await world.services.accountData.set(erin, 0, 'm.ignored_user_list', {});
    expect(await counts(erin, room)).to.deep.equal({ main: [4, 2], threads: {} });
  });

  it('takes a redacted event out', async () => {
    const room = await world.room(ALICE, [BOB]);
    const event = await world.say(room, ALICE, 'oops', mention(BOB));
    expect(await counts(BOB, room)).to.deep.equal({ main: [1, 1], threads: {} });
    await world.services.events.redact(room, ALICE, event.eventId, {});
    expect(await counts(BOB, room)).to.deep.equal({ main: [0, 0], threads: {} });
  });

  it('counts by the mode of the room: nothing when muted, only mentions when so set', async () => {
    const room = await world.room(ALICE, [BOB, CAROL]);
    await world.services.pushRules.put(
      BOB,
      'override',
      room.roomId,
      { actions: [], conditions: [{ kind: 'event_match', key: 'room_id', pattern: room.roomId }] },
      {},
    );
    await world.services.pushRules.put(CAROL, 'room', room.roomId, { actions: [] }, {});
    const rows = async (): Promise<number> =>
      (
        await world.services.database.query({ name: 'count_mentions', text: 'select 1 from mention where room = $1' }, [
          room.nid,
        ])
      ).length;
    await world.say(room, ALICE, 'for everybody');
    await world.say(room, ALICE, 'for bob', mention(BOB));
    expect(await rows()).to.equal(0);
    await world.say(room, ALICE, 'for carol', mention(CAROL));
    await world.say(room, ALICE, '@room', { 'm.mentions': { room: true } });
    expect(await rows()).to.equal(1);
    expect(await counts(BOB, room)).to.deep.equal({ main: [0, 0], threads: {} });
    expect(await counts(CAROL, room)).to.deep.equal({ main: [2, 2], threads: {} });
    await world.services.pushRules.remove(CAROL, 'room', room.roomId);
    expect(await counts(CAROL, room)).to.deep.equal({ main: [4, 2], threads: {} });
  });

  it('asks the database once when cold and never when warm', async () => {
    const room = await world.room(ALICE, [BOB]);
    await world.say(room, ALICE, 'one');
    const upTo = (): number => world.services.writer.committedIn(room.shard);
    await world.services.receipts.forRoom(room);
    await world.services.pushRules.load([BOB]);
    await world.services.accountData.load(BOB);
    expect(await world.statements(() => world.services.unread.counts(BOB, room, upTo()))).to.equal(1);
    await world.say(room, ALICE, 'two', mention(BOB));
    expect(await world.statements(() => world.services.unread.counts(BOB, room, upTo()))).to.equal(0);
    expect(await counts(BOB, room)).to.deep.equal({ main: [2, 1], threads: {} });
  });

  it('reads many rooms in four statements', async () => {
    const dave = '@dave:test';
    const rooms: Room[] = [];
    for (let i = 0; i < 5; i++) rooms.push(await world.room(ALICE, [dave]));
    for (const room of rooms) await world.say(room, ALICE, 'hello');
    expect(await world.statements(() => world.services.unread.load(dave, rooms))).to.be.at.most(4);
    const sent = await world.statements(async () => {
      for (const room of rooms) expect((await counts(dave, room)).main).to.deep.equal([1, 0]);
    });
    expect(sent).to.equal(0);
  });

  it('agrees with a recount of everything, whatever happens', async function () {
    this.timeout(60_000);
    type Step =
      | { readonly do: 'say'; readonly by: number; readonly thread: number; readonly names: number }
      | {
          readonly do: 'read';
          readonly by: number;
          readonly at: number;
          readonly how: 'unthreaded' | 'main' | 'thread';
          readonly isPrivate: boolean;
        }
      | { readonly do: 'relate'; readonly by: number; readonly at: number; readonly names: number }
      | { readonly do: 'redact'; readonly at: number }
      | { readonly do: 'rejoin'; readonly by: number }
      | { readonly do: 'ignore'; readonly by: number; readonly whom: readonly number[] }
      | { readonly do: 'set'; readonly mode: 'all' | 'mentions' | 'muted' }
      | { readonly do: 'ask'; readonly by: number };
    const user = fc.nat(2);
    const step: fc.Arbitrary<Step> = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({ do: fc.constant('say' as const), by: user, thread: fc.nat(3), names: fc.nat(5) }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant('read' as const),
          by: user,
          at: fc.nat(60),
          how: fc.constantFrom('unthreaded' as const, 'main' as const, 'thread' as const),
          isPrivate: fc.boolean(),
        }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constant('relate' as const), by: user, at: fc.nat(20), names: fc.nat(5) }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('redact' as const), at: fc.nat(60) }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('rejoin' as const), by: fc.integer({ min: 1, max: 2 }) }) },
      { weight: 3, arbitrary: fc.record({ do: fc.constant('ask' as const), by: user }) },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant('ignore' as const), by: user, whom: fc.subarray([0, 1, 2]) }),
      },
      {
        weight: 1,
        arbitrary: fc.record({
          do: fc.constant('set' as const),
          mode: fc.constantFrom('all' as const, 'mentions' as const, 'muted' as const),
        }),
      },
    );
    const users = [ALICE, BOB, CAROL];
    const forgetful = forgetfulCounts();
    // Carol has a rule of her own: it makes exceptions in both directions.
    await world.services.pushRules.put(
      CAROL,
      'content',
      'cake',
      { pattern: 'cake', actions: ['notify', { set_tweak: 'highlight' }] },
      {},
    );
    await world.services.pushRules.put(CAROL, 'sender', ALICE, { actions: [] }, {});
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
        const room = await world.room(ALICE, [BOB, CAROL]);
        const sent: {
          event: StoredEvent;
          by: string;
          root: string | undefined;
          cake: boolean;
          names: string | undefined;
          redacted: boolean;
          to: string | undefined;
        }[] = [];
        /** The thread of an event: found along what it relates to, in three hops at most. */
        const threadAlong = (eventId: string | undefined, hops = 3): string | undefined => {
          const one = sent.find(({ event }) => event.eventId === eventId);
          // What was redacted relates to nothing any more.
          if (one === undefined || hops === 0 || (one.redacted && hops < 3)) return undefined;
          return one.root ?? threadAlong(one.to, hops - 1);
        };
        const roots: string[] = [];
        const ignored = new Map<string, readonly string[]>();
        /** What Bob wants to hear of the room, and what his rules said of events when they were sent, where that was otherwise. */
        let mode: 'all' | 'mentions' | 'muted' = 'all';
        const exceptions = new Map<string, number>();
        const note = (eventId: string, names: string | undefined): void => {
          const usual = mode === 'all' ? 1 : 0;
          const verdict = mode === 'muted' ? 0 : names === BOB ? 2 : usual;
          if (verdict !== usual) exceptions.set(eventId, verdict);
        };
        const since = new Map(users.map((userId) => [userId, room.member(userId)!.since]));
        const read = new Map<string, number>();
        const move = (userId: string, thread: string, nid: number): void =>
          void read.set(`${userId} ${thread}`, Math.max(read.get(`${userId} ${thread}`) ?? 0, nid));
        const naive = (userId: string): ReturnType<typeof plain> => {
          const result: ReturnType<typeof plain> = { main: [0, 0], threads: {} };
          for (const { event, by, cake, names, redacted } of sent) {
            const root = threadAlong(event.eventId);
            if (by === userId || redacted || event.nid <= since.get(userId)!) continue;
            if (ignored.get(userId)?.includes(by) === true) continue;
            const thread = root ?? 'main';
            if (event.nid <= Math.max(read.get(`${userId} `) ?? 0, read.get(`${userId} ${thread}`) ?? 0)) continue;
            const isAnswered = sent.some(
              (own) => own.by === userId && own.event.nid > event.nid && threadAlong(own.event.eventId) === root,
            );
            if (isAnswered) continue;
            // Override rules (mentions) come before content rules, and these before sender rules.
            let verdict = names === userId ? 2 : 1;
            if (userId === CAROL && verdict === 1) verdict = cake ? 2 : by === ALICE ? 0 : 1;
            if (userId === BOB) verdict = exceptions.get(event.eventId) ?? (mode === 'all' ? 1 : 0);
            if (verdict === 0) continue;
            const count = root === undefined ? result.main : (result.threads[root] ??= [0, 0]);
            count[0]++;
            if (verdict === 2) count[1]++;
          }
          result.threads = Object.fromEntries(Object.entries(result.threads).sort(([a], [b]) => (a < b ? -1 : 1)));
          return result;
        };
        const check = async (userId: string): Promise<void> => {
          expect(await counts(userId, room), userId).to.deep.equal(naive(userId));
          const position = world.services.writer.committedIn(room.shard);
          expect(plain(await forgetful.counts(userId, room, position)), userId).to.deep.equal(naive(userId));
        };
        for (const one of steps) {
          if (one.do === 'ask') await check(users[one.by]!);
          else if (one.do === 'say') {
            const by = users[one.by]!;
            const root = one.thread === 0 ? undefined : roots[one.thread - 1];
            const names = users[one.names];
            const cake = one.names === 4;
            const body = cake ? 'there is cake' : 'hello';
            const content = names === undefined ? {} : mention(names);
            const event =
              root === undefined
                ? await world.say(room, by, body, content)
                : await world.reply(room, by, root, body, content);
            if (root === undefined && roots.length < 3) roots.push(event.eventId);
            sent.push({ event, by, root, cake, names, redacted: false, to: undefined });
            note(event.eventId, names);
          } else if (one.do === 'relate') {
            const target = sent[one.at % Math.max(sent.length, 1)];
            if (target === undefined) continue;
            const by = users[one.by]!;
            const names = users[one.names];
            const to = target.event.eventId;
            const relation = { 'm.relates_to': { rel_type: 'm.reference', event_id: to } };
            const event = await world.say(room, by, 'hello', {
              ...relation,
              ...(names === undefined ? {} : mention(names)),
            });
            sent.push({ event, by, root: undefined, cake: false, names, redacted: false, to });
            note(event.eventId, names);
          } else if (one.do === 'read') {
            const target = sent[one.at];
            if (target === undefined) continue;
            const root = threadAlong(target.event.eventId);
            const thread = one.how === 'unthreaded' ? undefined : one.how === 'main' ? 'main' : root;
            if (one.how === 'main' && root !== undefined) continue;
            const userId = users[one.by]!;
            await world.services.receipts.receive(
              room,
              userId,
              one.isPrivate ? 'm.read.private' : 'm.read',
              thread,
              target.event.eventId,
            );
            move(userId, thread ?? '', target.event.nid);
          } else if (one.do === 'ignore') {
            const userId = users[one.by]!;
            const whom = one.whom.map((index) => users[index]!);
            ignored.set(userId, whom);
            await world.services.accountData.set(userId, 0, 'm.ignored_user_list', {
              ignored_users: Object.fromEntries(whom.map((other) => [other, {}])),
            });
          } else if (one.do === 'set') {
            ({ mode } = one);
            for (const kind of ['override', 'room'])
              await world.services.pushRules.remove(BOB, kind, room.roomId).catch(() => undefined);
            if (mode === 'mentions') await world.services.pushRules.put(BOB, 'room', room.roomId, { actions: [] }, {});
            const conditions = [{ kind: 'event_match', key: 'room_id', pattern: room.roomId }];
            if (mode === 'muted')
              await world.services.pushRules.put(BOB, 'override', room.roomId, { actions: [], conditions }, {});
          } else if (one.do === 'redact') {
            const target = sent[one.at];
            if (target === undefined || target.redacted) continue;
            const redaction = await world.services.events.redact(room, ALICE, target.event.eventId, {});
            target.redacted = true;
            move(ALICE, 'main', (await world.services.events.find(room, redaction))!.nid);
          } else {
            const userId = users[one.by]!;
            await world.member(room, userId, userId, 'leave');
            since.set(userId, (await world.join(room, userId)).nid);
          }
        }
        for (const userId of users) await check(userId);
        for (const kind of ['override', 'room'])
          await world.services.pushRules.remove(BOB, kind, room.roomId).catch(() => undefined);
        for (const userId of users) await world.services.accountData.set(userId, 0, 'm.ignored_user_list', {});
      }),
      { numRuns: 40 },
    );
  });

  it('is read once for all who are away where much of a room is unread, but for what mentions them', async () => {
    const names = Array.from({ length: 12 }, (_, i) => `@away${i}:test`);
    const room = await world.room(ALICE, [BOB]);
    for (const name of names) await world.join(room, name);
    await world.say(room, ALICE, 'long ago', mention(names[3]!));
    const message = { type: 'm.room.message', sender: ALICE, content: { msgtype: 'm.text', body: 'more' } };
    const say = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i += 100)
        await world.services.events.sendAll(
          room,
          Array.from({ length: 100 }, () => message),
        );
    };
    await say(2_100);
    expect((await counts(names[0]!, room)).main).to.deep.equal([2_000, 0]);
    const statements = await world.app.statementNames(async () => {
      for (const name of names.slice(1))
        expect((await counts(name, room)).main, name).to.deep.equal(name === names[3] ? [2_001, 1] : [2_000, 0]);
    });
    const timesOf = (name: string): number => statements.filter((one) => one === name).length;
    expect(timesOf('unread_window')).to.equal(1);
    expect(timesOf('unread_events')).to.equal(0);
    // Much more has come than the room keeps in memory.
    await say(300);
    await world.say(room, ALICE, 'hello', mention(names[5]!));
    const later = await world.app.statementNames(async () => {
      for (const name of names) {
        const [notification, highlight] = (await counts(name, room)).main;
        expect(notification, name).to.be.within(2_000, 2_250 + 1);
        expect(highlight, name).to.equal([names[3], names[5]].includes(name) ? 1 : 0);
      }
    });
    expect(later.filter((name) => name.startsWith('unread'))).to.deep.equal([]);
    await world.say(room, names[1]!, 'I have read it');
    await world.say(room, ALICE, 'good');
    expect((await counts(names[1]!, room)).main).to.deep.equal([1, 0]);
  });

  it('is read once for all, too, where the first who came back had been away for a shorter time than the others', async () => {
    const room = await world.room(ALICE, [BOB, CAROL]);
    const message = { type: 'm.room.message', sender: ALICE, content: { msgtype: 'm.text', body: 'more' } };
    const say = async (count: number): Promise<void> => {
      for (let i = 0; i < count; i += 100)
        await world.services.events.sendAll(
          room,
          Array.from({ length: 100 }, () => message),
        );
    };
    const joined: string[] = [];
    for (let i = 0; i < 6; i++) {
      await world.join(room, `@late${i}:test`);
      joined.push(`@late${i}:test`);
      await say(300);
    }
    const read = async (userId: string): Promise<string[]> => {
      const names = await world.app.statementNames(async () => {
        expect((await counts(userId, room)).main, userId).to.deep.equal([1_800 - 300 * joined.indexOf(userId), 0]);
      });
      return names.filter((name) => name.startsWith('unread'));
    };
    expect(await read(joined[5]!)).to.deep.equal(['unread_events']);
    expect(await read(joined[4]!)).to.deep.equal(['unread_window', 'unread_mentions']);
    expect(await read(joined[0]!)).to.deep.equal(['unread_window', 'unread_mentions']);
    for (const userId of joined.slice(1, 4)) expect(await read(userId)).to.deep.equal(['unread_mentions']);
  });

  it('reads what is unread of many busy rooms together, and not room by room', async () => {
    const rooms: Room[] = [];
    const message = { type: 'm.room.message', sender: ALICE, content: { msgtype: 'm.text', body: 'more' } };
    for (let i = 0; i < 12; i++) {
      const room = await world.room(ALICE, [BOB, DORA]);
      await world.services.events.sendAll(
        room,
        Array.from({ length: 300 }, () => message),
      );
      rooms.push(room);
    }
    await world.services.unread.load(BOB, rooms);
    const names = await world.app.statementNames(() => world.services.unread.load(DORA, rooms));
    expect(names.filter((name) => name === 'unread_window')).to.have.length(8);
    expect(names.filter((name) => name === 'unread_events')).to.have.length(1);
    for (const room of rooms) expect((await counts(DORA, room)).main).to.deep.equal([300, 0]);
  });

  it('misses nothing that comes while it reads', async () => {
    const room = await world.room(ALICE, [BOB, CAROL]);
    const sending = (async () => {
      for (let i = 0; i < 60; i++) await world.say(room, ALICE, 'hello', i % 3 === 0 ? mention(BOB) : {});
    })();
    let last = 0;
    for (let i = 0; i < 40; i++) {
      // Every other time from nothing, as after a redaction.
      if (i % 2 === 0) await world.services.events.redact(room, ALICE, '$nothing', {});
      const { main } = await counts(BOB, room);
      expect(main[0]).to.be.at.least(last);
      last = main[0];
    }
    await sending;
    expect(await counts(BOB, room)).to.deep.equal({ main: [60, 20], threads: {} });
  });

  it('counts on when more has come than the room keeps in memory', async function () {
    this.timeout(60_000);
    const room = await world.room(ALICE, [BOB]);
    await world.say(room, ALICE, 'first', mention(BOB));
    expect((await counts(BOB, room)).main).to.deep.equal([1, 1]);
    const message = { type: 'm.room.message', sender: ALICE, content: { msgtype: 'm.text', body: 'more' } };
    for (let i = 0; i < 6; i++)
      await world.services.events.sendAll(
        room,
        Array.from({ length: 50 }, () => message),
      );
    expect((await counts(BOB, room)).main).to.deep.equal([301, 1]);
  });

  it('finds the same after a restart', async () => {
    const room = await world.room(ALICE, [BOB]);
    const root = await world.say(room, ALICE, 'root', mention(BOB));
    await world.reply(room, ALICE, root.eventId);
    await world.services.receipts.receive(room, BOB, 'm.read', undefined, room.stateEvent('m.room.create')!.eventId);
    const before = await counts(BOB, room);
    const again = await world.restart();
    world = again;
    const reloaded = await again.services.rooms.byId(room.roomId);
    expect(reloaded).to.not.equal(room);
    expect(await counts(BOB, reloaded!))
      .to.deep.equal(before)
      .and.to.deep.equal({ main: [1, 1], threads: { [root.eventId]: [1, 0] } });
  });
});
