import { expect } from 'chai';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

describe('presence, by what users do', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let roomId: string;
  let eventId: string;

  before(async () => {
    server = await InProcessServer.start({ config: { presence: { idleMs: 120_000 } } });
    roomId = await server.room('alice', { preset: 'public_chat' });
    await server.join('bob', roomId);
    eventId = await server.say('alice', roomId, 'hello');
  });
  after(() => server.stop());
  beforeEach(() => server.clock.advance(600_000));

  const presence = async (): Promise<string> =>
    (await server.must('alice', 'GET', '/presence/@bob:test/status')).presence;
  const becomes = (state: string): Promise<unknown> =>
    until(`bob is ${state}`, async () => (await presence()) === state);
  let count = 0;
  const acts: Readonly<Record<string, () => Promise<Json>>> = {
    'a message': () => server.say('bob', roomId, 'hi'),
    'a state event': () =>
      server
        .must('alice', 'PUT', `/rooms/${roomId}/state/m.room.power_levels`, { state_default: 0 })
        .then(() => server.setState('bob', roomId, 'org.example.state', { count: (count += 1) })),
    'a redaction': async () => {
      const own = await server.must('alice', 'PUT', `/rooms/${roomId}/send/m.room.message/own${(count += 1)}`, {
        msgtype: 'm.text',
        body: 'x',
      });
      await server.must('alice', 'PUT', `/rooms/${roomId}/state/m.room.power_levels`, { redact: 0 });
      return server.must('bob', 'PUT', `/rooms/${roomId}/redact/${encodeURIComponent(own.event_id)}/r${count}`, {});
    },
    'a receipt': () => server.must('bob', 'POST', `/rooms/${roomId}/receipt/m.read/${encodeURIComponent(eventId)}`, {}),
    'a private receipt': () =>
      server.must('bob', 'POST', `/rooms/${roomId}/read_markers`, { 'm.read.private': eventId }),
    typing: () => server.must('bob', 'PUT', `/rooms/${roomId}/typing/@bob:test`, { typing: true }),
  };
  for (const [name, act] of Object.entries(acts))
    it(`is online after ${name}, also for who never asks for news`, async () => {
      expect(await presence()).to.equal('offline');
      await act();
      await becomes('online');
    });

  it('is not changed by reading, by an end of typing, or by what was scheduled before', async () => {
    const later = `/unstable/org.matrix.msc4140/rooms/${roomId}/delayed_event/m.room.message/d1`;
    await server.must('bob', 'PUT', later, { delay_ms: 700_000, content: { msgtype: 'm.text', body: 'later' } });
    await server.clock.advance(699_000);
    expect(await presence()).to.equal('offline');
    await server.must('bob', 'GET', `/rooms/${roomId}/messages?dir=b`);
    await server.must('bob', 'PUT', `/rooms/${roomId}/typing/@bob:test`, { typing: false });
    await server.clock.advance(2_000);
    await until('it is sent', async () =>
      server.bodies(await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b`)).includes('later'),
    );
    expect(await presence()).to.equal('offline');
  });

  it('is unavailable for those who only ask for news for longer than the configured time', async () => {
    await server.must('bob', 'GET', '/sync?timeout=0');
    await becomes('online');
    for (let n = 0; n < 5; n++) {
      await server.clock.advance(30_000);
      await server.must('bob', 'GET', '/sync?timeout=0');
    }
    expect(await presence()).to.equal('unavailable');
    await server.say('bob', roomId, 'here again');
    expect(await presence()).to.equal('online');
  });
});
