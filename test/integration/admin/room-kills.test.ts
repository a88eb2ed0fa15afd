import { expect } from 'chai';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Actor } from '#src/services/audit/actor.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';
import { taskKilledAnywhere } from './killed-task.ts';

const ADMIN: Actor = { userId: '@admin:localhost', via: 'http' };

interface Subject {
  readonly room: Room;
  readonly users: readonly Requester[];
  readonly alias: string;
}

describe('a server that is killed while it deletes', function () {
  this.timeout(300_000);
  let server: MortalServer;
  before(async () => {
    server = await MortalServer.open({ TSUDOI_RETENTION__PAUSE_MS: '0', TSUDOI_RETENTION__BATCH_SIZE: '4' });
  });
  after(() => server?.close());

  const prepare = async (life: Life): Promise<Subject> => {
    const users = [await server.user(life), await server.user(life), await server.user(life)];
    const [creator] = users as [Requester, Requester, Requester];
    const { aliases, events, joins } = life.services;
    const room = await events.createRoom({
      version: roomVersion('11')!,
      creator: creator.userId,
      createContent: { room_version: '11' },
      isPublic: false,
      events: () =>
        [
          ['m.room.member', { membership: 'join' }, creator.userId] as const,
          ['m.room.power_levels', { users: { [creator.userId]: 100 } }, ''] as const,
          ['m.room.join_rules', { join_rule: 'public' }, ''] as const,
        ].map(([type, content, stateKey]) => ({ type, content, stateKey, sender: creator.userId })),
    });
    for (const user of users.slice(1)) await joins.join(user, { roomIdOrAlias: room.roomId });
    for (let i = 0; i < 9; i++)
      await events.send(room, {
        type: 'm.room.message',
        sender: creator.userId,
        content: { msgtype: 'm.text', body: `${i}` },
      });
    const alias = `#a${room.nid}:localhost`;
    await aliases.create(creator, alias, room.roomId);
    return { room, users, alias };
  };
  const rows = async (text: string, values: unknown[]): Promise<number> =>
    (await server.database.query<{ n: number }>({ name: `test_kills_${text.length}`, text }, values))[0]?.n ?? 0;
  const eventsOf = ({ room }: Subject): Promise<number> =>
    rows('select count(*)::int as n from events where room = $1', [room.nid]);

  taskKilledAnywhere(() => server, {
    title: 'a room has put everybody out of it once, into one new room, and nothing of it is left',
    task: 'shutdown_and_purge_room',
    prepare,
    start: ({ services }, { room }) =>
      services.roomDeletions.start(ADMIN, room.roomId, { newRoomUserId: '@moderator:localhost', message: 'gone' }),
    async assertDone({ services }, subject, id, killed) {
      const { result, status } = await services.roomDeletions.get(id);
      const users = subject.users.map(({ userId }) => userId).toSorted();
      expect(status, killed).to.equal('complete');
      expect(result.kicked_users.toSorted(), killed).to.deep.equal(users);
      expect([result.failed_to_kick_users, result.local_aliases], killed).to.deep.equal([[], [subject.alias]]);
      const next = (await services.rooms.byId(result.new_room_id ?? ''))!;
      for (const userId of users) expect(next.isJoined(userId), killed).to.equal(true);
      const told = `select count(*)::int as n from events e join rooms r on r.nid = e.room join strings s on s.nid = e.type
          where r.room_id = $1 and s.s = 'm.room.message'`;
      expect(await rows(told, [next.roomId]), `messages, killed ${killed}`).to.equal(1);
      expect((await services.aliases.resolve(subject.alias)).roomId, killed).to.equal(next.roomId);
      const made = `select count(*)::int as n from rooms r join users u on u.nid = r.creator
          where u.user_id = '@moderator:localhost' and r.nid > $1`;
      expect(await rows(made, [subject.room.nid]), `rooms made, killed ${killed}`).to.equal(1);
      expect(await eventsOf(subject), `events, killed ${killed}`).to.equal(0);
      expect(await rows('select count(*)::int as n from rooms where nid  = $1', [subject.room.nid]), killed).to.equal(
        0,
      );
      expect(services.closedRooms.isGoing(subject.room.roomId), killed).to.equal(false);
    },
  });

  taskKilledAnywhere(() => server, {
    title: "a room's history is without its old part, and with the rest",
    task: 'purge_history',
    prepare,
    async start({ services }, { room }) {
      const eventId = room.ring.newest!.eventId;
      return services.historyPurges.start(ADMIN, room.roomId, { eventId, deletesLocal: true });
    },
    async assertDone({ services }, subject, id, killed) {
      expect((await services.historyPurges.get(id)).status, killed).to.equal('complete');
      const room = (await services.rooms.byId(subject.room.roomId))!;
      const page = await services.everyHistory.messages(room.roomId, { userId: '', deviceId: undefined }, { dir: 'b' });
      const bodies = page.chunk.map((json) => (JSON.parse(json) as { content: { body: string } }).content.body);
      expect(bodies, killed).to.deep.equal(['8']);
      for (const { userId } of subject.users) expect(room.isJoined(userId), killed).to.equal(true);
    },
  });
});
