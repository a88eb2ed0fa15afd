import assert from 'node:assert/strict';
import { registrationOf, StubAppservice } from '#test/support/stand-ins/application-service.ts';
import { type Federation, startFederation } from '#test/support/federation/federation.ts';
import type { InProcessServer, Json } from '#test/support/in-process-server.ts';

describe('application services: rooms of other servers', function () {
  this.timeout(60_000);
  let federation: Federation;
  let stub: StubAppservice;
  let a: InProcessServer;
  let b: InProcessServer;

  before(async () => {
    stub = await StubAppservice.start();
    federation = await startFederation(['a.test', 'b.test']);
    a = federation.server('a.test');
    b = federation.server('b.test');
    await b.registerAppservices([
      registrationOf('irc', {
        url: stub.url,
        sender_localpart: 'irc-bot',
        namespaces: { users: [{ exclusive: true, regex: '@irc-.*' }], aliases: [], rooms: [] },
      }),
    ]);
    await b.reload();
  });
  after(async () => {
    await federation?.stop();
    await stub?.stop();
  });

  const events = (): Json[] => stub.take().flatMap(({ body }) => body?.events ?? []);

  it('an invite to a user of its namespace arrives with what the other server told of the room, and all that follows the join', async () => {
    await b.session('irc-bob');
    const room = await a.room('alice', { name: 'Far away' });
    await a.must('alice', 'POST', `/rooms/${room}/invite`, { user_id: '@irc-bob:b.test' });
    await federation.idle();
    const [invite] = events().filter(({ state_key: key }) => key === '@irc-bob:b.test');
    assert.equal(invite.content.membership, 'invite');
    assert.equal(invite.sender, '@alice:a.test');
    assert.equal(invite.room_id, room);
    const told = invite.unsigned.invite_room_state;
    assert.equal(told.find(({ type }: Json) => type === 'm.room.name')?.content.name, 'Far away');
    await b.must('irc-bob', 'POST', `/rooms/${room}/join`, {});
    await federation.idle();
    await a.say('alice', room, 'hello from afar');
    await federation.idle();
    await b.must('irc-bob', 'POST', `/rooms/${room}/leave`, {});
    await federation.idle();
    const seen = events().filter(({ room_id: where }) => where === room);
    assert.deepEqual(
      seen.map(({ content }) => content.body ?? content.membership),
      ['join', 'hello from afar', 'leave'],
    );
  });

  it('users of other servers are none of its, whatever they are called', async () => {
    const room = await a.room('irc-mallory', { preset: 'public_chat' });
    await b.must('bob', 'POST', `/join/${encodeURIComponent(room)}?via=a.test`, {});
    await federation.idle();
    await a.say('irc-mallory', room, 'not for the bridge');
    await federation.idle();
    assert.deepEqual(events(), []);
  });
});
