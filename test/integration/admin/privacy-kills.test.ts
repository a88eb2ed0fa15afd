import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { sql } from '#src/storage/statement.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';
import { type TaskScenario, taskKilledAnywhere } from './killed-task.ts';

const COUNTS = sql(
  'test_messages_and_redactions',
  `select count(*) filter (where s.s = 'm.room.message' and e.redacted_by is null)::int as left,
     count(*) filter (where s.s = 'm.room.redaction')::int as redactions
   from events e join users u on u.nid = e.sender join strings s on s.nid = e.type where u.user_id = $1`,
);

const TRACES = sql(
  'test_traces_of_erased',
  `select (select count(*)::int from account_threepids where user_id = $1) as addresses,
     (select count(*)::int from devices where user_id = $1) as devices,
     (select count(*)::int from media where user_id = $1) as media,
     (select count(*)::int from member m join users u on u.nid = m.user_nid where u.user_id = $1 and m.membership = 1) as rooms`,
);

describe('a task about all that there is of a user, whose process is killed', function () {
  this.timeout(180_000);
  let server: MortalServer;
  before(async () => {
    server = await MortalServer.open();
  });
  after(() => server?.close());

  const room = ({ services }: Life, creator: Requester): Promise<Room> =>
    services.events.createRoom({
      version: roomVersion('11')!,
      creator: creator.userId,
      createContent: { room_version: '11' },
      isPublic: false,
      events: () =>
        [
          ['m.room.member', { membership: 'join' }, creator.userId] as const,
          ['m.room.power_levels', { users: { [creator.userId]: 100 } }, ''] as const,
        ].map(([type, content, stateKey]) => ({ type, content, stateKey, sender: creator.userId })),
    });

  const survives = (scenario: TaskScenario<Requester>): void => taskKilledAnywhere(() => server, scenario);

  survives({
    title: 'redacts all of it, each event once',
    task: 'redact_all_events',
    async prepare(life) {
      const subject = await server.user(life);
      for (let made = 0; made < 2; made++) {
        const own = await room(life, subject);
        for (let sent = 0; sent < 3; sent++)
          await life.services.events.send(own, {
            type: 'm.room.message',
            sender: subject.userId,
            content: { msgtype: 'm.text', body: `${made}.${sent}` },
          });
      }
      return subject;
    },
    start: ({ services }, { userId }) =>
      services.userEventRedactions.start({ userId: '@root:localhost', via: 'http' }, userId, { rooms: [] }),
    async assertDone({ services }, { userId }, id, told) {
      expect((await services.adminTasks.get(id))?.result, told).to.deep.include({
        failed_redactions: {},
        rooms_done: 2,
      });
      const [counts] = await server.database.query(COUNTS, [userId]);
      expect(counts, told).to.deep.equal({ left: 0, redactions: 6 });
    },
  });

  survives({
    title: 'erases everything, and what was said before the account ends',
    task: 'erase_user',
    async prepare(life) {
      const subject = await server.user(life);
      const { services } = life;
      const own = await room(life, subject);
      await services.events.send(own, {
        type: 'm.room.message',
        sender: subject.userId,
        content: { msgtype: 'm.text', body: 'mine' },
      });
      await services.accountThreepids.replace(subject.userId, [
        { medium: 'email', address: `${subject.userId.split(':')[0]?.slice(1)}@mail.test` },
      ]);
      await services.media.upload(subject.userId, {
        content: Readable.from([Buffer.from('content')]),
        contentType: 'text/plain',
        filename: 'a.txt',
      });
      return subject;
    },
    start: ({ services }, { userId }) =>
      services.userErasure.start({ userId: '@root:localhost', via: 'http' }, userId, {
        redactsEvents: true,
        redactsProfile: true,
        deletesMedia: true,
      }),
    async assertDone({ services }, { userId }, _id, told) {
      expect(await services.users.account(userId), told).to.include({ deactivated: true, erased: true });
      const [counts] = await server.database.query(COUNTS, [userId]);
      expect(counts, told).to.deep.equal({ left: 0, redactions: 1 });
      const [left] = await server.database.query(TRACES, [userId]);
      expect(left, told).to.deep.equal({ addresses: 0, devices: 0, media: 0, rooms: 0 });
    },
  });

  survives({
    title: 'makes an archive anew, which is there whole or not at all',
    task: 'export_user',
    async prepare(life) {
      const subject = await server.user(life);
      const own = await room(life, subject);
      await life.services.events.send(own, {
        type: 'm.room.message',
        sender: subject.userId,
        content: { msgtype: 'm.text', body: 'mine' },
      });
      return subject;
    },
    start: ({ services }, { userId }) =>
      services.userExports.start({ userId: '@root:localhost', via: 'http' }, userId, true),
    async assertDone({ services }, { userId }, id, told) {
      const [made] = await services.userExports.list(userId);
      expect(made, told).to.deep.include({ id, status: 'complete' });
      const names = await readdir(join(server.folder, 'exports'));
      expect(names, told).to.include(`${id}.zip`).and.to.not.include(`${id}.zip.part`);
      expect((await stat(join(server.folder, 'exports', `${id}.zip`))).size, told).to.equal(made?.result.bytes);
    },
  });
});
