import { expect } from 'chai';
import { InProcessServer } from '#test/support/in-process-server.ts';
import { until } from '#test/support/until.ts';

describe('a delayed event that was sent', function () {
  this.timeout(60_000);
  let server: InProcessServer;

  beforeEach(async () => (server = await InProcessServer.start()));
  afterEach(() => server.stop());

  it('is told as sent only when every later answer has the event', async () => {
    const { database } = server.services;
    const roomId = await server.room('alice');
    const path = `/unstable/org.matrix.msc4140/rooms/${roomId}/delayed_event/m.room.message`;
    const { delay_id: id } = await server.must('alice', 'PUT', `${path}/t1`, {
      delay_ms: 1_000,
      content: { msgtype: 'm.text', body: 'late' },
    });

    // From here on no commit is heard of: it is in the database, and not published.
    const gate = Promise.withResolvers<void>();
    const heard = { commits: 0 };
    const query = database.query.bind(database);
    database.query = async (...args) => {
      const rows = await query(...args);
      if (!args[0].text.includes('insert into events')) return rows as never;
      heard.commits += 1;
      await gate.promise;
      return rows as never;
    };
    void server.clock.advance(2_000);
    await until('the event is committed', () => heard.commits > 0);
    let answers = 0;
    const [list, one] = ['?status=finalised', `/${id}`].map(async (which) => {
      const body = await server.must('alice', 'GET', `/unstable/org.matrix.msc4140/delayed_events${which}`);
      answers += 1;
      return body;
    });
    // Other answers do not wait.
    for (let n = 0; n < 5; n++) await server.must('alice', 'GET', `/rooms/${roomId}/state`);
    expect(answers).to.equal(0);
    gate.resolve();
    const { event_id: eventId } = await one;
    expect(JSON.stringify(await list))
      .to.include(id)
      .and.to.include(eventId);
    await server.must('alice', 'GET', `/rooms/${roomId}/event/${encodeURIComponent(eventId)}`);
    const { chunk } = await server.must('alice', 'GET', `/rooms/${roomId}/messages?dir=b&limit=1`);
    expect(chunk[0].event_id).to.equal(eventId);
  });
});
