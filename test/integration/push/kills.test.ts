import { expect } from 'chai';
import { roomVersion } from '#src/protocol/room-versions/room-versions.ts';
import type { Requester } from '#src/services/accounts/sessions/requester.ts';
import type { Room } from '#src/services/room-model/room/room.ts';
import { killPoints } from '#test/support/mortal/kill-points.ts';
import { type Life, MortalServer } from '#test/support/mortal/mortal-server.ts';
import { PushGateway } from '#test/support/stand-ins/push-gateway.ts';

const GRACE_MS = 1_000;
/** Shorter than a request may take: a clock that is moved further at once ends requests that are being answered. */
const STRIDE_MS = 4_000;
const STRIDES = 6;

interface Scene {
  readonly talker: Requester;
  readonly listener: Requester;
  readonly room: Room;
}

describe('a server that pushes and is killed between two steps', function () {
  this.timeout(240_000);
  let server: MortalServer;
  let gateway: PushGateway;
  before(async () => {
    server = await MortalServer.open({ TSUDOI_FEDERATION__ALLOW_IP_RANGES: '127.0.0.0/8' });
    gateway = await PushGateway.start();
  });
  after(async () => {
    await server?.close();
    await gateway?.stop();
  });
  afterEach(() => {
    gateway.mood = () => [200, { rejected: [] }];
  });

  /** Two in a room, one with a pusher who has been told all. */
  const scene = async (life: Life): Promise<Scene> => {
    const { services } = life;
    const [talker, other] = [await server.user(life), await server.user(life)];
    const session = await services.sessions.createSession({ userId: other.userId, deviceId: 'PHONE' });
    const listener = await services.sessions.authenticate(session.accessToken);
    const room = await services.events.createRoom({
      version: roomVersion('11')!,
      creator: talker.userId,
      createContent: { room_version: '11' },
      isPublic: false,
      events: () =>
        [
          ['m.room.member', { membership: 'join' }, talker.userId] as const,
          ['m.room.power_levels', { users: { [talker.userId]: 100 } }, ''] as const,
          ['m.room.join_rules', { join_rule: 'public' }, ''] as const,
        ].map(([type, content, stateKey]) => ({ type, content, stateKey, sender: talker.userId })),
    });
    await services.joins.join(listener, { roomIdOrAlias: room.roomId });
    await services.pushers.set(listener, {
      kind: 'http',
      appId: 'test.app',
      pushkey: listener.userId,
      appDisplayName: 'Test',
      deviceDisplayName: 'Phone',
      lang: 'en',
      data: { url: gateway.url },
      append: false,
      enabled: true,
    });
    await life.pass(GRACE_MS);
    return { talker, listener, room };
  };
  const say = async (life: Life, { room, talker }: Scene, body: string): Promise<string> => {
    const held = (await life.services.rooms.byId(room.roomId))!;
    const content = { msgtype: 'm.text', body };
    return (await life.services.events.send(held, { type: 'm.room.message', sender: talker.userId, content })).eventId;
  };
  const read = async (life: Life, { room, listener }: Scene, eventId: string): Promise<unknown> =>
    life.services.receipts.receive(
      (await life.services.rooms.byId(room.roomId))!,
      listener.userId,
      'm.read',
      undefined,
      eventId,
    );

  /** Lets the pauses after failures pass. */
  const passPauses = async (life: Life): Promise<void> => {
    for (let stride = 0; stride < STRIDES; stride++) await life.pass(STRIDE_MS);
  };

  /** Does something that is answered, and then what follows, with a kill at each step of all that; then lives on. */
  const withKills = async <Answer>(
    prepare: (life: Life) => Promise<Scene>,
    act: (life: Life, scene: Scene) => Promise<Answer>,
    follow: (life: Life) => Promise<unknown>,
    look: (life: Life, scene: Scene, answer: Answer) => Promise<void> | void,
  ): Promise<void> => {
    const first = await server.begin();
    const undisturbed = await prepare(first);
    first.mortal.killAt(Infinity);
    const answer = await act(first, undisturbed);
    await follow(first);
    const halfSteps = 2 * first.mortal.steps;
    await look(first, undisturbed, answer);
    await first.end();
    let answered = 0;
    for (const kill of killPoints(halfSteps)) {
      const doomed = await server.begin();
      const there = await prepare(doomed);
      doomed.mortal.killAt(kill);
      let said: Answer | undefined;
      if (await doomed.mortal.survives(async () => (said = await act(doomed, there))))
        await doomed.mortal.survives(() => follow(doomed));
      const next = await server.begin();
      await next.pass(GRACE_MS);
      await passPauses(next);
      if (said !== undefined) {
        answered += 1;
        await look(next, there, said);
      }
      await next.end();
    }
    expect(answered, 'there are steps after the answer').to.be.above(0);
  };

  it('pushes what was sent, and again only where it did not come to remember that it was taken', async () => {
    let repeated = 0;
    await withKills(
      scene,
      async (life, there) => [await say(life, there, 'one'), await say(life, there, 'two')],
      (life) => life.pass(GRACE_MS),
      (_life, { listener }, said) => {
        const told = gateway.take().filter(({ event_id: id, devices }) => id && devices[0].pushkey === listener.userId);
        const ids = told.map(({ event_id: id }) => id as string);
        // In order, however often.
        expect([...new Set(ids)]).to.deep.equal(said);
        if (ids.length > 2) repeated += 1;
        expect(ids.length).to.be.at.most(3);
      },
    );
    // Of each of the two: before and after the statement that says that it was taken, and before the one that says so of the next.
    expect(repeated).to.be.at.most(6);
  });

  it('pushes everything that waited for a gateway which was away', async () => {
    await withKills(
      async (life) => {
        const there = await scene(life);
        gateway.mood = () => [503, {}];
        for (const text of ['one', 'two', 'three']) await say(life, there, text);
        await life.pass(GRACE_MS);
        gateway.mood = () => [200, { rejected: [] }];
        gateway.take();
        return there;
      },
      async () => 'nothing',
      passPauses,
      (_life, { listener }) => {
        const told = gateway.take().filter(({ devices }) => devices[0].pushkey === listener.userId);
        const bodies = told.flatMap(({ content }) => content?.body ?? []);
        expect([...new Set(bodies)]).to.deep.equal(['one', 'two', 'three']);
        expect(bodies.length).to.be.at.most(4);
      },
    );
  });

  it('tells the count of what is unread after something was read', async () => {
    let event = '';
    await withKills(
      async (life) => {
        const there = await scene(life);
        event = await say(life, there, 'one');
        await life.pass(GRACE_MS);
        gateway.take();
        return there;
      },
      (life, there) => read(life, there, event),
      (life) => life.pass(0),
      (_life, { listener }) => {
        const told = gateway.take().filter(({ devices }) => devices[0].pushkey === listener.userId);
        expect(told.at(-1)?.counts).to.deep.equal({ unread: 0 });
      },
    );
  });
});
