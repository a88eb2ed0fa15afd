import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import type { Static, TSchema } from 'typebox';
import {
  cleanMedia,
  cleanUnjoinedRooms,
  cleanStreams,
  findDueRooms,
  listRoomMembers,
  purgeRoom,
  shareDevices,
  settleCompletion,
} from '#src/jobs/definitions.ts';
import type { JobDefinition } from '#src/jobs/job-definition.ts';
import { shardOfName } from '#src/protocol/wire/position.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import { type ArchivedEvent, RoomArchive } from '#src/services/retention/room-archive.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { sql } from '#src/storage/database.ts';
import { addUnjoinedRoom } from '#src/storage/federation/unjoined-rooms.ts';
import { makeRoom, membership, message } from '#test/support/event-services.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';
import { CAROL, RemoteRoom } from '#test/support/federation/remote-room.ts';
import { type KillScenario, killedAnywhere } from './kill-scenario.ts';

const HOUR = 3_600_000;
const SOFT_FAILED = 4;
const AGE = sql('test_age_job_kills', 'update events set ts = ts - 86400000 where room = $1');
const TOLD = sql(
  'test_told_of',
  'select count(*)::int as count from destination_device_lists where user_id = $1 and after = 0',
);
const HAS_DEVICE = sql(
  'test_has_device',
  `insert into told_devices (user_id, device_id, stream_id, digest, deleted) values ($1, 'DEVICE', 1, '', false)`,
);
const KEEP_LIST = sql(
  'test_keep_list',
  'insert into remote_device_lists (user_id, stream_id, stale) values ($1, 1, false)',
);
const KEPT_LISTS = sql('test_kept_list', 'select count(*)::int as count from remote_device_lists where user_id = $1');
const FORGET_TOLD = sql('test_forget_told', 'delete from destination_device_lists where user_id = $1');
const KEPT = sql('test_kept_events', 'select count(*)::int as count from events where nid = any($1::bigint[])');
const OLD_TXN = sql('test_old_txn', `insert into txn (key, event_id, day) values ($1, '$event', 0)`);
const TXNS = sql('test_txns', 'select count(*)::int as count from txn where key = $1');
const RELEASE = sql('test_release', 'update media set released_ts = 1 where media_id = $1');
const FILES = sql('test_files', 'select count(*)::int as count from media where media_id = $1');
const UNLIST = sql('test_unlist', 'delete from directory_users where user_id = $1');

/** Positions of the events of a room that are archived, some more than once. */
const archivedPositions = async (folder: string, roomId: string): Promise<number[]> => {
  const ofRoom = new RoomArchive(folder).folder(roomId);
  const files = await readdir(ofRoom).catch(() => []);
  const texts = await Promise.all(files.map((file) => readFile(join(ofRoom, file), 'utf8')));
  return texts.flatMap((text) =>
    text
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as ArchivedEvent).position),
  );
};

