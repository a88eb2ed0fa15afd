import { expect } from 'chai';
import { type Answer, InProcessServer } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

const UNSTABLE = '/unstable/org.matrix.msc4140';

describe('content that would break clients or a room', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let txn = 0;
  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());

  const isRefused = ({ status, body }: Answer, what: string): void => {
    expect([status, body.errcode], what).to.deep.equal([400, 'M_BAD_JSON']);
    expect(body.error, what).to.match(/\.$/);
  };

  const STATE: readonly (readonly [string, object])[] = [
    ['m.room.power_levels', { users: { '@alice:test': '100' } }],
    ['m.room.power_levels', { users: { '@alice:test': 100 }, ban: null }],
    ['m.room.power_levels', { ban: 40 }],
    ['m.room.server_acl', {}],
    ['m.room.join_rules', { join_rule: 'publik' }],
    ['m.room.encryption', {}],
    ['m.room.history_visibility', { history_visibility: 1 }],
    ['m.room.name', { name: ['Tea'] }],
    ['m.room.redaction', { redacts: '$a' }],
    ['m.room.create', { room_version: '9' }],
  ];

  it('is refused as state, with a new room, and delayed in both forms', async () => {
    for (const version of ['1', '9', '11']) {
      const roomId = await server.room('alice', { room_version: version });
      for (const [type, content] of STATE) {
        const what = `${type} ${JSON.stringify(content)} in version ${version}`;
        const path = `/rooms/${roomId}/state/${type}/`;
        isRefused(await server.ask('alice', 'PUT', path, content), what);
        const wish = { room_version: version, initial_state: [{ type, content }] };
        isRefused(await server.ask('alice', 'POST', '/createRoom', wish), what);
        // What depends on the room is seen when its time has come.
        if ('ban' in content && content.ban === 40) continue;
        isRefused(await server.ask('alice', 'PUT', `${path}?org.matrix.msc4140.delay=1000`, content), what);
        const later = `${UNSTABLE}/rooms/${roomId}/delayed_event/${type}/d${(txn += 1)}`;
        isRefused(await server.ask('alice', 'PUT', later, { delay_ms: 1_000, state_key: '', content }), what);
      }
      const override = { room_version: version, power_level_content_override: { users: { '@alice:test': '100' } } };
      isRefused(await server.ask('alice', 'POST', '/createRoom', override), version);
    }
  });

  it('of a room that replaces itself, and of a message without a msgtype or a body, is refused as well', async () => {
    const roomId = await server.room('alice');
    const tombstone = { body: 'moved', replacement_room: roomId };
    isRefused(await server.ask('alice', 'PUT', `/rooms/${roomId}/state/m.room.tombstone/`, tombstone), 'tombstone');
    for (const content of [{}, { msgtype: 'm.text' }, { body: 'x' }, { msgtype: 'm.text', body: 1 }]) {
      const what = JSON.stringify(content);
      isRefused(await server.ask('alice', 'PUT', `/rooms/${roomId}/send/m.room.message/t${(txn += 1)}`, content), what);
      isRefused(await server.ask('alice', 'POST', `/rooms/${roomId}/send/m.room.message`, content), what);
      const later = `${UNSTABLE}/rooms/${roomId}/delayed_event/m.room.message/d${(txn += 1)}`;
      isRefused(await server.ask('alice', 'PUT', later, { delay_ms: 1_000, content }), what);
    }
    await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.room.message/t${(txn += 1)}`, {
      msgtype: 'x.y',
      body: '',
    });
  });

  it('that only the room can judge is refused when the time of a delayed event has come', async () => {
    const roomId = await server.room('alice', { room_version: '9' });
    const later = `${UNSTABLE}/rooms/${roomId}/delayed_event/m.room.power_levels/d${(txn += 1)}`;
    const { delay_id: id } = await server.must('alice', 'PUT', later, {
      delay_ms: 1_000,
      state_key: '',
      content: { ban: 40 },
    });
    await server.clock.advance(1_000);
    const look = async () => server.must('alice', 'GET', `${UNSTABLE}/delayed_events/${id}`);
    await until('it is over', async () => {
      // The schedule pauses between two looks.
      await server.clock.advance(50);
      return (await look()).finalised_ts !== undefined;
    });
    expect((await look()).error.errcode).to.equal('M_BAD_JSON');
  });

  it('under a transaction id that was answered is not looked at', async () => {
    const roomId = await server.room('alice');
    const path = `/rooms/${roomId}/send/m.room.message/again`;
    const first = await server.must('alice', 'PUT', path, { msgtype: 'm.text', body: 'x' });
    expect(await server.must('alice', 'PUT', path, {})).to.deep.equal(first);
    await server.restart();
    expect(await server.must('alice', 'PUT', path, { msgtype: 1 })).to.deep.equal(first);
  });
});
