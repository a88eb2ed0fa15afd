import { expect } from 'chai';
import fc from 'fast-check';
import type { Json } from '#test/support/in-process-server.ts';
import { PushServer } from './push-server.ts';

const ROOMS = 3;

type Step =
  | { readonly do: 'say'; readonly by: 'alice' | 'carol' | 'me'; readonly room: number; readonly names: boolean }
  | { readonly do: 'reply'; readonly room: number }
  | { readonly do: 'read'; readonly room: number; readonly at: number; readonly how: 'unthreaded' | 'main' | 'thread' }
  | { readonly do: 'redact'; readonly room: number; readonly at: number }
  | { readonly do: 'mode'; readonly room: number; readonly mode: 'all' | 'mentions' | 'muted' }
  | { readonly do: 'ignore'; readonly isIgnored: boolean }
  | { readonly do: 'leave'; readonly room: number; readonly isKick: boolean }
  | { readonly do: 'invite' }
  | { readonly do: 'takes'; readonly invites: 'all' | 'hidden' | 'none' }
  | { readonly do: 'marked'; readonly room: number }
  | { readonly do: 'restart' }
  | { readonly do: 'away'; readonly isAway: boolean };

const room = fc.nat(ROOMS - 1);
const at = fc.nat(20);
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant('say' as const),
        by: fc.constantFrom('alice' as const, 'alice' as const, 'carol' as const, 'me' as const),
        room,
        names: fc.boolean(),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('reply' as const), room }) },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant('read' as const),
        room,
        at,
        how: fc.constantFrom('unthreaded' as const, 'main' as const, 'thread' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('redact' as const), room, at }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('mode' as const),
        room,
        mode: fc.constantFrom('all' as const, 'mentions' as const, 'muted' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('ignore' as const), isIgnored: fc.boolean() }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('leave' as const), room, isKick: fc.boolean() }) },
    { weight: 1, arbitrary: fc.constant({ do: 'invite' as const }) },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant('takes' as const),
        invites: fc.constantFrom('all' as const, 'hidden' as const, 'none' as const),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('marked' as const), room }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('away' as const), isAway: fc.boolean() }) },
    { weight: 1, arbitrary: fc.constant({ do: 'restart' as const }) },
  ),
  { minLength: 5, maxLength: 25 },
);