describe('a server that is killed between two steps of a job', function () {
  this.timeout(180_000);
  let server: MortalServer;
  let count = 0;
  before(async () => {
    server = await MortalServer.open({
      TSUDOI_RETENTION__BATCH_SIZE: '3',
      TSUDOI_RETENTION__PAUSE_MS: '0',
      TSUDOI_FEDERATION__ALLOW_IP_RANGES: '127.0.0.0/8',
      // Nobody is there, which is known at once.
      TSUDOI_FEDERATION__STATIC_HOSTS: JSON.stringify({ 'a.example': '127.0.0.1:1' }),
    });
  });
  after(() => server?.close());

  const promise = <Subject>(scenario: KillScenario<Subject>): void => killedAnywhere(() => server, scenario);
  /** Asks for a job, as a schedule or another job does. */
  const request = <Payload extends TSchema>(
    { services }: Life,
    job: JobDefinition<Payload>,
    payload: Static<Payload>,
  ): Promise<void> => services.database.write((tx) => tx.enqueue(job, payload));
  const counted = async ({ services }: Life, statement: typeof KEPT, value: unknown): Promise<number> =>
    (await services.database.query<{ count: number }>(statement, [value]))[0]?.count ?? 0;

  /** A room with a user of this server, and one of another. */
  const shared = async (life: Life): Promise<{ user: Requester; room: Room; remote: RemoteRoom }> => {
    const user = await server.user(life);
    const room = await makeRoom(life.services, user.userId, '11');
    const remote = new RemoteRoom(life.services, room);
    await remote.catchUp();
    await remote.accepted(membership(CAROL, CAROL, 'join'));
    return { user, room, remote };
  };

  promise({
    title: 'purges what rooms hold longer than they may, and nothing else',
    jobs: ['retention.find_due_rooms', 'retention.purge_room', 'retention.return_space'],
    async prepare(life) {
      const { userId } = await server.user(life);
      const room = await makeRoom(life.services, userId, '11', () => [
        { type: 'm.room.retention', sender: userId, stateKey: '', content: { max_lifetime: HOUR } },
      ]);
      const say = async (text: string): Promise<number> =>
        (await life.services.events.send(room, message(userId, text))).nid;
      const old: number[] = [];
      for (let n = 0; n < 8; n++) old.push(await say('old'));
      await life.services.database.query(AGE, [room.nid]);
      return { old, young: [await say('young'), await say('younger')] };
    },
    act: (life) => request(life, findDueRooms, {}),
    outcome: async (life, { old, young }) => ({
      old: await counted(life, KEPT, old),
      young: await counted(life, KEPT, young),
    }),
    done: () => ({ old: 0, young: 2 }),
    untouched: () => ({ old: 8, young: 2 }),
  });

  describe('which archives what it purges', () => {
    let archiving: MortalServer;
    before(async () => {
      archiving = await MortalServer.open({
        TSUDOI_RETENTION__MODE: 'archive',
        TSUDOI_RETENTION__BATCH_SIZE: '3',
        TSUDOI_RETENTION__PAUSE_MS: '0',
      });
    });
    after(() => archiving?.close());

    killedAnywhere(() => archiving, {
      title: 'purges nothing that is in no archive, and archives all of it',
      jobs: ['retention.purge_room'],
      async prepare(life) {
        const { userId } = await archiving.user(life);
        const room = await makeRoom(life.services, userId, '11');
        const old: number[] = [];
        for (let n = 0; n < 8; n++) old.push((await life.services.events.send(room, message(userId, 'old'))).nid);
        await life.services.database.query(AGE, [room.nid]);
        await life.services.events.send(room, message(userId, 'young'));
        return { room, old };
      },
      act: (life, { room }) => request(life, purgeRoom, { room: room.nid, beforeTs: life.clock.now() - HOUR }),
      async outcome(life, { old, room }) {
        const archived = new Set(await archivedPositions(join(archiving.folder, 'archive'), room.roomId));
        return { left: await counted(life, KEPT, old), archived: old.filter((nid) => archived.has(nid)).length };
      },
      done: () => ({ left: 0, archived: 8 }),
      untouched: () => ({ left: 8, archived: 0 }),
    });
  });

  promise({
    title: 'tells the servers of a room which devices a user has who joins it',
    jobs: ['federation.share_devices'],
    async prepare(life) {
      const joining = await server.user(life);
      const { services } = life;
      const { room } = await shared(life);
      await services.database.query(HAS_DEVICE, [joining.userId]);
      await services.joins.join(joining, { roomIdOrAlias: room.roomId });
      await life.doJobs();
      expect(await counted(life, TOLD, joining.userId)).to.equal(1);
      await services.database.query(FORGET_TOLD, [joining.userId]);
      return { joining, room };
    },
    act: (life, { joining: { userId }, room }) => request(life, shareDevices, { room: room.nid, userId }),
    outcome: (life, { joining }) => counted(life, TOLD, joining.userId),
    done: () => 1,
    untouched: () => 0,
  });

  promise({
    title: 'deletes what streams need no longer',
    jobs: ['streams.clean'],
    async prepare({ services }) {
      const key = crypto.randomUUID();
      await services.database.query(OLD_TXN, [key]);
      return key;
    },
    act: (life) => request(life, cleanStreams, {}),
    outcome: (life, key) => counted(life, TXNS, key),
    done: () => 0,
    untouched: () => 1,
  });

  promise({
    title: 'deletes media that nothing names any more',
    jobs: ['media.clean'],
    async prepare({ services }) {
      const content = Readable.from([Buffer.from(`file ${(count += 1)}`)]);
      const file = { content, contentType: undefined, filename: undefined };
      const id = (await services.media.upload(`@alice:${server.serverName}`, file)).split('/').at(-1)!;
      await services.database.query(RELEASE, [id]);
      return id;
    },
    act: (life) => request(life, cleanMedia, {}),
    outcome: (life, id) => counted(life, FILES, id),
    done: () => 0,
    untouched: () => 1,
  });

  promise({
    title: 'forgets rooms of other servers of which nothing is left',
    jobs: ['federation.clean_outside_rooms'],
    async prepare({ services }) {
      const roomId = `!unused${(count += 1)}:a.example`;
      const creator = (await services.interner.ensure({ users: [CAROL] })).user(CAROL);
      const row = { roomId, version: '11', shard: shardOfName(roomId), creator, roomType: null, createdTs: 0 };
      await addUnjoinedRoom(services.database, row);
      return roomId;
    },
    act: (life) => request(life, cleanUnjoinedRooms, {}),
    outcome: async ({ services }, roomId) => (await services.rooms.heardOf(roomId)) !== undefined,
    done: () => false,
    untouched: () => true,
  });

  promise({
    title: 'empties the settings of a device that is no more',
    jobs: ['devices.forget_settings'],
    async prepare(life) {
      const { userId } = await server.user(life);
      await life.services.sessions.createSession({ userId, deviceId: 'PHONE' });
      await life.services.accountData.set(userId, 0, 'm.local_notification_settings.PHONE', { is_silenced: true });
      return userId;
    },
    act: ({ services }, userId) =>
      services.database.write((tx) => services.sessions.revokeDevicesIn(tx, userId, ['PHONE'], 'logged_out')),
    outcome: async ({ services }, userId) =>
      JSON.parse((await services.accountData.get(userId, 0, 'm.local_notification_settings.PHONE')) ?? 'null'),
    done: () => ({}),
    untouched: () => ({ is_silenced: true }),
  });

  promise({
    title: 'lists the members of other servers whose joins never came by',
    jobs: ['user_directory.list_room'],
    async prepare(life) {
      const { user, room, remote } = await shared(life);
      const member = `@member${room.nid}:a.example`;
      await remote.accepted(membership(member, member, 'join'));
      await life.pass(0);
      await life.services.database.query(UNLIST, [member]);
      return { user, room, member };
    },
    act: (life, { room }) => request(life, listRoomMembers, { room: room.nid }),
    async outcome({ services }, { user, member }) {
      const { users } = await services.userDirectory.search(user.userId, { term: member, limit: 10 });
      return users.map(({ userId }) => userId);
    },
    done: ({ member }) => [member],
    untouched: () => [],
  });

  promise({
    title:
      'accepts what was refused by less than is known now, drops device lists of users who are no members, and tells their servers of devices here',
    jobs: ['rooms.settle_completion'],
    async prepare(life) {
      const { user, room, remote } = await shared(life);
      const gone = `@gone${room.nid}:a.example`;
      for (const is of ['join', 'leave']) await remote.accepted(membership(gone, gone, is));
      await life.pass(0);
      const levels = async (needed: number): Promise<void> => {
        const content = { users: { [user.userId]: 100 }, state_default: 0, events: { 'm.room.message': needed } };
        const type = 'm.room.power_levels';
        await life.services.events.send(room, { type, sender: user.userId, stateKey: '', content });
        await remote.catchUp();
      };
      const prev = room.head.extremities.map((event) => event.eventId);
      await levels(50);
      const { id, reception } = await remote.send({ ...message(CAROL, 'refused'), prev });
      if (reception.outcome !== 'soft-failed') throw new Error(reception.outcome);
      await levels(0);
      // Not known before the room was complete: who is no member of it, and that a.example has not heard of the devices of its members.
      await life.services.database.query(HAS_DEVICE, [user.userId]);
      await life.services.database.query(KEEP_LIST, [gone]);
      return { user, room, id, gone };
    },
    act: (life, { room }) => request(life, settleCompletion, { room: room.nid, after: 0, servers: ['a.example'] }),
    async outcome(life, { gone, room, id, user }) {
      const held = (await life.services.rooms.byId(room.roomId))!;
      const event = await life.services.events.find(held, id);
      return {
        flags: event === undefined ? null : event.flags & SOFT_FAILED,
        kept: await counted(life, KEPT_LISTS, gone),
        told: await counted(life, TOLD, user.userId),
      };
    },
    done: () => ({ flags: 0, kept: 0, told: 1 }),
    untouched: () => ({ flags: SOFT_FAILED, kept: 1, told: 0 }),
  });

  promise({
    title: 'redacts an event that comes after its redaction',
    jobs: ['events.settle_arrivals'],
    async prepare(life) {
      const { room, remote } = await shared(life);
      const target = remote.build(message(CAROL, 'late'));
      const redacts = target.eventId;
      // Nobody is shown it before it can be carried out.
      const { reception } = await remote.send({
        type: 'm.room.redaction',
        sender: CAROL,
        content: { redacts },
        redacts,
      });
      if (reception.outcome !== 'soft-failed') throw new Error(reception.outcome);
      return { room, remote, target };
    },
    act: (_life, { remote, target }) => remote.receive(target),
    async outcome({ services }, { room, target }) {
      const held = (await services.rooms.byId(room.roomId))!;
      const event = await services.events.find(held, target.eventId);
      return event === undefined ? null : event.redactedBecause !== undefined;
    },
    done: () => true,
    untouched: () => null,
  });

  promise({
    title: 'delivers a soft-failed sticky event when the state allows it',
    jobs: ['sticky_events.review'],
    async prepare(life) {
      const { user, room, remote } = await shared(life);
      const levels = async (needed: number): Promise<void> => {
        const content = { users: { [user.userId]: 100 }, state_default: 0, redact: 50, events: { 'm.call': needed } };
        const type = 'm.room.power_levels';
        await life.services.events.send(room, { type, sender: user.userId, stateKey: '', content });
        await remote.catchUp();
      };
      const prev = room.head.extremities.map((event) => event.eventId);
      await levels(50);
      const call = { type: 'm.call', sender: CAROL, content: {}, prev, stickyDurationMs: HOUR / 2 };
      const { id, reception } = await remote.send(call);
      if (reception.outcome !== 'soft-failed') throw new Error(reception.outcome);
      return { room, id, levels };
    },
    act: (_life, { levels }) => levels(0),
    async outcome({ services }, { room, id }) {
      const event = await services.events.find((await services.rooms.byId(room.roomId))!, id);
      return ((event?.flags ?? 0) & SOFT_FAILED) === 0;
    },
    done: () => true,
    untouched: () => false,
  });
});
