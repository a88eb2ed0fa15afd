import { expect } from 'chai';
import type { NotificationList } from '#src/services/push/notifications/notification-list.ts';
import { numbersOf } from '#src/services/user-data/account-data/ignored-users.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { World } from '#test/integration/user-data/world.ts';

const [ALICE, BOB, CAROL] = ['@alice:test', '@bob:test', '@carol:test'] as const;

describe('the list of notifications', () => {
  let world: World;
  let list: NotificationList;

  beforeEach(async () => {
    world = await World.begin();
    list = world.services.notificationList;
  });
  afterEach(() => world.end());

  const say = (room: Room, body: string, originServerTs: number): Promise<unknown> =>
    world.services.events.send(room, {
      type: 'm.room.message',
      sender: ALICE,
      content: { msgtype: 'm.text', body },
      originServerTs,
    });
  /** All pages, one list each. */
  const pages = async (
    limit: number,
    between: () => Promise<unknown> = () => Promise.resolve(),
  ): Promise<string[][]> => {
    const found: string[][] = [];
    let from: string | undefined;
    do {
      const page = await list.page({ userId: BOB, deviceId: 'D' }, { from, limit });
      found.push(page.notifications.map(({ event }) => JSON.parse(event).content.body));
      from = page.next;
      await between();
    } while (from !== undefined && found.length < 50);
    return found;
  };

  it('lists the events of a room in stream order, regardless of origin_server_ts', async () => {
    const room = await world.room(ALICE, [BOB, CAROL]);
    const times = [5000, 1000, 9_000_000_000_000, 0, 3000, 3000, 3000];
    for (const [index, ts] of times.entries()) await say(room, `${index}`, ts);
    const wanted = ['6', '5', '4', '3', '2', '1', '0'];
    for (const limit of [1, 2, 3, 7, 100]) expect((await pages(limit)).flat(), `limit ${limit}`).to.deep.equal(wanted);
  });

  it('loses and repeats nothing over many rooms with wrong times, and what comes meanwhile is not in later pages', async () => {
    const rooms: Room[] = [];
    for (let n = 0; n < 6; n++) rooms.push(await world.room(ALICE, [BOB, CAROL]));
    const said: string[] = [];
    for (let n = 0; n < 40; n++) {
      const ts = [1_000_000 + n, 0, 9_000_000_000_000][n % 7 === 3 ? 1 : n % 11 === 5 ? 2 : 0]!;
      said.push(`${n}`);
      await say(rooms[(n * 5) % 6]!, `${n}`, ts);
    }
    for (const limit of [1, 3, 7]) {
      let late = 0;
      const meanwhile = async (): Promise<void> => {
        if (late < 3) await say(rooms[late++ % 6]!, `late`, 500);
      };
      const found = (await pages(limit, meanwhile)).flat().filter((body) => body !== 'late');
      expect(
        found.toSorted((a, b) => Number(a) - Number(b)),
        `limit ${limit}`,
      ).to.deep.equal(said);
    }
  });

  it('is in the order of time over several rooms', async () => {
    const rooms: Room[] = [];
    for (let n = 0; n < 4; n++) rooms.push(await world.room(ALICE, [BOB, CAROL]));
    for (let n = 0; n < 12; n++) await say(rooms[(n * 3) % 4]!, `${n}`, 1_000_000 + n);
    expect((await pages(5)).flat()).to.deep.equal(Array.from({ length: 12 }, (_, n) => `${11 - n}`));
  });

  it('reads of all rooms of a user only those that it tells of', async () => {
    const rooms: Room[] = [];
    for (let n = 0; n < 6; n++) rooms.push(await world.room(ALICE, [BOB, CAROL]));
    for (const room of rooms.slice(0, 2)) await say(room, 'news', 1);
    const { rooms: registry } = world.services;
    const asked = new Set<number>();
    const { load, loadSome } = registry;
    registry.load = (nids) => {
      for (const nid of nids) asked.add(nid);
      return load.call(registry, nids);
    };
    registry.loadSome = (nids, share) => {
      for (const nid of nids) asked.add(nid);
      return loadSome.call(registry, nids, share);
    };
    expect((await pages(10)).flat()).to.deep.equal(['news', 'news']);
    expect([...asked].toSorted()).to.deep.equal(
      rooms
        .slice(0, 2)
        .map(({ nid }) => nid)
        .toSorted(),
    );
  });

  it('passes over ignored users without a hole', async () => {
    const room = await world.room(ALICE, [BOB, CAROL]);
    await say(room, 'first', 1);
    for (let n = 0; n < 5; n++) {
      const content = { msgtype: 'm.text', body: 'ignored' };
      await world.services.events.send(room, { type: 'm.room.message', sender: CAROL, content });
    }
    await world.services.accountData.set(BOB, 0, 'm.ignored_user_list', { ignored_users: { [CAROL]: {} } });
    expect(await pages(2)).to.deep.equal([['first']]);
  });

  it('looks up once whom users ignore who do not exist, and ignores those who come to exist later', async () => {
    const room = await world.room(ALICE, [BOB]);
    await say(room, 'first', 1);
    const nobody = Array.from({ length: 500 }, (_, n) => [`@nobody${n}:localhost`, {}]);
    const late = '@late:localhost';
    const ignored_users = Object.fromEntries([...nobody, [late, {}]]);
    await world.services.accountData.set(BOB, 0, 'm.ignored_user_list', { ignored_users });
    const ignored = await world.services.ignoredUsers.of(BOB);
    let looked = 0;
    const { interner } = world.services;
    const find: typeof interner.find = (wanted) => {
      looked += 1;
      return interner.find(wanted);
    };
    expect(await numbersOf(ignored, { find })).to.deep.equal([]);
    expect(await numbersOf(await world.services.ignoredUsers.of(BOB), { find })).to.deep.equal([]);
    expect(looked).to.equal(1);
    expect(await pages(2)).to.deep.equal([['first']]);
    await world.join(room, late);
    await world.services.events.send(room, {
      type: 'm.room.message',
      sender: late,
      content: { msgtype: 'm.text', body: 'late' },
    });
    expect(await pages(2)).to.deep.equal([['first']]);
  });
});