for (const countUnreadBy of ['room', 'message'] as const) {
  describe(`the badge that counts by ${countUnreadBy}`, function () {
    this.timeout(240_000);
    let server: PushServer;
    before(async () => {
      server = await PushServer.start({ config: { push: { countUnreadBy } } });
    });
    after(() => server?.stop());

    let users = 0;
    let count = 0;

    /** What /sync says is unread, added up as a badge does. */
    const unreadOf = async (me: string): Promise<number> => {
      const filter = encodeURIComponent(JSON.stringify({ room: { timeline: { unread_thread_notifications: true } } }));
      const { rooms = {} } = await server.app.must(me, 'GET', `/sync?filter=${filter}`);
      const counts = Object.values<Json>(rooms.join ?? {}).map(
        ({ unread_notifications: main, unread_thread_notifications: threads = {} }) =>
          Object.values<Json>(threads).reduce(
            (sum, thread) => sum + thread.notification_count,
            main.notification_count,
          ),
      );
      const invited = Object.keys(rooms.invite ?? {}).length;
      return counts.reduce((sum, one) => sum + (countUnreadBy === 'room' ? Math.min(one, 1) : one), invited);
    };

    it('is what /sync says is unread, whatever happens', async () => {
      await fc.assert(
        fc.asyncProperty(steps, async (all) => {
          const me = `me${(users += 1)}`;
          const rooms: { id: string; events: { id: string; root?: string }[] }[] = [];
          for (let i = 0; i < ROOMS; i++) rooms.push({ id: await server.room('alice', me, 'carol'), events: [] });
          await server.push(me);
          await server.told();
          let badge = 0;
          const check = async (): Promise<void> => {
            await server.settle();
            for (const { devices, counts } of server.gateway.take())
              if (devices[0].pushkey === me && counts !== undefined) badge = counts.unread;
            expect(badge).to.equal(await unreadOf(me));
          };
          let isAway = false;
          for (const step of all) {
            const where = 'room' in step ? rooms[step.room]! : rooms[0]!;
            const base = `/rooms/${where.id}`;
            switch (step.do) {
              case 'say':
              case 'reply': {
                const by = step.do === 'reply' ? 'alice' : step.by === 'me' ? me : step.by;
                const root = where.events.find((one) => one.root === undefined)?.id;
                const content = {
                  msgtype: 'm.text',
                  body: 'hello',
                  ...(step.do === 'say' && step.names ? { 'm.mentions': { user_ids: [`@${me}:test`] } } : {}),
                  ...(step.do === 'reply' && root !== undefined
                    ? { 'm.relates_to': { rel_type: 'm.thread', event_id: root } }
                    : {}),
                };
                const path = `${base}/send/m.room.message/b${(count += 1)}`;
                const { event_id: id } = await server.app.must(by, 'PUT', path, content);
                where.events.push({ id, ...(step.do === 'reply' && root !== undefined ? { root } : {}) });
                break;
              }
              case 'read': {
                const event = where.events[step.at % Math.max(where.events.length, 1)];
                if (event === undefined) break;
                const thread = step.how === 'unthreaded' ? undefined : step.how === 'main' ? 'main' : event.root;
                const body = thread === undefined ? {} : { thread_id: thread };
                // A receipt that names another thread than the event's is refused, and changes nothing.
                await server.app.ask(me, 'POST', `${base}/receipt/m.read.private/${event.id}`, body);
                break;
              }
              case 'redact': {
                const event = where.events[step.at % Math.max(where.events.length, 1)];
                if (event !== undefined)
                  await server.app.must('alice', 'PUT', `${base}/redact/${event.id}/b${(count += 1)}`, {});
                // Those of many are looked at together.
                await server.settle(30_000);
                break;
              }
              case 'mode': {
                const id = encodeURIComponent(where.id);
                for (const kind of ['override', 'room'])
                  await server.app.ask(me, 'DELETE', `/pushrules/global/${kind}/${id}`);
                const conditions = [{ kind: 'event_match', key: 'room_id', pattern: where.id }];
                if (step.mode === 'mentions')
                  await server.app.must(me, 'PUT', `/pushrules/global/room/${id}`, { actions: [] });
                if (step.mode === 'muted')
                  await server.app.must(me, 'PUT', `/pushrules/global/override/${id}`, { actions: [], conditions });
                break;
              }
              case 'ignore':
                await server.app.must(me, 'PUT', `/user/@${me}:test/account_data/m.ignored_user_list`, {
                  ignored_users: step.isIgnored ? { '@carol:test': {} } : {},
                });
                break;
              case 'leave':
                if (step.isKick) await server.app.must('alice', 'POST', `${base}/kick`, { user_id: `@${me}:test` });
                else await server.app.must(me, 'POST', `${base}/leave`, {});
                if (!isAway) await check();
                await server.app.join(me, where.id);
                break;
              case 'invite':
                // A user who blocks invites cannot be invited.
                await server.app.ask('alice', 'POST', '/createRoom', { invite: [`@${me}:test`] });
                break;
              case 'takes': {
                const data = `/user/@${me}:test/account_data`;
                await server.app.must(me, 'PUT', `${data}/m.invite_permission_config`, {
                  ...(step.invites === 'none' ? { default_action: 'block' } : {}),
                });
                await server.app.must(me, 'PUT', `${data}/org.matrix.msc4155.invite_permission_config`, {
                  ignored_users: step.invites === 'hidden' ? ['@alice:*'] : [],
                });
                break;
              }
              case 'marked':
                // It is for clients to show: nothing becomes unread by it.
                await server.app.must(me, 'PUT', `/user/@${me}:test${base}/account_data/m.marked_unread`, {
                  unread: true,
                });
                break;
              case 'restart':
                await server.app.restart();
                break;
              case 'away': {
                ({ isAway } = step);
                const away = isAway;
                server.gateway.mood = () => (away ? [503, {}] : [200, { rejected: [] }]);
                // It is asked again by then.
                server.app.clock.spend(7_200_000);
                break;
              }
            }
            if (isAway) {
              await server.settle();
              server.gateway.take();
            } else await check();
          }
          server.gateway.mood = () => [200, { rejected: [] }];
          server.app.clock.spend(7_200_000);
          await check();
        }),
        { numRuns: 12 },
      );
    });
  });
}
