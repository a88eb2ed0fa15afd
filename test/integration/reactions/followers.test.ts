import { Readable } from 'node:stream';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { AppserviceTransactions } from '#src/services/appservices/delivery/appservice-transactions.ts';
import { RemoteDeviceLists } from '#src/services/e2ee/device-lists/remote-device-lists.ts';
import type { FollowedEvent } from '#src/services/events/stream/followed-event.ts';
import { RoomEventStream } from '#src/services/events/stream/room-event-stream.ts';
import { MediaReferences } from '#src/services/media/media-references.ts';
import { PushDelivery } from '#src/services/push/delivery/push-delivery.ts';
import { SearchIndex } from '#src/services/reading/search/search-index.ts';
import { DirectoryEntries } from '#src/services/reading/user-directory/directory-entries.ts';
import { RoomOverviews } from '#src/services/rooms/directory/room-overviews.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { sql } from '#src/storage/statement.ts';
import { registrationOf, StubAppservice } from '#test/support/stand-ins/application-service.ts';
import { makeRoom, membership, message } from '#test/support/event-services.ts';
import type { Json } from '#test/support/in-process-server.ts';
import { killPoints } from '#test/support/mortal/kill-points.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';
import { PushGateway } from '#test/support/stand-ins/push-gateway.ts';
import { RemoteRoom } from '#test/support/federation/remote-room.ts';

/** What each follower does with events, by its name. */
const TAKERS: Readonly<Record<string, { take: (events: readonly FollowedEvent[]) => Promise<void> }>> = {
  appservices: AppserviceTransactions.prototype,
  media: MediaReferences.prototype,
  push: PushDelivery.prototype,
  remote_device_lists: RemoteDeviceLists.prototype,
  room_overviews: RoomOverviews.prototype,
  search: SearchIndex.prototype,
  user_directory: DirectoryEntries.prototype,
};
const NAMES = Object.keys(TAKERS);

/** Each round has an event for each follower. The second is poisonous. */
const ROUNDS = ['first', 'second', 'third'];
/** Longer than followers gather events. */
const LAG_MS = 1_000;
/** Longer than the pause before what failed once is tried again, and shorter than a request may take. */
const RETRY_MS = 4_000;

const ASIDE = sql('test_aside', 'select follower from events_set_aside where room = any($1::int[]) order by follower');
const INDEXED = sql('test_indexed', 'select event as nid from search_docs where event = any($1::bigint[])');
const REFERENCED = sql('test_referenced', 'select event as nid from media_references where event = any($1::bigint[])');
const OVERVIEWS = sql(
  'test_overviews',
  'select room as nid from room_overviews where room = any($1::int[]) and name = $2',
);
const LISTED = sql(
  'test_listed',
  `select user_id from directory_users where user_id = any($1::text[]) and display_name = '"Newcomer"'`,
);
const KEEP_LISTS = sql(
  'test_keep_lists',
  'insert into remote_device_lists (user_id, stream_id, stale) select u, 1, false from unnest($1::text[]) u',
);
const KEPT_LISTS = sql('test_kept_lists', 'select user_id from remote_device_lists where user_id = any($1::text[])');

interface Subject {
  readonly key: string;
  readonly room: Room;
  readonly remote: RemoteRoom;
  /** By round, a room that is named in it. */
  readonly named: readonly Room[];
  /** By round, members of another server who leave, and who come. */
  readonly leaving: readonly string[];
  readonly coming: readonly string[];
  readonly media: readonly string[];
  readonly said: number[];
  readonly creator: string;
}

