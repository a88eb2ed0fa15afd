import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { type AskedOfAppservice, registrationOf, StubAppservice } from '#test/support/stand-ins/application-service.ts';
import type { Json } from '#test/support/in-process-server.ts';
import { killPoints } from '#test/support/mortal/kill-points.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';

/** Longer than the follower takes. */
const LAG_MS = 100;
/** Shorter than a request may take: a clock that is moved further at once ends requests that are being answered. */
const STRIDE_MS = 4_000;
const STRIDES = 6;

describe('a server that sends application services events and is killed between two steps', function () {
  this.timeout(240_000);
  let server: MortalServer;
  let stub: StubAppservice;
  let folder: string;

  before(async () => {
    stub = await StubAppservice.start();
    folder = await mkdtemp(join(tmpdir(), 'tsudoi-appservice-'));
    const registration = registrationOf('irc', {
      url: stub.url,
      namespaces: { users: [], aliases: [], rooms: [{ exclusive: false, regex: '!.*' }] },
    });
    const file = join(folder, 'irc.yaml');
    await writeFile(file, JSON.stringify(registration));
    server = await MortalServer.open({ TSUDOI_APPSERVICES__FILES: JSON.stringify([file]) });
  });
  after(async () => {
    await server?.close();
    await stub?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const roomOf = async (life: Life): Promise<{ readonly room: Room; readonly user: Requester }> => {
    const user = await server.user(life);
    const room = await life.services.events.createRoom({
      version: roomVersion('11')!,
      creator: user.userId,
      createContent: { room_version: '11' },
      isPublic: false,
      events: () =>
        [
          ['m.room.member', { membership: 'join' }, user.userId] as const,
          ['m.room.power_levels', { users: { [user.userId]: 100 } }, ''] as const,
        ].map(([type, content, stateKey]) => ({ type, content, stateKey, sender: user.userId })),
    });
    await life.pass(LAG_MS);
    return { room, user };
  };
  const say = async (life: Life, { room, user }: { room: Room; user: Requester }, body: string): Promise<string> => {
    const held = (await life.services.rooms.byId(room.roomId))!;
    const content = { msgtype: 'm.text', body };
    return (await life.services.events.send(held, { type: 'm.room.message', sender: user.userId, content })).eventId;
  };
  const passPauses = async (life: Life): Promise<void> => {
    for (let stride = 0; stride < STRIDES; stride++) await life.pass(STRIDE_MS);
  };
  /** What arrived of a room, in the order in which it first did, and how often it did. */
  const arrivedIn = (asked: readonly AskedOfAppservice[], roomId: string): { ids: string[]; times: number } => {
    const all = asked
      .flatMap(({ body }) => body.events as Json[])
      .filter(({ room_id: room, type }) => room === roomId && type === 'm.room.message')
      .map((event) => event.event_id as string);
    return { ids: [...new Set(all)], times: all.length };
  };
  /** The same transaction always holds the same. */
  const assertSameContent = (asked: readonly AskedOfAppservice[]): void => {
    const known = new Map<string, string>();
    for (const { body, path } of asked) {
      const content = JSON.stringify({ ...body, events: body.events.map(({ event_id: id }: Json) => id as string) });
      assert.equal(known.get(path) ?? content, content);
      known.set(path, content);
    }
  };

  it('sends everything that was answered, in order, under ids that stand for the same content', async () => {
    stub.answer = () => [200, {}];
    const first = await server.begin();
    const undisturbed = await roomOf(first);
    first.mortal.killAt(Infinity);
    const told: string[] = [];
    for (const text of ['one', 'two', 'three']) told.push(await say(first, undisturbed, text));
    await first.pass(LAG_MS);
    const halfSteps = 2 * first.mortal.steps;
    assert.deepEqual(arrivedIn(stub.take(), undisturbed.room.roomId), { ids: told, times: 3 });
    await first.end();
    let [answered, repeated] = [0, 0];
    for (const kill of killPoints(halfSteps)) {
      const doomed = await server.begin();
      const there = await roomOf(doomed);
      stub.take();
      doomed.mortal.killAt(kill);
      const said: string[] = [];
      const isAlive = await doomed.mortal.survives(async () => {
        for (const text of ['one', 'two', 'three']) said.push(await say(doomed, there, text));
      });
      if (isAlive) await doomed.mortal.survives(() => doomed.pass(LAG_MS));
      const next = await server.begin();
      await next.pass(LAG_MS);
      await passPauses(next);
      const asked = stub.take();
      const { ids, times } = arrivedIn(asked, there.room.roomId);
      assert.deepEqual(ids.slice(0, said.length), said);
      if (times > ids.length) repeated += 1;
      assert.ok(times <= 2 * ids.length, `${times} times`);
      assertSameContent(asked);
      if (said.length === 3) answered += 1;
      await next.end();
    }
    assert.ok(answered > 0, 'there are steps after the answers');
    // Only where it did not come to remember that they had arrived: before and after it says so.
    assert.ok(repeated <= 2, `${repeated} times`);
  });

  it('sends everything at least once and in order, whatever fails', async () => {
    const life = await server.begin();
    const there = await roomOf(life);
    const answers = fc.constantFrom<readonly [number, object]>([200, {}], [500, {}], [503, {}], [404, {}]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(answers, fc.integer({ min: 0, max: 4 })), { maxLength: 12 }), async (plan) => {
        stub.take();
        const left = plan.map(([answer]) => answer);
        const taken: AskedOfAppservice[] = [];
        stub.answer = (asked) => {
          const answer = left.shift() ?? [200, {}];
          if (answer[0] === 200) taken.push(asked);
          return answer;
        };
        const said: string[] = [];
        for (const [, count] of plan) {
          for (let n = 0; n < count; n += 1) said.push(await say(life, there, `${said.length}`));
          await life.pass(LAG_MS);
        }
        for (let pass = 0; pass < 40 && life.services.appserviceTransactions.stateOf('irc').waiting > 0; pass += 1)
          await life.pass(STRIDE_MS * 10);
        const { ids } = arrivedIn(taken, there.room.roomId);
        assert.deepEqual(ids, said);
        assertSameContent(stub.take().filter(({ path }) => path.startsWith('/_matrix')));
      }),
      { numRuns: 15 },
    );
    await life.end();
  });
});
