import { expect } from 'chai';
import { ConformanceServer, type Person } from './conformance-server.ts';

/** Requests in the forms in which bots, bridges and scripts send them, which are not always those of the specification. */
describe('requests in the forms that clients in the field send', function () {
  this.timeout(60_000);
  let server: ConformanceServer;
  let alice: Person;
  let bob: Person;

  before(async () => {
    server = await ConformanceServer.start();
    [alice, bob] = await server.people();
  });
  after(() => server?.stop());

  it('bans, kicks, leaves, joins, invites and reports with a reason that is null', async () => {
    const roomId = await server.room(alice, [], { topic: null, initial_state: null });
    await server.must(bob, 'POST', `/join/${roomId}`, { reason: null, third_party_signed: null });
    const eventId = await server.say(alice, roomId, 'hello');
    const report = `/rooms/${roomId}/report/${encodeURIComponent(eventId)}`;
    await server.must(bob, 'POST', report, { reason: null, score: null });
    for (const action of ['kick', 'ban', 'unban', 'invite']) {
      await server.must(alice, 'POST', `/rooms/${roomId}/${action}`, { user_id: bob.userId, reason: null });
    }
    await server.must(bob, 'POST', `/rooms/${roomId}/leave`, { reason: null });
    const member = `/rooms/${roomId}/state/m.room.member/${bob.userId}`;
    expect(await server.must(alice, 'GET', member)).to.deep.equal({ membership: 'leave' });
  });

  it('pages from the beginning for tokens without a value', async () => {
    const roomId = await server.room(alice);
    const eventId = await server.say(alice, roomId, 'hello');
    const v1 = `/_matrix/client/v1/rooms/${roomId}`;
    for (const path of [
      `/rooms/${roomId}/messages?dir=b&from=&to=&limit=&filter=`,
      `${v1}/relations/${encodeURIComponent(eventId)}?from=&to=&limit=`,
      `${v1}/threads?from=&limit=&include=`,
      `${v1}/hierarchy?from=&limit=&max_depth=&suggested_only=`,
      `/rooms/${roomId}/members?at=&membership=&not_membership=`,
      '/publicRooms?server=&since=&limit=',
      '/sync?since=&filter=&timeout=&full_state=&set_presence=',
    ]) {
      expect((await server.ask(alice, 'GET', path)).status, path).to.equal(200);
    }
    const search = { search_categories: { room_events: { search_term: 'hello' } } };
    expect((await server.ask(alice, 'POST', '/search?next_batch=', search)).status).to.equal(200);
  });

  it('lists relations and aliases under the paths that matrix-bot-sdk calls', async () => {
    const roomId = await server.room(alice);
    const eventId = await server.say(alice, roomId, 'hello');
    const unstable = '/_matrix/client/unstable';
    const parent = `rooms/${roomId}/relations/${encodeURIComponent(eventId)}`;
    await server.must(alice, 'PUT', `/rooms/${roomId}/send/m.reaction/1`, {
      'm.relates_to': { rel_type: 'm.annotation', event_id: eventId, key: '👍' },
    });
    for (const path of [parent, `${parent}/m.annotation`, `${parent}/m.annotation/m.reaction`]) {
      expect((await server.must(alice, 'GET', `${unstable}/${path}`)).chunk, path).to.have.length(1);
    }
    const aliases = `${unstable}/org.matrix.msc2432/rooms/${roomId}/aliases`;
    expect(await server.must(alice, 'GET', aliases)).to.deep.equal({ aliases: [] });
  });

  it('sends and redacts by POST without a transaction id, a new event each time', async () => {
    const roomId = await server.room(alice);
    const hello = { msgtype: 'm.text', body: 'hello' };
    const send = `/_matrix/client/r0/rooms/${roomId}/send/m.room.message`;
    const { event_id: first } = await server.must(alice, 'POST', send, hello);
    const { event_id: second } = await server.must(alice, 'POST', send, hello);
    expect(second).not.to.equal(first);
    const redact = `/rooms/${roomId}/redact/${encodeURIComponent(first)}`;
    await server.must(alice, 'POST', redact, { reason: 'again' });
    const event = await server.must(alice, 'GET', `/rooms/${roomId}/event/${encodeURIComponent(first)}`);
    expect(event.content).to.deep.equal({});
    expect(event.unsigned.redacted_because.content.reason).to.equal('again');
    expect(event.unsigned).not.to.have.property('transaction_id');
    expect((await server.ask(bob, 'POST', send, hello)).status).to.equal(403);
  });

  it('tells clients how long it keeps messages, under the path that matrix-js-sdk calls', async () => {
    const path = '/_matrix/client/unstable/org.matrix.msc1763/retention/configuration';
    expect(await server.must(alice, 'GET', path)).to.deep.equal({ policies: {}, limits: {} });
    expect((await server.ask(undefined, 'GET', path)).body.errcode).to.equal('M_MISSING_TOKEN');
  });

  it('says under the names that clients look for that it lists mutual rooms and keeps profile fields', async () => {
    const { unstable_features: features } = await server.must(undefined, 'GET', '/_matrix/client/versions');
    for (const name of [
      'uk.half-shot.msc2666.query_mutual_rooms',
      'uk.half-shot.msc2666.query_mutual_rooms.stable',
      'uk.tcpip.msc4133.stable',
    ]) {
      expect(features[name], name).to.equal(true);
    }
  });
});
