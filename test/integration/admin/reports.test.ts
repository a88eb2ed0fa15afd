import { expect } from 'chai';
import { InProcessServer, type Json } from '#test/support/in-process-server.ts';

const EVENTS = '/_synapse/admin/v1/event_reports';
const USERS = '/_synapse/admin/v1/user_reports';
const ALL = '/_tsudoi/admin/v1/reports';

describe('what users report', function () {
  this.timeout(60_000);
  let server: InProcessServer;
  let roomId: string;
  const events: string[] = [];
  before(async () => {
    server = await InProcessServer.start();
    roomId = await server.room('alice', { name: 'Tea', room_alias_name: 'tea', preset: 'public_chat' });
    await server.join('bob', roomId);
    for (const [reporter, reason] of [
      ['alice', 'one'],
      ['bob', 'two'],
      ['bob', 'three'],
    ] as const) {
      await server.clock.advance(1_000);
      const eventId = await server.say('alice', roomId, reason);
      events.push(eventId);
      await server.must(reporter, 'POST', `/rooms/${roomId}/report/${eventId}`, { reason, score: -50 });
    }
    await server.must('bob', 'POST', '/users/@alice:test/report', { reason: 'rude' });
    await server.must('bob', 'POST', `/rooms/${roomId}/report`, { reason: 'a bad room' });
    await server.idle();
  });
  after(() => server?.stop());

  const get = (path: string): Promise<Json> => server.must('admin-root', 'GET', path);
  const reasons = async (query: string): Promise<string[]> =>
    (await get(`${EVENTS}?${query}`)).event_reports.map(({ reason }: Json) => reason);

  it('is listed by event as tools read it, the newest first or the oldest', async () => {
    const { event_reports: reports, total } = await get(EVENTS);
    expect(total).to.equal(3);
    expect(reports[0]).to.deep.equal({
      id: reports[0].id,
      received_ts: server.clock.now(),
      room_id: roomId,
      event_id: events[2],
      user_id: '@bob:test',
      score: -50,
      reason: 'three',
      sender: '@alice:test',
      canonical_alias: '#tea:test',
      name: 'Tea',
    });
    expect(await reasons('dir=f')).to.deep.equal(['one', 'two', 'three']);
    expect(await reasons('dir=b')).to.deep.equal(['three', 'two', 'one']);
  });

  it('is filtered by parts of the ids of reporter and room, and by the sender', async () => {
    expect(await reasons('user_id=bo')).to.deep.equal(['three', 'two']);
    expect(await reasons(`room_id=${encodeURIComponent(roomId.slice(2, 9))}`)).to.have.length(3);
    expect(await reasons('room_id=!other')).to.deep.equal([]);
    expect(await reasons('event_sender_user_id=@alice:test')).to.have.length(3);
    expect(await reasons('event_sender_user_id=@ali')).to.deep.equal([]);
    expect(await reasons('user_id=%25')).to.deep.equal([]);
  });

  it('is read page by page', async () => {
    const first = await get(`${EVENTS}?limit=2`);
    expect([first.event_reports.length, first.total, first.next_token]).to.deep.equal([2, 3, 2]);
    const second = await get(`${EVENTS}?limit=2&from=${first.next_token}`);
    expect([second.event_reports.length, second.total, second.next_token]).to.deep.equal([1, 3, undefined]);
    for (const query of ['from=-1', 'limit=-1', 'dir=up', 'from=x']) {
      const refused = await server.ask('admin-root', 'GET', `${EVENTS}?${query}`);
      expect([refused.status, refused.body.errcode], query).to.deep.equal([400, 'M_INVALID_PARAM']);
    }
  });

  it('is shown with the event, and as long as it is there', async () => {
    const { event_reports: reports } = await get(`${EVENTS}?user_id=alice`);
    const { event_json: event, ...report } = await get(`${EVENTS}/${reports[0].id}`);
    expect(report).to.deep.equal(reports[0]);
    expect(event).to.deep.include({ type: 'm.room.message', sender: '@alice:test', room_id: roomId });
    expect(event.content.body).to.equal('one');
    const refusals = [`${EVENTS}/abc`, `${EVENTS}/-1`, `${EVENTS}/9007199254740993`].map((path) =>
      server.ask('admin-root', 'GET', path),
    );
    for (const { status, body } of await Promise.all(refusals))
      expect([status, body.errcode]).to.deep.equal([400, 'M_INVALID_PARAM']);
    expect((await server.ask('admin-root', 'GET', `${EVENTS}/999999`)).status).to.equal(404);
  });

  it('is listed by user as tools read it, and each list knows its own', async () => {
    const { user_reports: reports, total } = await get(`${USERS}?target_user_id=alic&user_id=bob`);
    expect(total).to.equal(1);
    expect(reports[0]).to.deep.equal({
      id: reports[0].id,
      received_ts: server.clock.now(),
      target_user_id: '@alice:test',
      user_id: '@bob:test',
      reason: 'rude',
    });
    expect(await get(`${USERS}/${reports[0].id}`)).to.deep.equal(reports[0]);
    for (const [method, path] of [
      ['GET', `${EVENTS}/${reports[0].id}`],
      ['DELETE', `${EVENTS}/${reports[0].id}`],
    ] as const)
      expect((await server.ask('admin-root', method, path)).status, path).to.equal(404);
    expect((await get(`${USERS}?target_user_id=nobody`)).user_reports).to.deep.equal([]);
  });

  it('is open until an administrator resolves it, who is named with when and a note, and can be opened again', async () => {
    const [report] = (await get(`${ALL}?kind=room`)).reports;
    expect(report).to.deep.include({
      kind: 'room',
      state: 'open',
      room_id: roomId,
      room_name: 'Tea',
      resolved_by: null,
    });
    const path = `${ALL}/${report.id}`;
    const resolved = await server.must('admin-root', 'PUT', path, { state: 'resolved', note: 'the room is moderated' });
    const seen = {
      state: 'resolved',
      resolved_by: '@admin-root:test',
      resolved_ts: server.clock.now(),
      note: 'the room is moderated',
    };
    expect(resolved).to.deep.include(seen);
    await server.must('admin-other', 'PUT', path, { state: 'resolved' });
    expect(await get(path)).to.deep.include(seen);
    expect((await get(`${ALL}?state=open`)).reports.map(({ id }: Json) => id)).not.to.include(report.id);
    expect(await server.must('admin-root', 'PUT', path, { state: 'open' })).to.deep.include({
      state: 'open',
      resolved_by: null,
    });
    const { entries } = await get(`/_tsudoi/admin/v1/audit_log?room_id=${encodeURIComponent(roomId)}`);
    expect(entries.map(({ action }: Json) => action)).to.deep.equal(['report.reopen', 'report.resolve']);
    for (const body of [{ state: 'odd' }, { state: 'open', note: 'x'.repeat(2_001) }, {}])
      expect((await server.ask('admin-root', 'PUT', path, body)).status, JSON.stringify(body)).to.equal(400);
  });

  it('is listed all together, page by page', async () => {
    const first = await get(`${ALL}?limit=3`);
    const second = await get(`${ALL}?limit=3&from=${first.next_batch}`);
    const kinds = [...first.reports, ...second.reports].map(({ kind }: Json) => kind);
    expect(kinds).to.deep.equal(['room', 'user', 'event', 'event', 'event']);
    expect(second.next_batch).to.equal(undefined);
  });

  it('is deleted by an administrator, once', async () => {
    const [report] = (await get(`${EVENTS}?limit=1`)).event_reports;
    expect((await server.ask('admin-root', 'DELETE', `${EVENTS}/${report.id}`)).status).to.equal(200);
    expect((await server.ask('admin-root', 'DELETE', `${EVENTS}/${report.id}`)).status).to.equal(404);
    expect((await get(EVENTS)).total).to.equal(2);
  });
});