describe('what follows events', function () {
  this.timeout(240_000);
  let server: MortalServer;
  let gateway: PushGateway;
  let service: StubAppservice;
  let folder: string;
  let count = 0;

  before(async () => {
    gateway = await PushGateway.start();
    service = await StubAppservice.start();
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-test-followers-'));
    const file = join(folder, 'all.yaml');
    const namespaces = { users: [], aliases: [], rooms: [{ exclusive: false, regex: '!.*' }] };
    await writeFile(file, JSON.stringify(registrationOf('all', { url: service.url, namespaces })));
    server = await MortalServer.open({
      TSUDOI_APPSERVICES__FILES: JSON.stringify([file]),
      TSUDOI_FEDERATION__ALLOW_IP_RANGES: '127.0.0.0/8',
      TSUDOI_FEDERATION__STATIC_HOSTS: JSON.stringify({ 'a.example': '127.0.0.1:1' }),
      TSUDOI_PUSH__GRACE_MS: '0',
    });
  });
  after(async () => {
    await server?.close();
    await Promise.all([gateway?.stop(), service?.stop()]);
    await rm(folder, { recursive: true, force: true });
  });

  const takers = NAMES.map((name) => [name, TAKERS[name]!.take] as const);
  afterEach(() => {
    for (const [name, take] of takers) TAKERS[name]!.take = take;
  });

  const prepare = async (life: Life): Promise<Subject> => {
    const { services } = life;
    const key = `k${(count += 1)}`;
    const [{ userId: creator }, reader] = [await server.user(life), await server.user(life)];
    const room = await makeRoom(services, creator, '11');
    const session = await services.sessions.createSession({ userId: reader.userId, deviceId: 'PHONE' });
    const phone = await services.sessions.authenticate(session.accessToken);
    await services.joins.join(phone, { roomIdOrAlias: room.roomId });
    await services.pushers.set(phone, {
      kind: 'http',
      appId: 'test.app',
      pushkey: key,
      appDisplayName: 'Test',
      deviceDisplayName: 'Phone',
      lang: 'en',
      data: { url: gateway.url },
      append: false,
      enabled: true,
    });
    const remote = new RemoteRoom(services, room);
    await remote.catchUp();
    const leaving = ROUNDS.map((round) => `@${round}-leaving-${key}:a.example`);
    for (const userId of leaving) await remote.accepted(membership(userId, userId, 'join'));
    await services.database.query(KEEP_LISTS, [leaving]);
    const named: Room[] = [];
    const media: string[] = [];
    for (const round of ROUNDS) {
      named.push(await makeRoom(services, creator, '11'));
      const content = Readable.from([Buffer.from(`${round} ${key}`)]);
      media.push(await services.media.upload(creator, { content, contentType: 'text/plain', filename: undefined }));
    }
    const coming = ROUNDS.map((round) => `@${round}-coming-${key}:a.example`);
    await life.pass(LAG_MS);
    return { key, room, remote, named, leaving, coming, media, said: [], creator };
  };

  const playRound = async ({ services }: Life, subject: Subject, index: number): Promise<void> => {
    const { coming, creator, key, leaving, media, named, remote, room, said } = subject;
    const draft = message(creator, `${ROUNDS[index]} ${key}`);
    const { nid } = await services.events.send(room, { ...draft, content: { ...draft.content, url: media[index]! } });
    said.push(nid);
    await remote.catchUp();
    await remote.accepted(membership(leaving[index]!, leaving[index]!, 'leave'));
    await remote.accepted(membership(coming[index]!, coming[index]!, 'join', { displayname: 'Newcomer' }));
    const name = { type: 'm.room.name', sender: creator, stateKey: '', content: { name: key } };
    await services.events.send(named[index]!, name);
  };
  const play = async (life: Life, subject: Subject): Promise<void> => {
    for (const index of ROUNDS.keys()) await playRound(life, subject, index);
  };

  /** By follower, the rounds of which it has derived what it derives. */
  const derived = async (subject: Subject): Promise<Record<string, readonly string[]>> => {
    const { coming, key, leaving, named, said } = subject;
    const { database } = server;
    const sent = sentOf(subject);
    const among = (rounds: readonly string[] = []): string[] => ROUNDS.filter((round) => rounds.includes(round));
    const nids = async (statement: typeof INDEXED, of: readonly number[], ...more: string[]): Promise<string[]> => {
      const rows = await database.query<{ nid: number }>(statement, [of, ...more]);
      return ROUNDS.filter((_, index) => rows.some(({ nid }) => nid === of[index]));
    };
    const users = async (statement: typeof LISTED, of: readonly string[]): Promise<string[]> => {
      const rows = await database.query<{ user_id: string }>(statement, [of]);
      return ROUNDS.filter((_, index) => rows.some(({ user_id: userId }) => userId === of[index]));
    };
    const kept = await users(KEPT_LISTS, leaving);
    return {
      appservices: among(sent['appservices']),
      media: await nids(REFERENCED, said),
      push: among(sent['push']),
      remote_device_lists: ROUNDS.filter((round) => !kept.includes(round)),
      room_overviews: await nids(
        OVERVIEWS,
        named.map(({ nid }) => nid),
        key,
      ),
      search: await nids(INDEXED, said),
      user_directory: await users(LISTED, coming),
    };
  };
  /** What was sent of the rounds, in this order, as often as it was. */
  const sentOf = ({ key }: Subject): Record<string, string[]> => {
    const bodies = (events: readonly Json[]): string[] =>
      events.flatMap(({ content }) => ROUNDS.filter((round) => content?.body === `${round} ${key}`));
    return {
      appservices: bodies(service.asked.flatMap(({ body }) => (body?.events ?? []) as Json[])),
      push: bodies(gateway.notified.map(({ notification }) => notification as Json)),
    };
  };
  const everything = Object.fromEntries(NAMES.map((name) => [name, ROUNDS]));
  const asideOf = async ({ room, named }: Subject): Promise<string[]> => {
    const rows = await server.database.query<{ follower: string }>(ASIDE, [[room, ...named].map(({ nid }) => nid)]);
    return [...new Set(rows.map(({ follower }) => follower))];
  };

  /** Whether an event is one of the second round. */
  const isPoisonous = ({ room, event }: FollowedEvent, { coming, key, leaving, named, said }: Subject): boolean =>
    event.nid === said[1] ||
    (event.stateKey === coming[1] && event.type === 'm.room.member') ||
    (event.stateKey === leaving[1] && event.content['membership'] === 'leave') ||
    (room.nid === named[1]!.nid && event.content['name'] === key);

  it('is what this table knows', async () => {
    const names: string[] = [];
    const { follow } = RoomEventStream.prototype;
    RoomEventStream.prototype.follow = function (name, wants) {
      names.push(name);
      follow.call(this, name, wants);
    };
    const life = await server.begin().finally(() => (RoomEventStream.prototype.follow = follow));
    expect(names.toSorted()).to.deep.equal(NAMES);
    const subject = await prepare(life);
    await play(life, subject);
    await life.pass(LAG_MS);
    expect(await derived(subject)).to.deep.equal(everything);
    await life.end();
  });

  for (const name of NAMES)
    for (const moment of ['before', 'after'] as const)
      it(`goes on where ${name} fails at an event ${moment} its work, and does that again later`, async () => {
        const life = await server.begin();
        const subject = await prepare(life);
        const taker = TAKERS[name]!;
        const { take } = taker;
        let failures = 0;
        taker.take = async function (this: unknown, events) {
          const isFatal = events.some((event) => isPoisonous(event, subject));
          if (moment === 'after' || !isFatal) await take.call(this as never, events);
          if (!isFatal) return;
          failures += 1;
          throw new Error('poison');
        };
        await play(life, subject);
        await life.pass(LAG_MS / 2);
        expect(failures).to.be.above(0);
        expect(await asideOf(subject)).to.deep.equal([name]);
        const rounds = moment === 'after' ? ROUNDS : ['first', 'third'];
        expect(await derived(subject)).to.deep.equal({ ...everything, [name]: rounds });
        taker.take = take;
        await life.pass(RETRY_MS);
        expect(await derived(subject)).to.deep.equal(everything);
        expect(await asideOf(subject)).to.deep.equal([]);
        // The others were sent once, in order.
        for (const rounds of Object.values(sentOf(subject)))
          expect(rounds.filter((round) => round !== 'second')).to.deep.equal(['first', 'third']);
        await life.end();
      });

  it('is done whole, between whichever of its steps the process is killed', async () => {
    const running = new Set<string>();
    for (const [name, take] of takers)
      TAKERS[name]!.take = async function (this: unknown, events) {
        running.add(name);
        await take.call(this as never, events);
        running.delete(name);
      };
    let life = await server.begin();
    const undisturbed = await prepare(life);
    await play(life, undisturbed);
    life.mortal.killAt(Infinity);
    await life.pass(LAG_MS);
    const halfSteps = 2 * life.mortal.steps;
    const cut = new Set<string>();
    const kills = killPoints(halfSteps);
    for (const kill of kills) {
      const doomed = await prepare(life);
      await play(life, doomed);
      running.clear();
      life.mortal.killAt(kill);
      const { mortal } = life;
      await mortal.survives(() => life.pass(LAG_MS));
      expect(mortal.isDead).to.equal(true);
      for (const name of running) cut.add(name);
      life = await server.begin();
      await life.pass(LAG_MS);
      await life.pass(RETRY_MS);
      expect(await derived(doomed), `killed at half step ${kill} of ${halfSteps}`).to.deep.equal(everything);
      expect(await asideOf(doomed)).to.deep.equal([]);
    }
    expect(cut.size, [...cut].join(' ')).to.be.at.least(
      Math.min(NAMES.length, Math.floor(kills.length / NAMES.length)),
    );
    await life.end();
  });
});
