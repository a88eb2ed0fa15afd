import { expect } from 'chai';
import fc from 'fast-check';
import { integer, json, text } from '#test/support/strange-json.ts';
import { PushServer } from './push-server.ts';

/** A member of a body: right as a rule, or anything. */
const mostly = (...right: unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 12, arbitrary: fc.constantFrom(...right) }, { weight: 1, arbitrary: json }, text);

describe('push endpoints that are asked by whoever means no good', function () {
  this.timeout(180_000);
  let server: PushServer;
  let roomId: string;
  before(async () => {
    server = await PushServer.start();
    roomId = await server.room('alice', 'mallory', 'bob');
    await server.push('bob');
    await server.told();
  });
  after(() => server?.stop());

  let count = 0;
  /** Somebody else is told of what is said, whatever was made of the server before. */
  const stillPushes = async (): Promise<void> => {
    const said = `message ${(count += 1)}`;
    await server.app.say('alice', roomId, said);
    await server.settle();
    const told = server.gateway.take().filter(({ devices }) => devices[0].pushkey === 'bob');
    expect(told.map(({ content }) => content?.body)).to.include(said);
  };
  const isAnswered = (status: number): boolean => status < 500;

  it('answer any body of a pusher, and go on pushing to others', async () => {
    const url = fc.oneof(
      { weight: 6, arbitrary: fc.constant(server.gateway.url) },
      fc.constantFrom(
        server.gateway.url,
        'https://push.invalid/_matrix/push/v1/notify',
        'https://127.0.0.1:1/_matrix/push/v1/notify',
        'https://[::1]:1/_matrix/push/v1/notify',
        'https://user:pass@push.invalid/_matrix/push/v1/notify',
        'http://169.254.169.254/_matrix/push/v1/notify',
        'https://push.invalid/_matrix/push/v1/notify?a=b#c',
        'https://xn--/_matrix/push/v1/notify',
        'https://0x7f.1/_matrix/push/v1/notify',
        'file:///_matrix/push/v1/notify',
        'javascript:alert(1)',
      ),
      text,
      json,
    );
    const body = fc.record(
      {
        kind: mostly('http', 'http', null, 'email'),
        app_id: mostly('app', 'a'.repeat(64), '__proto__'),
        pushkey: mostly('key', 'k'.repeat(512), '"}', '__proto__'),
        app_display_name: mostly('App'),
        device_display_name: mostly('Phone'),
        profile_tag: mostly('tag'),
        lang: mostly('en'),
        data: fc.oneof(
          {
            weight: 3,
            arbitrary: fc.record({ url, format: mostly('event_id_only'), extra: json }, { requiredKeys: [] }),
          },
          { weight: 1, arbitrary: json },
        ),
        append: mostly(true, false),
        enabled: mostly(true, false),
        'org.matrix.msc3881.enabled': mostly(true, false),
      },
      { requiredKeys: ['kind', 'app_id', 'pushkey'] },
    );
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(body, async (asked) => {
        const { status } = await server.app.ask('mallory', 'POST', '/pushers/set', asked);
        expect(isAnswered(status)).to.equal(true);
        if (status === 200 && (asked as { kind: unknown }).kind !== null) taken += 1;
        expect((await server.app.ask('mallory', 'GET', '/pushers')).status).to.equal(200);
      }),
      { numRuns: 250 },
    );
    expect(taken, 'some of them are taken').to.be.above(0);
    await stillPushes();
  });

  it('answer any push rule, and push by whatever rules there are', async () => {
    await server.push('mallory');
    const action = fc.oneof(
      fc.constantFrom('notify', 'dont_notify', 'coalesce', 'explode'),
      fc.record(
        { set_tweak: mostly('sound', 'highlight', '__proto__', 'constructor'), value: json },
        { requiredKeys: [] },
      ),
      json,
    );
    const condition = fc.record(
      {
        kind: mostly(
          'event_match',
          'event_property_is',
          'event_property_contains',
          'contains_display_name',
          'room_member_count',
          'sender_notification_permission',
          'io.element.msc4306.thread_subscription',
        ),
        key: mostly('content.body', 'type', 'content.m\\.mentions.user_ids', '__proto__.x', '...', '\\'),
        pattern: mostly('*', '?'.repeat(300), '*a'.repeat(100), 'message'),
        value: mostly('m.room.message', true, null, 1.5),
        is: mostly('2', '>=1', '<<2', '==99999999999999999999'),
      },
      { requiredKeys: [] },
    );
    const rule = fc.record(
      {
        actions: fc.oneof({ weight: 4, arbitrary: fc.array(action, { maxLength: 3 }) }, { weight: 1, arbitrary: json }),
        conditions: fc.oneof(
          { weight: 4, arbitrary: fc.array(condition, { maxLength: 3 }) },
          { weight: 1, arbitrary: json },
        ),
        pattern: mostly('message', '*', '?'.repeat(200)),
      },
      { requiredKeys: [] },
    );
    const kind = fc.constantFrom('override', 'content', 'postcontent', 'room', 'sender', 'underride', 'nonsense');
    const ruleId = fc.oneof(fc.constantFrom('a', 'b', '.m.rule.message', '..', '%2F', '__proto__'), text);
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(
        kind,
        ruleId,
        rule,
        fc.oneof(fc.constantFrom('a', '.m.rule.master', ''), text),
        async (of, id, body, before) => {
          const path = `/pushrules/global/${of}/${encodeURIComponent(id.toWellFormed())}`;
          const place = `?before=${encodeURIComponent(before.toWellFormed())}`;
          const answers = [
            await server.app.ask('mallory', 'PUT', path + (Math.abs(id.length) % 3 === 0 ? place : ''), body),
            await server.app.ask('mallory', 'PUT', `${path}/actions`, {
              actions: (body as { actions?: unknown }).actions,
            }),
            await server.app.ask('mallory', 'PUT', `${path}/enabled`, { enabled: true }),
            await server.app.ask('mallory', 'GET', path),
          ];
          for (const { status } of answers) expect(isAnswered(status)).to.equal(true);
          if (answers[0]?.status === 200) taken += 1;
        },
      ),
      { numRuns: 150 },
    );
    expect(taken, 'some of them are taken').to.be.above(0);
    expect((await server.app.ask('mallory', 'GET', '/pushrules/')).status).to.equal(200);
    await stillPushes();
  });

  it('push events that say anything at all', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.oneof(fc.constantFrom('body', 'msgtype', 'm.relates_to', 'm.mentions'), text), json, {
          maxKeys: 4,
        }),
        async (content) => {
          const path = `/rooms/${roomId}/send/m.room.message/h${(count += 1)}`;
          expect(isAnswered((await server.app.ask('mallory', 'PUT', path, content)).status)).to.equal(true);
        },
      ),
      { numRuns: 60 },
    );
    await stillPushes();
  });

  it('list notifications whatever they are asked for', async () => {
    await fc.assert(
      fc.asyncProperty(text, text, fc.oneof(integer, text), async (from, only, limit) => {
        const query = Object.entries({ from, only, limit: String(limit) })
          .map(([name, value]) => `${name}=${encodeURIComponent(value.toWellFormed())}`)
          .join('&');
        expect(isAnswered((await server.app.ask('mallory', 'GET', `/notifications?${query}`)).status)).to.equal(true);
      }),
      { numRuns: 60 },
    );
  });
});
