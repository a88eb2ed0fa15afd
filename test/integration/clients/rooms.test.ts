import { expect } from 'chai';
import {
  EventTimeline,
  EventType,
  type ISearchResults,
  JoinRule,
  type MatrixEvent,
  MsgType,
  NotificationCountType,
  Preset,
  RelationType,
  RestrictedAllowType,
  type Room,
  RoomType,
} from 'matrix-js-sdk';
import { RoomHierarchy } from 'matrix-js-sdk/lib/room-hierarchy.js';
import { ChildServer } from '#test/support/child-server.ts';
import { SdkClient } from '#test/support/sdk-client.ts';
import { until } from '#test/support/until.ts';

describe('rooms from their spaces to their successors, as js-sdk clients live in them', function () {
  this.timeout(60_000);
  let server: ChildServer;
  let alice: SdkClient;
  let bob: SdkClient;
  let carol: SdkClient;

  before(async () => {
    server = await ChildServer.start({ database: 'shared' });
    const named = async (name: string): Promise<SdkClient> => (await SdkClient.register(server.url, name)).start();
    [alice, bob, carol] = await Promise.all([named('alice'), named('bob'), named('carol')]);
  });
  after(async () => {
    for (const client of [alice, bob, carol]) client?.stop();
    await server?.dispose();
  });

  const soon = <T>(who: SdkClient, what: string, look: () => T | undefined | null | false): Promise<T> =>
    who.until(what, look);
  const joined = (who: SdkClient, roomId: string): Promise<Room> =>
    soon(who, `room ${roomId}`, () => who.membership(roomId) === 'join' && who.client.getRoom(roomId));

  /** A public room of alice's, with the others in it. */
  async function shared(others: readonly SdkClient[], options: object = {}): Promise<string> {
    const { room_id: roomId } = await alice.client.createRoom({ preset: Preset.PublicChat, ...options });
    for (const one of others) await one.client.joinRoom(roomId);
    for (const one of [alice, ...others]) await joined(one, roomId);
    return roomId;
  }
  const say = async (who: SdkClient, roomId: string, body: string): Promise<string> =>
    (await who.client.sendTextMessage(roomId, body)).event_id;
  const edit = async (who: SdkClient, roomId: string, eventId: string, body: string): Promise<string> => {
    const content = { msgtype: MsgType.Text as const, body };
    const { event_id: id } = await who.client.sendMessage(roomId, {
      ...content,
      body: `* ${body}`,
      'm.new_content': content,
      'm.relates_to': { rel_type: RelationType.Replace, event_id: eventId },
    });
    return id;
  };
  const refusal = (asked: Promise<unknown>): Promise<string | undefined> =>
    asked.then(
      () => undefined,
      (error: { errcode?: string }) => error.errcode,
    );
  const stateEvent = (who: SdkClient, roomId: string, type: string): MatrixEvent | null | undefined =>
    who.client.getRoom(roomId)?.getLiveTimeline().getState(EventTimeline.FORWARDS)?.getStateEvents(type, '');

  /** Asks until what is found is enough: what was just written is found a moment later. */
  const found = async <T>(look: () => Promise<T>, enough: (answer: T) => boolean): Promise<T> => {
    let answer: T | undefined;
    await until(
      () => `enough is found: ${JSON.stringify(answer)}`,
      async () => enough((answer = await look())),
    );
    return answer as T;
  };

  it('walk a space page by page in its own order, and enter a restricted room by being in the space', async () => {
    const spaceId = await shared([bob], { name: '町', creation_content: { type: RoomType.Space } });
    const plaza = await shared([], { name: '広場' });
    const { room_id: library } = await alice.client.createRoom({
      name: '図書館',
      initial_state: [
        {
          type: EventType.RoomJoinRules,
          state_key: '',
          content: {
            join_rule: JoinRule.Restricted,
            allow: [{ type: RestrictedAllowType.RoomMembership, room_id: spaceId }],
          },
        },
      ],
    });
    const { room_id: cellar } = await alice.client.createRoom({ name: '地下室' });
    const via = ['localhost'];
    await alice.client.sendStateEvent(spaceId, EventType.SpaceChild, { via, order: 'c' }, cellar);
    await alice.client.sendStateEvent(spaceId, EventType.SpaceChild, { via, order: 'b' }, plaza);
    await alice.client.sendStateEvent(spaceId, EventType.SpaceChild, { via, order: 'a', suggested: true }, library);

    const namesIn = async (suggestedOnly: boolean): Promise<(string | undefined)[]> => {
      const hierarchy = new RoomHierarchy(bob.client.getRoom(spaceId)!, 1, undefined, suggestedOnly);
      // More pages than rooms would be pages without end.
      for (let page = 0; hierarchy.canLoadMore && page < 10; page++) await hierarchy.load();
      expect(hierarchy.canLoadMore).to.equal(false);
      expect(hierarchy.isSuggested(spaceId, library)).to.equal(true);
      return (hierarchy.rooms ?? []).map(({ name }) => name);
    };
    expect(await namesIn(false)).to.deep.equal(['町', '図書館', '広場']);
    expect(await namesIn(true)).to.deep.equal(['町', '図書館']);

    expect(await refusal(carol.client.joinRoom(library))).to.equal('M_FORBIDDEN');
    await bob.client.joinRoom(library);
    await joined(bob, library);
    await alice.client.sendStateEvent(spaceId, EventType.SpaceChild, {} as never, plaza);
    expect(await namesIn(false)).to.deep.equal(['町', '図書館']);
  });

  it('talk in a thread, count it on its own, and read it bit by bit', async () => {
    const roomId = await shared([bob, carol]);
    const root = await say(alice, roomId, '話題');
    const room = await joined(alice, roomId);
    const reply = async (who: SdkClient, body: string, more: object = {}): Promise<string> =>
      (await who.client.sendMessage(roomId, root, { msgtype: MsgType.Text, body, ...more } as never)).event_id;
    const first = await reply(bob, '一');
    await reply(carol, '二', { 'm.mentions': { user_ids: [alice.userId] } });
    const last = await reply(bob, '三');

    const counts = (): number[] => [
      room.getThreadUnreadNotificationCount(root, NotificationCountType.Total),
      room.getThreadUnreadNotificationCount(root, NotificationCountType.Highlight),
      room.getRoomUnreadNotificationCount(NotificationCountType.Total),
    ];
    const untilCounts = (...expected: number[]): Promise<unknown> =>
      soon(alice, `counts of ${expected.join()}`, () => counts().join() === expected.join()).catch((error: Error) => {
        throw new Error(`${error.message}; it shows ${counts().join()}`, { cause: error });
      });
    await untilCounts(3, 1, 0);
    const thread = await soon(alice, 'the thread', () => room.getThread(root));
    await soon(alice, 'all replies', () => thread.length === 3 && thread.replyToEvent?.getId() === last);
    await soon(alice, 'the last reply', () => thread.findEventById(last));
    expect(alice.texts(roomId), 'the main timeline').to.deep.equal(['話題']);

    const aside = await say(bob, roomId, 'ところで');
    await untilCounts(3, 1, 1);
    await alice.client.sendReadReceipt(await soon(alice, 'the first reply', () => thread.findEventById(first)));
    await untilCounts(2, 1, 1);
    await alice.client.sendReadReceipt(thread.findEventById(last)!);
    await untilCounts(0, 0, 1);
    const ofBob = (): string | null | undefined =>
      bob.client.getRoom(roomId)!.getThread(root)?.getEventReadUpTo(alice.userId);
    await soon(bob, 'the receipt', () => ofBob() === last);
    await alice.client.sendReadReceipt(await soon(alice, 'the aside', () => room.findEventById(aside)));
    await untilCounts(0, 0, 0);
    await reply(carol, '四');
    await untilCounts(1, 0, 0);

    const phone = await SdkClient.logIn(server.url, 'alice');
    try {
      await phone.start();
      const onPhone = await joined(phone, roomId);
      expect(onPhone.getThreadUnreadNotificationCount(root, NotificationCountType.Total)).to.equal(1);
      await onPhone.createThreadsTimelineSets();
      await onPhone.fetchRoomThreads();
      const again = await soon(phone, 'the thread', () => onPhone.getThread(root));
      await soon(phone, 'its replies', () => again.length === 4 && again.replyToEvent?.getContent()['body'] === '四');
      await soon(phone, 'its receipt', () => again.getEventReadUpTo(alice.userId) === last);
      expect(again.hasCurrentUserParticipated).to.equal(true);
    } finally {
      phone.stop();
    }
  });

  it('see the latest edit that stands, live, as a newcomer, and after it is redacted', async () => {
    const roomId = await shared([bob]);
    const eventId = await say(alice, roomId, 'こんばんわ');
    await edit(alice, roomId, eventId, 'こんばんは');
    const latest = await edit(alice, roomId, eventId, 'こんばんは。');
    // Comes last, and counts for nothing: nobody edits what others wrote.
    const foreign = await edit(bob, roomId, eventId, 'おはよう');
    await soon(bob, 'the foreign edit', () => bob.received(roomId).includes(foreign));
    await soon(bob, 'the edit', () => bob.texts(roomId)[0] === 'こんばんは。');

    const bundled = async (): Promise<unknown> => {
      const event = await carol.client.fetchRoomEvent(roomId, eventId);
      const edits = event.unsigned?.['m.relations']?.['m.replace'] as { content?: Record<string, object> } | undefined;
      return edits?.content?.['m.new_content'];
    };
    await carol.client.joinRoom(roomId);
    const room = await joined(carol, roomId);
    expect(await bundled()).to.include({ body: 'こんばんは。' });
    await carol.client.getEventTimeline(room.getUnfilteredTimelineSet(), eventId);
    const shown = room.findEventById(eventId);
    expect(shown?.getContent()['body']).to.equal('こんばんは。');
    expect(shown?.getOriginalContent()['body']).to.equal('こんばんわ');

    await alice.client.redactEvent(roomId, latest);
    await soon(bob, 'the redaction', () => bob.texts(roomId)[0] === 'こんばんは');
    expect(await bundled()).to.include({ body: 'こんばんは' });
  });

  it('move with a room that is upgraded twice, and find the old ones locked', async () => {
    const oldest = await shared([bob, carol], { name: '旧館', room_version: '10', room_alias_name: 'yakata' });
    const before = await say(bob, oldest, '引っ越しです');
    await alice.client.ban(oldest, carol.userId);
    await bob.client.setRoomTag(oldest, 'm.favourite', { order: 0.5 });
    await soon(alice, 'the ban', () => alice.membership(oldest, carol.userId) === 'ban');

    const rooms = [oldest];
    for (const version of ['11', '12']) {
      const old = rooms.at(-1)!;
      const { replacement_room: successor } = await alice.client.upgradeRoom(old, version);
      rooms.push(successor);
      const tombstone = await soon(bob, 'the tombstone', () => stateEvent(bob, old, EventType.RoomTombstone));
      expect(tombstone.getContent()['replacement_room']).to.equal(successor);
      expect((await bob.client.getRoomIdForAlias('#yakata:localhost')).room_id).to.equal(successor);
      await bob.client.joinRoom(successor);
      const room = await joined(bob, successor);
      await soon(alice, 'who follows', () => alice.membership(successor, bob.userId) === 'join');
      await soon(bob, 'the name', () => room.name === '旧館');
      expect(room.getVersion()).to.equal(version);
      // From version 12 on, a room comes before the tombstone that names it.
      const eventId = version === '11' ? tombstone.getId() : undefined;
      expect(room.findPredecessor()).to.include({ roomId: old, eventId });
      await soon(bob, 'the tag', () => room.tags['m.favourite']?.order === 0.5);
      await soon(bob, 'the lock', () => {
        const levels = stateEvent(bob, old, EventType.RoomPowerLevels)?.getContent();
        return levels?.['events_default'] === 50 && levels['invite'] === 50;
      });
      expect(await refusal(say(bob, old, 'まだいます')), 'who stays').to.equal('M_FORBIDDEN');
      expect(await refusal(bob.client.invite(old, '@dave:localhost')), 'who invites').to.equal('M_FORBIDDEN');
      expect(await refusal(carol.client.joinRoom(successor)), 'who was banned').to.equal('M_FORBIDDEN');
    }
    const newest = rooms.at(-1)!;
    expect(bob.client.getRoomUpgradeHistory(newest, true).map(({ roomId }) => roomId)).to.deep.equal(rooms);
    expect(await refusal(bob.client.upgradeRoom(newest, '12')), 'who may not').to.equal('M_FORBIDDEN');
    expect((await bob.client.fetchRoomEvent(oldest, before)).content?.['body']).to.equal('引っ越しです');
    const news = await say(bob, newest, '引っ越しました');
    await soon(alice, 'the news', () => alice.client.getRoom(newest)?.findEventById(news));
    const search = (): Promise<ISearchResults> => bob.client.searchRoomEvents({ term: '引っ越し' });
    const said = await found(search, ({ results }) => results.length === 2);
    expect(said.results.map(({ context }) => context.getEvent().getRoomId())).to.deep.equal([newest, oldest]);
  });

  it('find Japanese by two characters in all their rooms, with what stood around it, and nobody else’s', async () => {
    const kitchen = await shared([bob], { name: '台所' });
    const garden = await shared([], { name: '庭' });
    for (const body of ['おはよう', '今日は抹茶を飲んだ', 'おいしそう']) await say(alice, kitchen, body);
    await say(alice, garden, '宇治抹茶、届きました');
    await say(alice, garden, '抹の茶');
    const bodies = ({ results }: ISearchResults): unknown[] =>
      results.map(({ context }) => context.getEvent().getContent()['body']);
    const search = (who: SdkClient, filter: object = {}): Promise<ISearchResults> =>
      who.client.searchRoomEvents({ term: '抹茶', filter });

    const all = await found(
      () => search(alice),
      ({ results }) => results.length === 2,
    );
    expect(bodies(all)).to.deep.equal(['宇治抹茶、届きました', '今日は抹茶を飲んだ']);
    expect([all.count, all.highlights]).to.deep.equal([2, ['抹茶']]);
    const around = all.results[1]!.context.getTimeline().map((event) => event.getContent()['body']);
    expect(around).to.deep.equal(['おはよう', '今日は抹茶を飲んだ', 'おいしそう']);
    const one = await search(alice, { limit: 1 });
    expect(bodies(one)).to.deep.equal(['宇治抹茶、届きました']);
    await alice.client.backPaginateRoomEventsSearch(one);
    expect(bodies(one)).to.deep.equal(bodies(all));
    expect(bodies(await search(alice, { rooms: [kitchen] }))).to.deep.equal(['今日は抹茶を飲んだ']);
    expect(bodies(await search(bob)), 'who is in one of them').to.deep.equal(['今日は抹茶を飲んだ']);
    expect(bodies(await search(carol))).to.deep.equal([]);
  });

  it('find each other by names in either kana, full and half width, until the name is another', async () => {
    await shared([bob, carol]);
    await bob.client.setDisplayName('スズキ ハナコ');
    await carol.client.setDisplayName('たかはし じろう');
    const who = async (term: string): Promise<string[]> =>
      (await alice.client.searchUserDirectory({ term, limit: 5 })).results.map(({ user_id: id }) => id);
    const finds = async (term: string, ...expected: string[]): Promise<void> => {
      const answer = await found(
        () => who(term),
        (users) => users.join() === expected.join(),
      );
      expect(answer, term).to.deep.equal(expected);
    };
    for (const term of ['スズキ', 'すず', 'ﾊﾅｺ', 'はなこ']) await finds(term, bob.userId);
    for (const term of ['タカハシ', 'じろう', 'ｼﾞﾛｳ']) await finds(term, carol.userId);
    const { results, limited } = await alice.client.searchUserDirectory({ term: 'スズキ', limit: 5 });
    expect([results[0]?.display_name, limited]).to.deep.equal(['スズキ ハナコ', false]);
    await bob.client.setDisplayName('サトウ ハナコ');
    await finds('すずき');
    await finds('さとう', bob.userId);
  });
});
