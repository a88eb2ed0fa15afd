import { expect } from 'chai';
import { type Answer, type Json, InProcessServer } from '#test/support/in-process-server.ts';

const MINUTE = 60_000;

describe('sticky events over HTTP', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let room: string;
  let count = 0;

  before(async () => (server = await InProcessServer.start()));
  after(() => server.stop());
  beforeEach(async () => {
    const visibility = { type: 'm.room.history_visibility', state_key: '', content: { history_visibility: 'joined' } };
    room = await server.room('alice', { preset: 'public_chat', initial_state: [visibility] });
  });

  const send = (token: string, duration: unknown, type = 'm.rtc.member', content: object = {}): Promise<Answer> => {
    const query = `org.matrix.msc4354.sticky_duration_ms=${encodeURIComponent(String(duration))}`;
    return server.ask(token, 'PUT', `/rooms/${room}/send/${type}/s${(count += 1)}?${query}`, content);
  };
  const sent = async (...what: Parameters<typeof send>): Promise<string> => {
    const answer = await send(...what);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    return answer.body.event_id;
  };
  const event = (token: string, id: string): Promise<Answer> =>
    server.ask(token, 'GET', `/rooms/${room}/event/${encodeURIComponent(id)}`);

  it('say that they are sticky, and for how much longer, wherever they are shown', async () => {
    const id = await sent('alice', 10 * MINUTE);
    await server.clock.advance(4 * MINUTE);
    const messages = await server.must('alice', 'GET', `/rooms/${room}/messages?dir=b&limit=5`);
    const context = await server.must('alice', 'GET', `/rooms/${room}/context/${encodeURIComponent(id)}`);
    const shown = [(await event('alice', id)).body, messages.chunk[0], context.event];
    for (const one of shown) {
      expect(one).to.include({ event_id: id, type: 'm.rtc.member' });
      expect(one.msc4354_sticky).to.deep.equal({ duration_ms: 10 * MINUTE });
      expect(one.unsigned.msc4354_sticky_duration_ttl_ms).to.equal(6 * MINUTE);
    }
    await server.clock.advance(6 * MINUTE);
    const { body } = await event('alice', id);
    expect(body.msc4354_sticky).to.deep.equal({ duration_ms: 10 * MINUTE });
    expect(body.unsigned).not.to.have.property('msc4354_sticky_duration_ttl_ms');
  });

  it('are refused with a duration that is none, and nothing is sent', async () => {
    for (const wrong of [-1, 3_600_001, 1.5, 'x', '5m', 1e30]) {
      const answer = await send('alice', wrong);
      expect([answer.status, answer.body.errcode], String(wrong)).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
    for (const right of [0, 1, 3_600_000]) await sent('alice', right);
    const { chunk } = await server.must('alice', 'GET', `/rooms/${room}/messages?dir=b&limit=50`);
    expect(chunk.filter((one: Json) => one.type === 'm.rtc.member')).to.have.length(3);
  });

  it('are messages: state does not stick, now or later', async () => {
    const query = 'org.matrix.msc4354.sticky_duration_ms=60000';
    const path = `/rooms/${room}/state/m.rtc.member/alice`;
    // A parameter that this endpoint does not have, like any other.
    const { event_id: id } = await server.must('alice', 'PUT', `${path}?${query}`, {});
    expect((await event('alice', id)).body).not.to.have.property('msc4354_sticky');
    const later = await server.must('alice', 'PUT', `${path}?${query}&org.matrix.msc4140.delay=1000`, { a: 1 });
    const delayed = '/unstable/org.matrix.msc4140';
    await server.must('alice', 'POST', `${delayed}/delayed_events/${later.delay_id}/send`);
    const { event_id: sentId } = await server.must('alice', 'GET', `${delayed}/delayed_events/${later.delay_id}`);
    expect((await event('alice', sentId)).body).not.to.have.property('msc4354_sticky');
    const scheduled = `${delayed}/rooms/${room}/delayed_event/m.rtc.member/state?${query}`;
    const refused = await server.ask('alice', 'PUT', scheduled, { delay_ms: 1_000, state_key: '', content: {} });
    expect([refused.status, refused.body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
  });

  it('are seen by who joined later, whatever the history visibility, until they expire', async () => {
    const plain = (await server.must('alice', 'PUT', `/rooms/${room}/send/m.other/p${(count += 1)}`, {})).event_id;
    const id = await sent('alice', 10 * MINUTE);
    expect((await event('bob', id)).status).to.equal(404);
    await server.must('bob', 'POST', `/rooms/${room}/join`, {});
    const messages = async (): Promise<string[]> =>
      (await server.must('bob', 'GET', `/rooms/${room}/messages?dir=b&limit=50`)).chunk.map(
        (one: Json) => one.event_id,
      );
    const context = (): Promise<Answer> => server.ask('bob', 'GET', `/rooms/${room}/context/${encodeURIComponent(id)}`);
    expect((await event('bob', id)).status).to.equal(200);
    expect((await context()).body.event.event_id).to.equal(id);
    expect(await messages())
      .to.include(id)
      .and.not.include(plain);
    await server.clock.advance(10 * MINUTE);
    expect((await event('bob', id)).status).to.equal(404);
    expect((await context()).status).to.equal(404);
    expect(await messages()).not.to.include(id);
  });

  it('are not seen by who left', async () => {
    await server.must('bob', 'POST', `/rooms/${room}/join`, {});
    await server.must('bob', 'POST', `/rooms/${room}/leave`, {});
    const id = await sent('alice', 10 * MINUTE);
    expect((await event('bob', id)).status).to.equal(404);
  });

  it('lose that by redaction', async () => {
    const id = await sent('alice', 10 * MINUTE);
    await server.must('alice', 'PUT', `/rooms/${room}/redact/${encodeURIComponent(id)}/r${(count += 1)}`, {});
    const { body } = await event('alice', id);
    expect(body).not.to.have.property('msc4354_sticky');
    expect(body.unsigned).not.to.have.property('msc4354_sticky_duration_ttl_ms');
  });

  it('may be redactions', async () => {
    const said = await sent('alice', 10 * MINUTE);
    const id = await sent('alice', 20 * MINUTE, 'm.room.redaction', { redacts: said });
    expect((await event('alice', id)).body.unsigned.msc4354_sticky_duration_ttl_ms).to.equal(20 * MINUTE);
    expect((await event('alice', said)).body.unsigned.redacted_because.event_id).to.equal(id);
  });

  it('are as many as 100 of each user in a room, and retry_after_ms says when there may be another', async () => {
    for (let n = 0; n < 100; n++) {
      await sent('alice', 10 * MINUTE);
      await server.clock.advance(100);
    }
    const refused = await send('alice', MINUTE);
    expect([refused.status, refused.body.errcode]).to.deep.equal([429, 'M_LIMIT_EXCEEDED']);
    expect(refused.body.retry_after_ms).to.equal(10 * MINUTE - 10_000);
    await server.clock.advance(refused.body.retry_after_ms);
    await sent('alice', MINUTE);
  });
});
